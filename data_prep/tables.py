"""Reading the input tables T0 (assays), T1 (activities) and T2 (structures), dirty as they come.

A file that is no such table raises TableError. A row that is no good never stops a run: it moves to the rejected rows
with its number and a reason code, so that accepted and rejected rows always add up to the rows of the file.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.errors import TableError
from data_prep.settings import ASSAY_TYPES

REJECTED_COLUMNS = {
    "table": pl.String,  # T0, T1 or T2
    "input_row": pl.UInt32,  # 1 is the first row of data
    "input_assay_id": pl.String,
    "input_compound_id": pl.String,
    "reason": pl.String,  # code
}

_EXPERT_COLUMNS = tuple(f"expert_threshold_{i}" for i in range(1, 6))
_T0_OPTIONAL = ("use_in_regression", "is_binary", *_EXPERT_COLUMNS, "direction", "catalog_assay_id", "parent_assay_id")
_TRUE, _FALSE = ("true", "1", "yes", "t", "y", "1.0"), ("false", "0", "no", "f", "n", "0.0")
_QUALIFIERS = {"<": "<", "<=": "<", "<<": "<", ">": ">", ">=": ">", ">>": ">", "=": "=", "~": "=", "": "="}
_NO_NUMBER = ("", "nan", "na", "n/a", "null", "none")  # ways to say that nothing was measured


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table that are good so far, and those that are not (columns: REJECTED_COLUMNS)."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame


def no_rejected() -> pl.DataFrame:
    """Return an empty table of rejected rows."""
    return pl.DataFrame(schema=REJECTED_COLUMNS)


def reject(table: str, rows: pl.DataFrame, reason: pl.Expr) -> Table:
    """Split rows by `reason`: null keeps a row, any text rejects it with that code."""
    judged = rows.with_columns(reason.alias("reason"))
    refused = judged.filter(pl.col("reason").is_not_null()).with_columns(pl.lit(table).alias("table"))
    columns = [
        (pl.col(name) if name in refused.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in REJECTED_COLUMNS.items()
    ]
    return Table(judged.filter(pl.col("reason").is_null()).drop("reason"), refused.select(columns))


def first_reason(**conditions: pl.Expr) -> pl.Expr:
    """Return the name of the first condition that holds for a row, else null."""
    return pl.coalesce(
        *(pl.when(condition).then(pl.lit(code)) for code, condition in conditions.items()), pl.lit(None, pl.String)
    )


def read_assays(path: Path) -> Table:
    """Read T0: one row per assay with `assay_type`, `is_binary`, `use_in_regression`, `direction`, `experts`.

    `experts` are the distinct expert thresholds, ascending. An assay given twice in the same words counts once;
    in different words it is rejected as `conflicting_assay`. Codes: `missing_id`, `unknown_assay_type`,
    `bad_direction`, `bad_flag`, `bad_threshold`, `conflicting_assay`.
    """
    rows = _read(path, ("input_assay_id", "assay_type"), _T0_OPTIONAL)
    definition = [name for name in rows.columns if name != "input_row"]
    experts = [_number(name) for name in _EXPERT_COLUMNS]
    rows = rows.with_columns(
        _text("assay_type").str.to_uppercase(),
        _text("direction").str.to_lowercase(),
        _flag("is_binary").alias("binary"),
        _flag("use_in_regression").alias("regression"),
        pl.concat_list(experts).list.drop_nulls().list.unique().list.sort().alias("experts"),
        pl.any_horizontal(
            *(n.is_null() & ~_says_nothing(c) | ~n.is_finite() for c, n in zip(_EXPERT_COLUMNS, experts, strict=True))
        ).alias("bad_threshold"),
        (pl.struct(definition).n_unique().over("input_assay_id") > 1).alias("conflicting"),
    )
    split = reject(
        "T0",
        rows,
        first_reason(
            missing_id=pl.col("input_assay_id").is_null(),
            unknown_assay_type=~pl.col("assay_type").is_in(ASSAY_TYPES),
            bad_direction=~pl.col("direction").is_in(["", "low", "high"]),
            bad_flag=pl.col("binary").is_null() | pl.col("regression").is_null(),
            bad_threshold=pl.col("bad_threshold").fill_null(value=False),
            conflicting_assay=pl.col("conflicting"),
        ),
    )
    columns = ["input_row", "input_assay_id", "assay_type", "direction", "experts", "catalog_assay_id"]
    flags = [pl.col("binary").alias("is_binary"), pl.col("regression").alias("use_in_regression")]
    return Table(split.accepted.select(*columns, *flags), split.rejected)


def read_activities(path: Path) -> Table:
    """Read T1: rows with a finite `standard_value` and a `standard_qualifier` out of <, = and >.

    Codes: `missing_id`, `missing_value`, `not_a_number`, `not_finite`, `unknown_qualifier`.
    Raises TableError when no value at all is a number: the column is another one.
    """
    rows = _read(path, ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value"), ())
    raw, value = _text("standard_value"), _number("standard_value")
    qualifier = _text("standard_qualifier").replace_strict(_QUALIFIERS, default=None, return_dtype=pl.String)
    rows = rows.with_columns(qualifier.alias("standard_qualifier"), value.alias("value"), raw.alias("standard_value"))
    split = reject(
        "T1",
        rows,
        first_reason(
            missing_id=pl.col("input_assay_id").is_null() | pl.col("input_compound_id").is_null(),
            missing_value=_says_nothing("standard_value"),
            not_a_number=pl.col("value").is_null(),
            not_finite=~pl.col("value").is_finite(),
            unknown_qualifier=pl.col("standard_qualifier").is_null(),
        ),
    )
    if rows.height and (split.rejected["reason"] == "not_a_number").sum() == rows.height:
        raise TableError(
            f"{path.name}: column standard_value: found no number in {rows.height} rows, expected log units"
        )
    return Table(split.accepted.drop("standard_value").rename({"value": "standard_value"}), split.rejected)


def read_structures(path: Path) -> Table:
    """Read T2: `input_compound_id` and `smiles` (may be null here). Code: `missing_id`.

    Raises TableError for a table without rows.
    """
    rows = _read(path, ("input_compound_id", "smiles"), ())
    if rows.is_empty():
        raise TableError(f"{path.name}: found a header and no rows, expected structures")
    return reject("T2", rows, first_reason(missing_id=pl.col("input_compound_id").is_null()))


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> pl.DataFrame:
    """Return the named columns as text, numbers as they are, `input_row` first."""
    rows = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    missing = [name for name in required if name not in rows.columns]
    if missing:
        found = ", ".join(rows.columns)
        error = TableError(f"{path.name}: missing column {', '.join(missing)}; found {found}")
        error.add_note(f"expected at least the columns {', '.join(required)}")
        raise error
    columns = [_as_text(rows, name, path) for name in (*required, *optional)]
    return rows.select(columns).with_row_index("input_row", offset=1)


def _as_text(rows: pl.DataFrame, name: str, path: Path) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit(None, pl.String).alias(name)
    dtype = rows.schema[name]
    if name.endswith("_id") and not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Null)):
        raise TableError(f"{path.name}: column {name}: found {dtype}, expected text or whole numbers")
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)  # an empty text is a missing value


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as cause:
        raise TableError(f"{path.name}: expected a Parquet file: {_first_line(cause)}") from cause


def _read_csv(path: Path) -> pl.DataFrame:
    content = _content(path).removeprefix(b"\xef\xbb\xbf")
    if b"\r" in content:  # line ends of every origin, and mixtures
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    content = content.rstrip(b"\n")
    if not content:
        raise TableError(f"{path.name}: found an empty file, expected a table with a header line")
    try:
        rows = pl.read_csv(content, infer_schema=False)
    except pl.exceptions.PolarsError as cause:
        error = TableError(f"{path.name}: expected comma separated UTF-8 text: {_first_line(cause)}")
        error.add_note("fields that contain commas need double quotes around them")
        raise error from None  # polars' own message may show structures
    return rows.rename(str.strip)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        error = TableError(f"{path.name}: truncated or damaged gzip file ({cause})")
        error.add_note("copy the file again")
        raise error from cause
    except OSError as cause:
        raise TableError(f"{path.name}: cannot be read: {cause.strerror}") from cause


def _first_line(cause: Exception) -> str:
    return type(cause).__name__


def _text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _says_nothing(name: str) -> pl.Expr:
    return _text(name).str.to_lowercase().is_in(_NO_NUMBER)


def _flag(name: str) -> pl.Expr:
    words = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False), "": False}
    return _text(name).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
