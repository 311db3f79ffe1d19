"""Tables that grow batch by batch and appear whole or not at all."""

import gzip
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import TableError


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts, most of which repeat."""

    values: Sequence[str | None]
    at: NDArray[np.int64] | None = None  # (n_rows,) which of them stands in each row; None: each in its own


Columns = Mapping[str, NDArray[Any] | Texts]  # by name, all of one length

KINDS = (".csv", ".csv.gz", ".parquet")


class Sink(Protocol):
    """Takes the next rows."""

    def __call__(self, columns: Columns, /) -> None:
        """Append rows; every call has the same columns."""


def check_kind(path: Path) -> str:
    """Return the one of KINDS that the path's name ends with; raises TableError for another."""
    kind = next((kind for kind in KINDS if path.name.lower().endswith(kind)), None)
    if kind is None:
        raise TableError(f"{path.name}: found another ending, expected one of {', '.join(KINDS)}")
    return kind


@contextmanager
def growing_table(path: Path | None) -> Iterator[Sink]:
    """Hand out what takes rows; at the end of the block the file is there, and after a failure it is as it was before.

    path : named by KINDS; None: CSV to standard output, row by row as they come
    What a killed process left beside it is removed by the next one. Raises TableError for another kind of name.
    """
    if path is None:
        yield _CsvSink(sys.stdout.buffer)
        return
    kind, part = check_kind(path), path.with_name(f".{path.name}.part")
    _remove(part)
    try:
        with _parquet(part) if kind == ".parquet" else _csv(part, zipped=kind == ".csv.gz") as sink:
            yield sink
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    finally:
        _remove(part)


def as_pandas(columns: Columns) -> Any:  # noqa: ANN401 -- a pandas DataFrame, which only MLflow needs
    """The same rows as a pandas data frame."""
    return _frame(columns).to_pandas()


class _CsvSink:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._is_new = file, True

    def __call__(self, columns: Columns, /) -> None:
        _frame(columns).write_csv(self._file, include_header=self._is_new)
        self._file.flush()
        self._is_new = False


@contextmanager
def _csv(part: Path, *, zipped: bool) -> Iterator[Sink]:
    with part.open("wb") as raw:
        if not zipped:
            yield _CsvSink(raw)
            return
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:  # same rows, same bytes
            yield _CsvSink(cast(IO[bytes], file))


@contextmanager
def _parquet(part: Path) -> Iterator[Sink]:
    """Polars cannot append to a Parquet file: batches are files of their own, and made one at the end, streaming."""
    folder = part.with_name(f"{part.name}s")
    _remove(folder)
    folder.mkdir()
    n_batches = 0

    def sink(columns: Columns, /) -> None:
        nonlocal n_batches
        _frame(columns).write_parquet(folder / f"{n_batches:08d}.parquet")
        n_batches += 1

    try:
        yield sink
        batches = [folder / f"{i:08d}.parquet" for i in range(n_batches)]
        if batches:
            pl.scan_parquet(batches).sink_parquet(part)
        else:
            pl.DataFrame().write_parquet(part)
    finally:
        _remove(folder)


def _frame(columns: Columns) -> pl.DataFrame:
    frame = pl.DataFrame([_series(name, column) for name, column in columns.items()])
    # what is not known is an empty field, not the text NaN
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _series(name: str, column: NDArray[Any] | Texts) -> pl.Series:
    if not isinstance(column, Texts):
        return pl.Series(name, column)
    texts = pl.Series(name, column.values, dtype=pl.String)
    return texts if column.at is None else texts.gather(pl.Series(column.at))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
