"""Files of structures read batch by batch for a finished model, with all that was rejected and why."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.columns import COMPOUND_ID, SMILES
from data_prep.errors import TableError
from data_prep.prediction.fingerprints import fingerprint
from data_prep.prediction.prediction_files import (
    KINDS,
    Sink,
    Texts,
    check_kind,
    growing_table,
    growing_tables,
    sink_for_spreadsheets,
)
from data_prep.prediction.structure_files import StructureRecord, expect_structure_columns, read_batches
from data_prep.structures.watchdog import worker_pool
from pipeline.errors import ConfigError
from pipeline.runtime.progress import ProgressReporter

if TYPE_CHECKING:  # torch, which loads for seconds: what needs no model is checked before
    from pipeline.model.folder import OpenModel

_MOST_SHOWN = 20  # rejected rows shown on stderr
_REPORT_S = 10.0  # seconds between two lines of progress


@dataclass(frozen=True, slots=True, eq=False)
class StructureBatch:
    """Some records of a file: inputs of those that can be used, and the others."""

    rows: NDArray[np.int64]  # (n,) in the file
    ids: list[str | None]
    smiles: list[str]  # canonical, of the standardised structures
    x: sparse.csr_matrix  # (n, n_bits) in the group's order of bits
    descriptors: NDArray[np.float32] | None
    refused: list[StructureRecord]


@dataclass(frozen=True, slots=True)
class StructureInput:
    """A file of structures, and what its columns are called."""

    file: Path
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the configuration's [data.columns]
    id_column: str | None = None  # None: one of `columns`, else input_compound_id
    smiles_column: str | None = None  # the same, smiles

    def names(self) -> dict[str, tuple[str, ...]]:
        """The names that the columns may have in the file.

        Raises TableError if a column is chosen of a file that has no named ones.
        """
        chosen = {COMPOUND_ID: self.id_column, SMILES: self.smiles_column}
        if any(chosen.values()):
            expect_structure_columns(self.file)
        return {column: (name,) if name else (*self.columns.get(column, ()), column) for column, name in chosen.items()}


def prepare_batch(
    model: "OpenModel", records: list[StructureRecord], *, workers: int = 1, cache: Path | None = None
) -> StructureBatch:
    """Standardise and fingerprint some records; the result does not depend on the batch."""
    description = model.description
    usable = [record for record in records if record.reason is None]
    prepared = fingerprint(
        [record.text for record in usable],
        description.chemistry,
        description.fingerprint,
        model.places,
        workers=workers,
        timeout_s=description.compound_timeout_s,
        cache=cache,
        descriptors=description.descriptors is not None,
    )
    accepted = [usable[i] for i in prepared.accepted]
    refused = [
        StructureRecord(record.input_row, record.compound_id, None, reason)
        for record, reason in zip(usable, prepared.reasons, strict=True)
        if reason is not None
    ]
    refused += [record for record in records if record.reason is not None]
    return StructureBatch(
        rows=np.array([record.input_row for record in accepted], dtype=np.int64),
        ids=[record.compound_id for record in accepted],
        smiles=prepared.smiles,
        x=prepared.x,
        descriptors=prepared.descriptors,
        refused=sorted(refused, key=lambda record: record.input_row),
    )


def structure_batches(
    model: "OpenModel", structures: StructureInput, n_rows: int, workers: int, cache: Path
) -> Iterator[StructureBatch]:
    """Yield a file's structures, at most n_rows at a time; at least one batch, so that an empty file gives a table."""
    is_empty = True
    names, timeout_s = structures.names(), model.description.compound_timeout_s
    with worker_pool():
        for records in read_batches(structures.file, n_rows, names=names, workers=workers, timeout_s=timeout_s):
            is_empty = False
            yield prepare_batch(model, records, workers=workers, cache=cache)
        if is_empty:
            yield prepare_batch(model, [])


