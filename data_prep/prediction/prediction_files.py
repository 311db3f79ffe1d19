"""Write tables batch by batch, atomically."""

import errno
import gzip
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.atomic import atomic_files, is_full
from data_prep.errors import TableError
from data_prep.prediction.array_files import growing_arrays


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts, most of which repeat."""

    values: Sequence[str | None]
    at: NDArray[np.int64] | None = None  # (n_rows,) index of each row's text in values; None: one text per row

    def for_spreadsheets(self) -> "Texts":
        """The texts, none of which a spreadsheet takes for a formula."""
        return Texts([None if text is None else no_formula(text) for text in self.values], self.at)


Columns = Mapping[str, NDArray[Any] | Texts]  # by name, all of one length

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
KINDS = (".csv", ".csv.gz", ".parquet")
NPZ = ".npz"  # of columns that may have several numbers in each row


class Sink(Protocol):
    """Append rows to a table."""

    def __call__(self, columns: Columns, /) -> None:
        """Append rows; every call has the same columns."""


def no_formula(text: str) -> str:
    """The text with an apostrophe before it if a spreadsheet would take it for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def sink_for_spreadsheets(sink: Sink) -> Sink:
    """The sink for rows of which a spreadsheet takes no text, and no column's name, for a formula."""
    return lambda columns: sink(
        {
            no_formula(name): column.for_spreadsheets() if isinstance(column, Texts) else column
            for name, column in columns.items()
        }
    )


def check_kind(path: Path, kinds: Sequence[str] = KINDS) -> str:
    """Return which of the kinds the path's name ends with; raises TableError for another ending."""
    kind = next((kind for kind in kinds if path.name.lower().endswith(kind)), None)
    if kind is None:
        raise TableError(f"{path.name}: found another ending, expected one of {', '.join(kinds)}")
    return kind


@contextmanager
def growing_table(path: Path | None) -> Iterator[Sink]:
    """Open a writer for one table, see `growing_tables`; None: CSV to standard output, batch by batch."""
    if path is None:
        yield _CsvSink(sys.stdout.buffer)
        return
    with growing_tables(path) as (sink,):
        yield sink


@contextmanager
def growing_tables(*paths: Path) -> Iterator[list[Sink]]:
    """Open writers for several tables; all files appear at the end, or none.

    paths : in one folder, with endings of KINDS or NPZ; they appear in this order, so if the last exists, all exist
    Temporary files of a killed process are removed by the next call with the same last path. Raises TableError for
    another ending, OSError with ENOSPC for a full disk.
    """
    kinds = [check_kind(path, (*KINDS, NPZ)) for path in paths]
    with (
        atomic_files(*paths) as parts,
        _full_disk_named(paths[-1]),  # inside: afterwards the temporary files are gone, and the disk is no longer full
        ExitStack() as open_parts,
    ):
        yield [open_parts.enter_context(_growing(part, kind)) for part, kind in zip(parts, kinds, strict=True)]


@contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    """Raise one OSError with the path if the disk is full; Polars raises errors of several types then."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        if not is_full(path.parent):
            raise
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        full.add_note("nothing new was kept; the earlier files are unchanged")
        raise full from error


def as_polars(columns: Columns) -> pl.DataFrame:
    """Return the columns as a Polars data frame; NaN, which stands for an unknown value, becomes null."""
    frame = pl.DataFrame([_series(name, column) for name, column in columns.items()])
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def as_pandas(columns: Columns) -> Any:  # noqa: ANN401 -- a pandas DataFrame, which only MLflow needs
    """Return the columns as a pandas data frame."""
    return as_polars(columns).to_pandas()


class _CsvSink:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._is_new = file, True

    def __call__(self, columns: Columns, /) -> None:
        as_polars(columns).write_csv(self._file, include_header=self._is_new)
        self._file.flush()
        self._is_new = False


def _growing(part: Path, kind: str) -> AbstractContextManager[Sink]:
    if kind == NPZ:
        return _npz(part)
    return _parquet(part) if kind == ".parquet" else _csv(part, zipped=kind == ".csv.gz")


@contextmanager
def _csv(part: Path, *, zipped: bool) -> Iterator[Sink]:
    with part.open("wb") as raw:
        if not zipped:
            yield _CsvSink(raw)
            return
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:  # same rows, same bytes
            yield _CsvSink(cast(IO[bytes], file))


@contextmanager
def _npz(part: Path) -> Iterator[Sink]:
    with growing_arrays(part) as arrays:

        def sink(columns: Columns, /) -> None:
            arrays.append({name: _all_texts(c) if isinstance(c, Texts) else c for name, c in columns.items()})

        yield sink


def _all_texts(texts: Texts) -> list[str]:
    values = texts.values if texts.at is None else [texts.values[i] for i in texts.at]
    return [value or "" for value in values]


@contextmanager
def _parquet(part: Path) -> Iterator[Sink]:
    """Write each batch to a temporary file and join them at the end: Polars cannot append to a Parquet file."""
    folder = part.with_suffix(".batches")
    folder.mkdir()
    n_batches = 0

    def sink(columns: Columns, /) -> None:
        nonlocal n_batches
        as_polars(columns).write_parquet(folder / f"{n_batches:08d}.parquet")
        n_batches += 1

    yield sink
    batches = [folder / f"{i:08d}.parquet" for i in range(n_batches)]
    if batches:
        pl.scan_parquet(batches).sink_parquet(part)
    else:
        pl.DataFrame().write_parquet(part)


def _series(name: str, column: NDArray[Any] | Texts) -> pl.Series:
    if not isinstance(column, Texts):
        return pl.Series(name, column)
    texts = pl.Series(name, column.values, dtype=pl.String)
    return texts if column.at is None else texts.gather(pl.Series(column.at))
