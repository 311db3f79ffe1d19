"""The folder of explanations next to a table of predictions: a table of atoms, and a drawing per compound and task."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.prediction.prediction_files import KINDS, Sink, check_kind, growing_table
from pipeline.errors import ConfigError
from secure.files import atomic_folder

ATOMS_FILE = "atoms.csv"
_LONGEST_NAME = 100  # characters of a task's name in a file's name
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9@._-]")


def explanation_folder_of(output: Path) -> Path:
    """The folder NAME.explained next to an output NAME.csv, NAME.csv.gz or NAME.parquet.

    Raises ConfigError for a folder with other files than those of an earlier explanation.
    """
    folder = output.with_name(f"{output.name[: -len(check_kind(output, KINDS))]}.explained")
    if folder.exists() and not _is_earlier(folder):
        error = ConfigError(f"{folder}: holds other files, expected none or those of an earlier --explain")
        error.add_note("nothing was removed; choose another --output")
        raise error
    return folder


def _is_earlier(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or (ATOMS_FILE in names and all(name.endswith(".svg") for name in names - {ATOMS_FILE}))


@contextmanager
def open_explanations(folder: Path) -> Iterator[tuple[Path, Sink]]:
    """Open an unfinished folder and a writer for its table of atoms; it appears whole at the end, or not at all."""
    with atomic_folder(folder) as unfinished, growing_table(unfinished / ATOMS_FILE) as sink:
        yield unfinished, sink


def picture_name(input_row: int, number: int, task: str) -> str:
    """Name of the drawing of a row of the input and the task with this number and name."""
    return f"{input_row:05d}_{number:03d}_{_NOT_IN_NAMES.sub('_', task)[:_LONGEST_NAME]}.svg"
