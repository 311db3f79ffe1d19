"""The catalogue: tasks whose head rows are shared too, in the plan itself or in a separate file."""

import csv
import gzip
import hashlib
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from pipeline.errors import ConfigError
from pipeline.plan.toml_schema import Schema
from secure.files import open_plain

FEWEST_HOLDERS = 2  # partners that hold a catalogue row, for it to be shared
_DEFAULT_HOLDERS = 3  # with two holders each learns the other's row
COLUMNS = ("id", "threshold")
_MOST_BYTES = 1 << 25  # of a file's text; a list of 10,000 tasks has 200 kB
_MOST_TASKS = 1_000_000  # of a file: a hundred times a list of all public targets
_GZIP_MARK = b"\x1f\x8b"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BLANKS = " \t"  # around a cell; secure/FORMAT.md says exactly how a file is read
_SHOWN = 40  # characters of what was found


class CatalogueTask(Schema):
    """A classification task that several partners may hold: T0's `catalog_assay_id` and a threshold in log units."""

    id: str = Field(min_length=1)
    threshold: float


class Catalogue(Schema):
    """Tasks whose head rows are shared too; none: all heads are private. Read secure/THREAT_MODEL.md first."""

    tasks: tuple[CatalogueTask, ...] = ()
    """T0's catalog_assay_id and a threshold in log units: [{id = "CYP2D6", threshold = 6.0}]."""

    file: str = ""
    """Instead of tasks: a CSV or CSV.gz file of them, columns id and threshold; the path is relative to the plan's."""

    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of that file's text, unpacked; hocket prints it if it is missing."""

    min_partners: int = Field(default=_DEFAULT_HOLDERS, ge=FEWEST_HOLDERS)
    """Head rows of a task that fewer partners hold are not shared."""

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.file and self.tasks:
            raise ValueError("found tasks and a file, expected one of them")
        if self.sha256 and not self.file:
            raise ValueError("found sha256 without a file")
        known = Counter((task.id, task.threshold) for task in self.tasks)
        twice = sorted(task for task, n in known.items() if n > 1)
        if twice:
            raise ValueError(f"tasks: {twice[0][0]!r} at {twice[0][1]:g} found twice, expected each task once")
        return self

    def path(self, plan_file: Path) -> Path | None:
        """Where the file is, None for tasks in the plan."""
        return plan_file.parent / self.file if self.file else None

    def with_file(self, plan_file: Path) -> Self:
        """Copy with the tasks of the file.

        Raises ConfigError for a file that is no such list, or that has not the SHA-256 in the plan.
        """
        file = self.path(plan_file)
        if file is None:
            return self
        content = _content(file)
        found = hashlib.sha256(content).hexdigest()
        if self.sha256:  # of a file that nobody agreed on, nothing is parsed
            self._check_sha256(file, plan_file, found)
        tasks = tuple(_tasks(file, content))
        self._check_sha256(file, plan_file, found)
        return self.model_copy(update={"tasks": tasks})

    def _check_sha256(self, file: Path, plan_file: Path, found: str) -> None:
        if found == self.sha256:
            return
        error = ConfigError(f"{file}: found SHA-256 {found} of its text, {plan_file} expects {self.sha256 or 'none'}")
        if self.sha256:
            error.add_note("the file is not the one agreed on: take it from the member who sent the plan")
        error.add_note(f'if all members agree on this file, write sha256 = "{found}" under [catalogue] in the plan')
        raise error


def catalogue_text(tasks: Iterable[tuple[str, float]]) -> str:
    """The text of a catalogue's file with these ids and thresholds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *((name, repr(threshold)) for name, threshold in tasks)])
    return text.getvalue()


def _content(file: Path) -> bytes:
    """Bytes of the text, unpacked. Raises ConfigError for a file that cannot be read, or is too long."""
    try:
        packed = _plain_bytes(file)
        content = packed
        if packed.startswith(_GZIP_MARK):
            with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacked:
                content = unpacked.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _refusal(f"{file}: cannot be read: {why}, expected a CSV or CSV.gz file") from error
    if len(content) > _MOST_BYTES:
        raise _refusal(f"{file}: found a longer text than {_MOST_BYTES:,} bytes, expected a list of tasks")
    return content


def _plain_bytes(file: Path) -> bytes:
    with open_plain(file) as opened:
        return opened.read(_MOST_BYTES + 1)


def _tasks(file: Path, content: bytes) -> Iterator[CatalogueTask]:
    """Yield the tasks. Raises ConfigError with the line of the first wrong one."""
    try:
        rows = _rows(content.decode("utf-8-sig"))
        header = next(rows, (1, []))[1]
        if tuple(header) != COLUMNS:
            found = ", ".join(header)[:_SHOWN] if header else "nothing"
            raise _refusal(f"{file}: line 1: found {found}, expected the columns {', '.join(COLUMNS)}")
        lines: dict[tuple[str, float], int] = {}
        for line, row in rows:
            if len(lines) == _MOST_TASKS:
                raise _refusal(f"{file}: line {line}: found more than {_MOST_TASKS:,} tasks, expected at most so many")
            yield (task := _task(f"{file}: line {line}", row))
            first = lines.setdefault((task.id, task.threshold), line)
            if first != line:
                task_name = f"{task.id!r} at {task.threshold:g}"
                raise _refusal(f"{file}: line {line}: found {task_name} again, after line {first}, expected it once")
        if not lines:
            raise _refusal(f"{file}: found no task, expected at least one")
    except (UnicodeDecodeError, csv.Error) as error:
        raise _refusal(f"{file}: cannot be read as CSV in UTF-8: {error}") from error


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    for row in reader:
        if row:
            yield reader.line_num, [cell.strip(_BLANKS) for cell in row]


def _task(where: str, row: list[str]) -> CatalogueTask:
    if len(row) != len(COLUMNS):
        raise _refusal(f"{where}: found {len(row)} columns, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    name, threshold = row
    if not name or "\0" in name:
        raise _refusal(f"{where}: found id {name[:_SHOWN]!r}, expected a text without NUL characters")
    if not _NUMBER.fullmatch(threshold) or not math.isfinite(float(threshold)):
        raise _refusal(f"{where}: found threshold {threshold[:_SHOWN]!r}, expected a finite number in log units")
    return CatalogueTask(id=name, threshold=float(threshold))


def _refusal(message: str) -> ConfigError:
    error = ConfigError(message)
    error.add_note("correct the path or the file: a header `id,threshold`, then T0's catalog_assay_id and a threshold")
    return error
