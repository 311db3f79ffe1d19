"""Read the input tables T0 (assays), T1 (activities) and T2 (structures) and reject invalid rows.

A file that is no such table raises TableError. An invalid row never stops a run: it moves to the rejected rows with
its number and a reason code, so accepted and rejected rows always add up to the rows of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data_prep.columns import COMPOUND_ID, DAY, FALSE_WORDS, QUALIFIER_OF, SMILES, TRUE_WORDS, names_of
from data_prep.errors import TableError
from data_prep.settings import ASSAY_TYPES
from data_prep.tables.header import Wanted, misspelled_columns, wanted_columns
from data_prep.tables.sd_files import is_sd_file, sd_blocks, sd_records
from data_prep.tables.table_files import read_blocks, read_header
from data_prep.tables.units import units_of

REJECTED_COLUMNS = {
    "table": pl.String,  # T0, T1 or T2
    "input_row": pl.UInt32,  # 1 is the first row of data
    "input_assay_id": pl.String,
    "input_compound_id": pl.String,
    "reason": pl.String,  # code
}

COLUMN_OF_REASON = {
    "unknown_assay_type": "assay_type",
    "bad_direction": "direction",
    "unknown_qualifier": "standard_qualifier",
    "unknown_unit": "standard_unit",
}
"""The column whose words are not the allowed ones."""
ROW_NOTES = {
    "not_utf8": "not in UTF-8: save the table as UTF-8 (in Excel: CSV UTF-8)",
    "multiline": "with line ends within a field: a stray quote may have merged rows",
    "qualified": "with a qualifier in standard_value, such as >5: write it into standard_qualifier",
    "decimal_comma": "with a decimal comma in standard_value: write a decimal point",
}
"""What may explain a row that was rejected or misread, by the code in Table.remarks."""
_REMARKS_SCHEMA = {"input_row": pl.UInt32, "note": pl.String}
_UNKNOWN_SCHEMA = {"reason": pl.String, "word": pl.String, "len": pl.UInt32}
_T0_REQUIRED, _T0_OPTIONAL = names_of("T0", required=True), names_of("T0", required=False)
_T1_REQUIRED, _T2_REQUIRED = names_of("T1", required=True), names_of("T2", required=True)
_EXPERTS = tuple(name for name in _T0_OPTIONAL if name.startswith("expert_threshold"))
_T0_KEPT = ("assay_type", "direction", "catalog_assay_id", "parent_assay_id")
QUALIFIER = pl.Enum(["<", ">", "="])  # ascending precision
_NUMBER_OF_NOTE = {"qualified": r"^(<|>|=|~|≤|≥).*[0-9]", "decimal_comma": r"^[-+]?[0-9]+,[0-9]+$"}
_ISO_DAY = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].*)?$"  # ISO 8601; a time after the day is left out
_NO_NUMBER = ("", "nan", "na", "n/a", "null", "none")  # texts for "not measured"


@dataclass(frozen=True, slots=True)
class Table:
    """The accepted and the rejected rows of a table (columns of the latter: REJECTED_COLUMNS).

    `remarks` has `input_row` and `note`, a code of ROW_NOTES, of rows that are accepted or rejected.
    `unknown` has the words for which rows were rejected: `reason`, `word` and `len`, the number of rows.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    remarks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_REMARKS_SCHEMA))
    unknown: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_UNKNOWN_SCHEMA))

    def unknown_words(self, reason: str) -> list[str]:
        """Return the words that rows were rejected for with this reason, the most common first; "" for no word."""
        of_reason = self.unknown.filter(pl.col("reason") == reason).group_by("word").agg(pl.col("len").sum())
        return of_reason.sort(["len", "word"], descending=[True, False])["word"].to_list()


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


Renamed = Mapping[str, Sequence[str]]
"""Names that columns have in the partner's files, by the column's own name: the first that a file has is taken."""


def wanted_of(table: str, renamed: Renamed | None = None, date_column: str = "") -> Wanted:
    """Return the columns that are read from table T0, T1 or T2; date_column : its name in the file, "" for none."""
    wanted = wanted_columns(names_of(table, required=True), names_of(table, required=False), renamed)
    if not date_column:
        return wanted
    return Wanted((*wanted.required, DAY), wanted.optional, {**wanted.names, DAY: (date_column,)})


