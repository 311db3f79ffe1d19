"""Read the input tables T0 (assays), T1 (activities) and T2 (structures) and reject invalid rows.

A file that is no such table raises TableError. An invalid row never stops a run: it moves to the rejected rows with
its number and a reason code, so accepted and rejected rows always add up to the rows of the file.
"""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data_prep.errors import TableError
from data_prep.settings import ASSAY_TYPES
from data_prep.tables.table_files import (
    EXPERT_COLUMNS,
    T0_OPTIONAL,
    T0_REQUIRED,
    T1_OPTIONAL,
    T1_REQUIRED,
    T2_REQUIRED,
    read_blocks,
)
from data_prep.tables.units import units_of

REJECTED_COLUMNS = {
    "table": pl.String,  # T0, T1 or T2
    "input_row": pl.UInt32,  # 1 is the first row of data
    "input_assay_id": pl.String,
    "input_compound_id": pl.String,
    "reason": pl.String,  # code
}

_T0_KEPT = ("assay_type", "direction", "catalog_assay_id", "parent_assay_id")
_TRUE, _FALSE = ("true", "1", "yes", "t", "y", "1.0"), ("false", "0", "no", "f", "n", "0.0")
_QUALIFIERS = {"<": "<", "<=": "<", "<<": "<", ">": ">", ">=": ">", ">>": ">", "=": "=", "~": "=", "": "="}
QUALIFIER = pl.Enum(["<", ">", "="])  # ascending precision
_NO_NUMBER = ("", "nan", "na", "n/a", "null", "none")  # texts for "not measured"