class Tally:
    """Counts structures, and reports progress and rejected rows on stderr."""

    def __init__(self, reporter: ProgressReporter, done: str) -> None:
        """`done`: what was done with structures, for the last line."""
        self._reporter, self._done = reporter, done
        self._n_rows = 0
        self._counts: Counter[str | None] = Counter()
        self._first: list[StructureRecord] = []
        self._started = self._reported = time.monotonic()

    def add(self, batch: StructureBatch) -> None:
        """Count a batch."""
        self._n_rows += len(batch.rows) + len(batch.refused)
        self._counts.update(record.reason for record in batch.refused)
        self._first += batch.refused[: _MOST_SHOWN - len(self._first)]
        now = time.monotonic()
        if now - self._reported >= _REPORT_S:
            self._reported = now
            rate = self._n_rows / (now - self._started)
            self._reporter.report(f"{self._n_rows} structures so far, {rate:.0f} a second")

    def report(self, rejected_file: Path | None) -> None:
        """Report the end."""
        report, n_rejected = self._reporter.report, self._counts.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self._counts.items(), key=str))
        report(f"{self._n_rows - n_rejected} of {self._n_rows} structures {self._done}")
        if n_rejected:
            report(f"{n_rejected} rejected: {reasons}" + (f"; listed in {rejected_file}" if rejected_file else ""))
        if n_rejected and rejected_file is None:
            for record in self._first:
                report(f"rejected: row {record.input_row}, {record.compound_id or 'no id'}: {record.reason}")
            if n_rejected > len(self._first):
                report(f"and {n_rejected - len(self._first)} more; --output NAME.csv lists all in NAME.rejected.csv")


def rejected_file_of(output: Path, structures: Path, kinds: Sequence[str] = KINDS) -> Path:
    """The path NAME.rejected.csv in the output's folder, after checking that both can be written there.

    kinds : endings that the output may have
    Raises ConfigError for another ending, an output that is the input or a folder, or a folder that cannot be used.
    """
    rejected = output.with_name(f"{_stem(output, kinds)}.rejected.csv")
    if os.path.realpath(structures) in map(os.path.realpath, (output, rejected)):
        raise ConfigError(f"{structures}: is the input file, expected another file for the output")
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder, expected a file for the output")
    check_folder(output.parent)
    return rejected


def check_folder(folder: Path) -> None:
    """Raise ConfigError unless files can be made in this folder."""
    if not folder.is_dir():
        error = ConfigError(f"{folder}: no such folder, expected one for the output")
        error.add_note(f"make it: mkdir -p {folder}")
        raise error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written, expected a folder of yours for the output")


def _stem(output: Path, kinds: Sequence[str]) -> str:
    try:
        return output.name[: -len(check_kind(output, kinds))]
    except TableError as error:
        raise ConfigError(f"--output: {error}") from None


def check_structures(structures: StructureInput) -> None:
    """Read the first record of a file of structures; raises TableError for a file that is none or lacks a column."""
    next(read_batches(structures.file, 1, names=structures.names()), None)


@contextmanager
def open_tables(
    output: Path | None, rejected_file: Path | None, *, for_spreadsheets: bool = False
) -> Iterator[tuple[Sink, Sink]]:
    """Open both output tables, for results and rejected rows; both files appear together at the end.

    for_spreadsheets : texts that a spreadsheet would take for formulas get an apostrophe
    """
    with _tables(output, rejected_file) as sinks:
        sink, reject = map(sink_for_spreadsheets, sinks) if for_spreadsheets else sinks
        yield sink, reject


@contextmanager
def _tables(output: Path | None, rejected_file: Path | None) -> Iterator[tuple[Sink, Sink]]:
    if output is None or rejected_file is None:
        with growing_table(None) as sink:
            yield sink, lambda _columns: None
        return
    with growing_tables(rejected_file, output) as (reject, sink):
        yield sink, reject


def as_rejected_table(refused: list[StructureRecord]) -> dict[str, NDArray[np.int64] | Texts]:
    """The table of rejected rows."""
    return {
        "input_row": np.array([record.input_row for record in refused], dtype=np.int64),
        "input_compound_id": Texts([record.compound_id for record in refused]),
        "reason": Texts([record.reason for record in refused]),
    }
