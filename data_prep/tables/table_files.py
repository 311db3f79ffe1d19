"""Read table files (CSV, Parquet or Excel) as text, block by block."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import fastexcel
import polars as pl

from data_prep.columns import DAY
from data_prep.errors import TableError
from data_prep.tables.csv_blocks import csv_blocks, csv_header, flagged
from data_prep.tables.header import Wanted, match_columns, n_matches
from data_prep.tables.plain_file import open_plain

_BLOCK_ROWS = 1 << 19  # of a Parquet file at a time
PARQUET, EXCEL = ".parquet", ".xlsx"


def read_blocks(path: Path, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """Yield the wanted columns as stripped text, `input_row` (1, 2, ...) first; at least one block.

    Three flags follow: `unreadable` (no CSV row: too many fields, misplaced quotes or no UTF-8; its columns are null),
    `not_utf8` (unreadable for this reason) and `multiline` (a field in quotes holds line ends: perhaps rows, merged
    after a stray quote). An empty text is null, and so is an optional column that the file does not have. Line ends may
    be LF, CRLF or CR; a UTF-8 mark is skipped.
    A file whose name ends with neither .parquet nor .xlsx is CSV, plain or gzipped; CSV and Parquet take little memory
    for a file of any size. Raises TableError for a file that is no such table.
    """
    start = 1
    for block in _blocks(path, wanted):
        columns = [_as_text(block, name, path) for name in wanted.columns]
        yield block.select(*columns, "unreadable", "not_utf8", "multiline").with_row_index("input_row", offset=start)
        start += block.height


def read_header(path: Path, wanted: Wanted) -> list[str]:
    """Return the names of a file's columns. Raises TableError for a file that is no table."""
    kind = path.suffix.lower()
    if kind == EXCEL:
        return _sheet(path, wanted)[0]
    return _scan_parquet(path)[1] if kind == PARQUET else csv_header(path, wanted)


def _blocks(path: Path, wanted: Wanted) -> Iterator[pl.DataFrame]:
    kind = path.suffix.lower()
    if kind == PARQUET:
        return _parquet_blocks(path, wanted)
    return iter([_excel_block(path, wanted)]) if kind == EXCEL else csv_blocks(path, wanted)


def _as_text(rows: pl.DataFrame, name: str, path: Path) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit(None, pl.String).alias(name)
    dtype = rows.schema[name]
    text_like = dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)
    if name.endswith("_id") and not (dtype.is_integer() or text_like):
        raise TableError(f"{path.name}: column {name}: found {dtype}, expected text or whole numbers")
    is_day = name == DAY and dtype in (pl.Date, pl.Datetime)
    if not (dtype.is_numeric() or dtype == pl.Boolean or text_like or is_day):
        dtype_name = dtype.base_type()  # the full type of an Enum or Struct would list its values
        raise TableError(f"{path.name}: column {name}: found {dtype_name}, expected text, numbers or truth values")
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)  # an empty text is a missing value


def _expect_plain(path: Path) -> None:
    try:
        open_plain(path).close()
    except OSError as cause:
        raise TableError(f"{path.name}: cannot be read: {cause.strerror}") from cause


def _scan_parquet(path: Path) -> tuple[pl.LazyFrame, list[str]]:
    _expect_plain(path)
    try:
        table = pl.scan_parquet(path)
        return table, table.collect_schema().names()
    except (OSError, pl.exceptions.PolarsError) as cause:
        raise TableError(f"{path.name}: expected a Parquet file: {type(cause).__name__}") from cause


def _parquet_blocks(path: Path, wanted: Wanted) -> Iterator[pl.DataFrame]:
    table, header = _scan_parquet(path)
    columns = _renamed(header, match_columns(path, header, wanted))
    try:
        n_rows = table.select(pl.len()).collect().item()
        for start in range(0, max(n_rows, 1), _BLOCK_ROWS):
            yield flagged(table.slice(start, _BLOCK_ROWS).select(columns).collect(), [])
    except (OSError, pl.exceptions.PolarsError) as cause:
        raise TableError(f"{path.name}: expected a Parquet file: {type(cause).__name__}") from cause


def _excel_block(path: Path, wanted: Wanted) -> pl.DataFrame:
    header, rows = _sheet(path, wanted)
    columns = rows.select(_renamed(rows.columns, match_columns(path, header, wanted)))
    is_filled = rows.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    filled = is_filled.arg_true()
    return flagged(columns.head(int(filled[-1]) + 1 if len(filled) else 0), [])


def _sheet(path: Path, wanted: Wanted) -> tuple[list[str], pl.DataFrame]:
    """Return header and rows of the sheet that has most of the wanted columns, the first of equals, cells as text."""
    _expect_plain(path)
    try:
        sheets: Mapping[str, pl.DataFrame] = pl.read_excel(
            path, sheet_id=0, has_header=False, infer_schema_length=0, drop_empty_rows=False, raise_if_empty=False
        )  # without header: polars would give the second of two equal names another name
    except (OSError, pl.exceptions.PolarsError, fastexcel.FastExcelError) as cause:
        raise TableError(f"{path.name}: expected an Excel file (.xlsx): {type(cause).__name__}") from cause
    tables = [(_first_row(sheet), sheet[1:]) for sheet in sheets.values()]
    return max(tables, key=lambda table: n_matches(table[0], wanted))


def _first_row(sheet: pl.DataFrame) -> list[str]:
    return [(cell or "").strip() for cell in sheet.row(0)] if sheet.height else []


def _renamed(header: Sequence[str], indices: Mapping[str, int]) -> list[pl.Expr]:
    return [pl.col(header[index]).alias(column) for column, index in indices.items()]