@dataclass(frozen=True, slots=True)
class Table:
    """The accepted and the rejected rows of a table (columns of the latter: REJECTED_COLUMNS).

    `multiline` has the `input_row` of all rows of the file, accepted or rejected, with line ends within a field.
    `unknown_units` are the texts in T1's `standard_unit` that name no unit.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    multiline: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"input_row": pl.UInt32}))
    unknown_units: frozenset[str] = frozenset()


def reject(table: str, rows: pl.DataFrame, reason: pl.Expr) -> Table:
    """Split rows by `reason`: null keeps a row, any text rejects it with that code."""
    labelled = rows.with_columns(reason.alias("reason"))
    rejected = labelled.filter(pl.col("reason").is_not_null()).with_columns(pl.lit(table).alias("table"))
    columns = [
        (pl.col(name) if name in rejected.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in REJECTED_COLUMNS.items()
    ]
    return Table(labelled.filter(pl.col("reason").is_null()).drop("reason"), rejected.select(columns))


def first_reason(**conditions: pl.Expr) -> pl.Expr:
    """Return the name of the first condition that holds for a row, else null."""
    return pl.coalesce(
        *(pl.when(condition).then(pl.lit(code)) for code, condition in conditions.items()), pl.lit(None, pl.String)
    )


def read_assays(path: Path) -> Table:
    """Read T0: one row per assay with `assay_type`, `is_binary`, `use_in_regression`, `direction`, `experts`.

    Accepted ids are an Enum of all of them, sorted; `experts` are the distinct expert thresholds, ascending. Equal
    rows of an assay count once; different rows of one assay are rejected as `conflicting_assay`. Codes:
    `unreadable`, `missing_id`, `unknown_assay_type`, `bad_direction`, `bad_flag`, `bad_threshold`, `conflicting_assay`.
    """
    rows = pl.concat(read_blocks(path, T0_REQUIRED, T0_OPTIONAL))
    definition = [*T0_REQUIRED, *T0_OPTIONAL]
    experts = [_number(name) for name in EXPERT_COLUMNS]
    rows = rows.with_columns(
        _text("assay_type").str.to_uppercase(),
        _text("direction").str.to_lowercase(),
        _flag("is_binary").alias("binary"),
        _flag("use_in_regression").alias("regression"),
        pl.concat_list(experts).list.drop_nulls().list.unique().list.sort().alias("experts"),
        pl.any_horizontal(
            *(n.is_null() & ~_is_not_measured(c) | ~n.is_finite() for c, n in zip(EXPERT_COLUMNS, experts, strict=True))
        ).alias("bad_threshold"),
        (pl.struct(definition).n_unique().over("input_assay_id") > 1).alias("conflicting"),
    )
    table = reject(
        "T0",
        rows,
        first_reason(
            unreadable=pl.col("unreadable"),
            missing_id=pl.col("input_assay_id").is_null(),
            unknown_assay_type=~pl.col("assay_type").is_in(ASSAY_TYPES),
            bad_direction=~pl.col("direction").is_in(["", "low", "high"]),
            bad_flag=pl.col("binary").is_null() | pl.col("regression").is_null(),
            bad_threshold=pl.col("bad_threshold").fill_null(value=False),
            conflicting_assay=pl.col("conflicting"),
        ),
    )
    assay_ids = pl.Enum(table.accepted["input_assay_id"].unique().sort())
    flags = [pl.col("binary").alias("is_binary"), pl.col("regression").alias("use_in_regression")]
    ids = pl.col("input_assay_id").cast(assay_ids)
    accepted = table.accepted.select("input_row", ids, *_T0_KEPT, "experts", *flags)
    return Table(accepted, table.rejected, _multiline(rows))


def read_activities(path: Path) -> Table:
    """Read T1: rows with a finite `standard_value` and a `standard_qualifier` out of <, = and >; ids as categories.

    `unit` is that of `standard_unit` (data_prep.tables.units.UNIT); values are not converted here.
    Codes: `unreadable`, `missing_id`, `missing_value`, `not_a_number`, `not_finite`, `unknown_qualifier`,
    `unknown_unit`. Raises TableError if no value at all is a number, since the column then holds something else.
    """
    blocks = [_check_activities(block) for block in read_blocks(path, T1_REQUIRED, T1_OPTIONAL)]
    table = Table(
        pl.concat(b.accepted for b in blocks),
        pl.concat(b.rejected for b in blocks),
        pl.concat(b.multiline for b in blocks),
        frozenset().union(*(b.unknown_units for b in blocks)),
    )
    n_rows = table.accepted.height + table.rejected.height
    if n_rows and (table.rejected["reason"] == "not_a_number").sum() == n_rows:
        raise TableError(f"{path.name}: column standard_value: found no number in {n_rows} rows, expected log units")
    return table


def _check_activities(rows: pl.DataFrame) -> Table:
    number = _number("standard_value")
    qualifier = _text("standard_qualifier").replace_strict(_QUALIFIERS, default=None, return_dtype=QUALIFIER)
    unit = units_of(rows["standard_unit"])
    unknown_units = frozenset(rows["standard_unit"].filter(unit.is_null()).unique())
    table = reject(
        "T1",
        rows.with_columns(qualifier.alias("standard_qualifier"), number.alias("value"), unit.alias("unit")),
        first_reason(
            unreadable=pl.col("unreadable"),
            missing_id=pl.col("input_assay_id").is_null() | pl.col("input_compound_id").is_null(),
            missing_value=pl.col("value").is_nan().fill_null(value=True) & _is_not_measured("standard_value"),
            not_a_number=pl.col("value").is_null(),
            not_finite=~pl.col("value").is_finite(),
            unknown_qualifier=pl.col("standard_qualifier").is_null(),
            unknown_unit=pl.col("unit").is_null(),
        ),
    )
    ids = [pl.col(name).cast(pl.Categorical) for name in ("input_compound_id", "input_assay_id")]
    value = pl.col("value").alias("standard_value")
    accepted = table.accepted.select("input_row", *ids, "standard_qualifier", value, "unit")
    return Table(accepted, table.rejected, _multiline(rows), unknown_units)


def read_structures(path: Path) -> Table:
    """Read T2: `input_compound_id` and `smiles` (may be null here). Codes: `unreadable`, `missing_id`.

    Raises TableError for a table without rows.
    """
    rows = pl.concat(read_blocks(path, T2_REQUIRED))
    if rows.is_empty():
        raise TableError(f"{path.name}: found a header and no rows, expected structures")
    reason = first_reason(unreadable=pl.col("unreadable"), missing_id=pl.col("input_compound_id").is_null())
    table = reject("T2", rows, reason)
    return Table(table.accepted.select("input_row", *T2_REQUIRED), table.rejected, _multiline(rows))


def _multiline(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter("multiline").select("input_row")


def _text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _is_not_measured(name: str) -> pl.Expr:
    return _text(name).str.to_lowercase().is_in(_NO_NUMBER)


def _flag(name: str) -> pl.Expr:
    words = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False), "": False}
    return _text(name).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