def table_with_days(t0: Path, t1: Path, date_column: str, renamed: Renamed | None = None) -> str:
    """Return which of T1 and T0 has the column, T1 if both have it, "" if none is wanted. Raises TableError."""
    if not date_column:
        return ""
    for table, path in (("T1", t1), ("T0", t0)):
        if date_column.casefold() in (name.casefold() for name in read_header(path, wanted_of(table, renamed))):
            return table
    error = TableError(f"{t1.name}, {t0.name}: found no column {date_column} in any of them, expected days")
    error.add_note("[data] date_column in partner.toml names the column; without it no day is read")
    raise error


def misspelled(path: Path, table: str, renamed: Renamed | None = None) -> dict[str, str]:
    """Return the file's columns that are not read and have nearly the name of a missing optional column, with that."""
    wanted = wanted_of(table, renamed)
    return {} if is_sd_file(path) else misspelled_columns(read_header(path, wanted), wanted)


def column_notes(path: Path, table: str, renamed: Renamed | None = None) -> list[str]:
    """Return what is odd about the columns of a table that can be read, as sentences. Raises TableError."""
    near = misspelled(path, table, renamed)
    notes = [f"column {name} is not known and not read; is {column} meant?" for name, column in near.items()]
    fields = [name for name in wanted_of(table, renamed).names_of(COMPOUND_ID) if name != COMPOUND_ID]
    if is_sd_file(path) and fields and not any(record.has_field(fields) for record in sd_records(path)):
        notes.append(f"no record has the field {' or '.join(fields)} of [data.columns]; its title line is the id")
    return notes


def read_assays(path: Path, renamed: Renamed | None = None, date_column: str = "") -> Table:
    """Read T0: one row per assay with `assay_type`, `is_binary`, `use_in_regression`, `direction`, `experts`.

    Accepted ids are an Enum of all of them, sorted; `experts` are the distinct expert thresholds, ascending. Equal
    rows of an assay count once; different rows of one assay are rejected as `conflicting_assay`. Codes:
    `unreadable`, `missing_id`, `unknown_assay_type`, `bad_direction`, `bad_flag`, `bad_threshold`, `bad_date`,
    `conflicting_assay`. date_column : see read_activities.
    """
    read = pl.concat(read_blocks(path, wanted_of("T0", renamed, date_column)))
    days = [DAY] if date_column else []
    definition = [*_T0_REQUIRED, *_T0_OPTIONAL, *days]
    experts = [_number(name) for name in _EXPERTS]
    rows = read.with_columns(
        _text("assay_type").str.to_uppercase(),
        _text("direction").str.to_lowercase(),
        _flag("is_binary").alias("binary"),
        _flag("use_in_regression").alias("regression"),
        pl.concat_list(experts).list.drop_nulls().list.unique().list.sort().alias("experts"),
        pl.any_horizontal(
            *(n.is_null() & ~_is_not_measured(c) | ~n.is_finite() for c, n in zip(_EXPERTS, experts, strict=True))
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
            **_bad_dates(date_column),
            conflicting_assay=pl.col("conflicting"),
        ),
    )
    assay_ids = pl.Enum(table.accepted["input_assay_id"].unique().sort())
    flags = [pl.col("binary").alias("is_binary"), pl.col("regression").alias("use_in_regression")]
    ids = pl.col("input_assay_id").cast(assay_ids)
    accepted = table.accepted.select("input_row", ids, *_T0_KEPT, "experts", *flags, *_days(days))
    return Table(accepted, table.rejected, _remarks(rows), _unknown(read, table.rejected))


def read_activities(path: Path, renamed: Renamed | None = None, date_column: str = "") -> Table:
    """Read T1: rows with a finite `standard_value` and a `standard_qualifier` out of <, = and >; ids as categories.

    `unit` is that of `standard_unit` (data_prep.tables.units.UNIT); values are not converted here.
    date_column : the file's column of days; accepted rows then have `day`, null if the text is empty.
    Codes: `unreadable`, `missing_id`, `missing_value`, `not_a_number`, `not_finite`, `unknown_qualifier`,
    `unknown_unit`, `bad_date`. Raises TableError if no value at all is a number, since the column then holds something
    else.
    """
    wanted = wanted_of("T1", renamed, date_column)
    blocks = [_check_activities(block, date_column) for block in read_blocks(path, wanted)]
    table = Table(
        pl.concat(b.accepted for b in blocks),
        pl.concat(b.rejected for b in blocks),
        pl.concat(b.remarks for b in blocks),
        pl.concat(b.unknown for b in blocks),
    )
    n_rows = table.accepted.height + table.rejected.height
    if n_rows and (table.rejected["reason"] == "not_a_number").sum() == n_rows:
        error = TableError(f"{path.name}: column standard_value: found no number in {n_rows} rows, expected log units")
        error.add_note("numbers have a decimal point, not a comma; a qualifier such as > is a column of its own")
        raise error
    return table


