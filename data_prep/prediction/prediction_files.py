"""Tables that grow batch by batch and appear whole or not at all."""

import errno
import glob
import gzip
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.atomic import PART, flush, held, is_full
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
    """One table, see `growing_tables`; None: CSV to standard output, row by row as they come."""
    if path is None:
        yield _CsvSink(sys.stdout.buffer)
        return
    with growing_tables(path) as (sink,):
        yield sink


@contextmanager
def growing_tables(*paths: Path) -> Iterator[list[Sink]]:
    """Hand out what takes rows of each; at the end of the block all files are there, after a failure no new one.

    paths : in one folder, each named by KINDS; they appear in this order, so that the last one stands for all
    What a killed process left there for the last one is removed by the next. Raises TableError for another kind of
    name, OSError that says so for a full disk.
    """
    kinds = [check_kind(path) for path in paths]
    with _own_folder(paths[-1]) as folder, _named_where_full(paths[-1]):
        parts = [folder / f"{i}{kind}" for i, kind in enumerate(kinds)]
        with ExitStack() as open_parts:
            yield [open_parts.enter_context(_growing(part, kind)) for part, kind in zip(parts, kinds, strict=True)]
        for part in parts:
            flush(part)
        _place(parts, paths)
        flush(paths[-1].parent)


@contextmanager
def _named_where_full(path: Path) -> Iterator[None]:
    """Polars says in many ways, of different types, that the disk is full."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        if not is_full(path.parent):
            raise
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        full.add_note("nothing of it was kept; what was there before is as it was")
        raise full from error


def _place(parts: Sequence[Path], paths: Sequence[Path]) -> None:
    placed: list[Path] = []
    try:
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
            placed.append(path)
    except OSError:
        for path in placed:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _own_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside the path that is nobody else's; those of processes that were killed are removed."""
    prefix = f".{path.name}."
    for other in path.parent.glob(f"{glob.escape(prefix)}*{PART}"):
        with held(other, waits=False) as is_held:
            if is_held:
                shutil.rmtree(other)
    while True:
        folder = Path(mkdtemp(prefix=prefix, suffix=PART, dir=path.parent))
        with held(folder) as is_held:
            if is_held and folder.exists():  # else another process took it for a leftover before it was locked
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder)
                return


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


def _growing(part: Path, kind: str) -> AbstractContextManager[Sink]:
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
def _parquet(part: Path) -> Iterator[Sink]:
    """Polars cannot append to a Parquet file: batches are files of their own, and made one at the end, streaming."""
    folder = part.with_suffix(".batches")
    folder.mkdir()
    n_batches = 0

    def sink(columns: Columns, /) -> None:
        nonlocal n_batches
        _frame(columns).write_parquet(folder / f"{n_batches:08d}.parquet")
        n_batches += 1

    yield sink
    batches = [folder / f"{i:08d}.parquet" for i in range(n_batches)]
    if batches:
        pl.scan_parquet(batches).sink_parquet(part)
    else:
        pl.DataFrame().write_parquet(part)


def _frame(columns: Columns) -> pl.DataFrame:
    frame = pl.DataFrame([_series(name, column) for name, column in columns.items()])
    # what is not known is an empty field, not the text NaN
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _series(name: str, column: NDArray[Any] | Texts) -> pl.Series:
    if not isinstance(column, Texts):
        return pl.Series(name, column)
    texts = pl.Series(name, column.values, dtype=pl.String)
    return texts if column.at is None else texts.gather(pl.Series(column.at))