def _check_activities(rows: pl.DataFrame, date_column: str = "") -> Table:
    number = _number("standard_value")
    qualifier = _text("standard_qualifier").replace_strict(QUALIFIER_OF, default=None, return_dtype=QUALIFIER)
    unit = units_of(rows["standard_unit"])
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
            **_bad_dates(date_column),
        ),
    )
    ids = [pl.col(name).cast(pl.Categorical) for name in ("input_compound_id", "input_assay_id")]
    value = pl.col("value").alias("standard_value")
    days = _days([DAY] if date_column else [])
    accepted = table.accepted.select("input_row", *ids, "standard_qualifier", value, "unit", *days)
    remarks = pl.concat([_remarks(rows), _remarks_on_values(rows, table.rejected)])
    return Table(accepted, table.rejected, remarks, _unknown(rows, table.rejected))


def read_structures(path: Path, renamed: Renamed | None = None, *, number_unnamed: bool = False) -> Table:
    """Read T2: `input_compound_id` and `smiles` (may be null here). Codes: `unreadable`, `missing_id`.

    Of an SD file `smiles` has mol blocks, which data_prep.structures standardises too.
    number_unnamed : whether a row without an id takes the row's number, and the file may lack the column
    Raises TableError for a table without rows.
    """
    wanted = wanted_of("T2", renamed)
    if number_unnamed:
        wanted = Wanted((SMILES,), (COMPOUND_ID,), wanted.names)
    blocks = sd_blocks(path, wanted.names_of(COMPOUND_ID)) if is_sd_file(path) else read_blocks(path, wanted)
    rows = pl.concat(blocks)
    if number_unnamed:
        number = pl.when(~pl.col("unreadable")).then(pl.col("input_row").cast(pl.String))
        rows = rows.with_columns(pl.coalesce(COMPOUND_ID, number))
    if rows.is_empty():
        raise TableError(f"{path.name}: found a header and no rows, expected structures")
    reason = first_reason(unreadable=pl.col("unreadable"), missing_id=pl.col("input_compound_id").is_null())
    table = reject("T2", rows, reason)
    return Table(table.accepted.select("input_row", *_T2_REQUIRED), table.rejected, _remarks(rows))


def _unknown(rows: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Return `reason`, `word` and `len` of the words that rows were rejected for."""
    counts = [pl.DataFrame(schema=_UNKNOWN_SCHEMA)]
    for reason, column in COLUMN_OF_REASON.items():
        refused = rejected.filter(pl.col("reason") == reason).select("input_row", "reason")
        if refused.height:
            words = refused.join(rows, on="input_row").select("reason", _text(column).alias("word"))
            counts.append(words.group_by("reason", "word").len())
    return pl.concat(counts)


def _remarks(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        rows.filter(note).select("input_row", pl.lit(note).alias("note")) for note in ("not_utf8", "multiline")
    )


def _remarks_on_values(rows: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Return `input_row` and `note` of the values that are numbers but for a qualifier or a decimal comma."""
    refused = rejected.filter(pl.col("reason") == "not_a_number").select("input_row")
    values = refused.join(rows, on="input_row") if refused.height else rows.clear()
    number = _text("standard_value")
    return pl.concat(
        values.filter(number.str.contains(pattern)).select("input_row", pl.lit(note).alias("note"))
        for note, pattern in _NUMBER_OF_NOTE.items()
    )


def _bad_dates(date_column: str) -> dict[str, pl.Expr]:
    """Return the condition under which a row's day cannot be read, by its code; nothing if no day is wanted."""
    return {"bad_date": pl.col(DAY).is_not_null() & _day().is_null()} if date_column else {}


def _days(columns: Sequence[str]) -> list[pl.Expr]:
    return [_day().alias(column) for column in columns]


def _day() -> pl.Expr:
    return pl.col(DAY).str.extract(_ISO_DAY).str.to_date("%Y-%m-%d", strict=False)


def _text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _is_not_measured(name: str) -> pl.Expr:
    return _text(name).str.to_lowercase().is_in(_NO_NUMBER)


def _flag(name: str) -> pl.Expr:
    words = {**dict.fromkeys(TRUE_WORDS, True), **dict.fromkeys(FALSE_WORDS, False), "": False}
    return _text(name).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
