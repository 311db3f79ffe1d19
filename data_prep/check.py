"""Check a partner's tables before any expensive step, and report all findings at once."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.columns import expected_words, words_of
from data_prep.errors import TableError
from data_prep.labels.activities import credible, credible_limits
from data_prep.labels.catalogue import settle_catalogue
from data_prep.settings import Activities, OwnTables, Preparation
from data_prep.tables.tables import (
    COLUMN_OF_REASON,
    Table,
    misspelled,
    read_activities,
    read_assays,
    read_structures,
)

_SHOWN_ROWS = 5
_SUSPICIOUS_VALUE = 15.0  # log units; no measured pXC50 is as large, but values in nM are
_NOT_LOGARITHMS = ("ADME", "AUX_HTS")  # types whose values may be negative
_READERS = {"T0": read_assays, "T1": read_activities, "T2": read_structures}
_CATALOGUE = {
    "missing_catalog_id": "of type CATALOG-PANEL without catalog_assay_id: taken as NON-CATALOG-PANEL",
    "catalog_id_ignored": "with catalog_assay_id and another type than CATALOG-PANEL or PANEL: the id is ignored",
}


@dataclass(frozen=True, slots=True)
class TableFinding:
    """One finding about an input table."""

    table: str  # T0, T1 or T2
    text: str
    serious: bool  # rows will be rejected, or probably hold wrong values; else a remark
    stops: bool = False  # nothing can be prepared at all

    def __str__(self) -> str:
        return f"{self.table}: {'' if self.serious else 'remark: '}{self.text}"


_ANY_TABLES = OwnTables()


def check(t0: Path, t1: Path, t2: Path, settings: Preparation, own: OwnTables = _ANY_TABLES) -> list[TableFinding]:
    """Return all findings about the tables, each with its number of rows and the first of them.

    Structures are not parsed. Unreadable files are findings too, no exception is raised for them.
    """
    tables: dict[str, Table] = {}
    findings: list[TableFinding] = []
    for (name, read), path in zip(_READERS.items(), (t0, t1, t2), strict=True):
        try:
            tables[name] = read(path, own.columns)
            findings += _check_names(name, misspelled(path, name, own.columns))
        except TableError as error:
            texts = [str(error), *getattr(error, "__notes__", [])]  # a note says what to do
            findings.append(TableFinding(name, "; ".join(texts), serious=True, stops=True))
    for name, table in tables.items():
        findings += _rejections(table)
        findings += _remark(name, table.multiline, "with line ends within a field: a stray quote may have merged rows")
    rows = {name: table.accepted for name, table in tables.items()}
    if "T0" in rows:
        findings += _check_assays(rows["T0"], settings.activities)
    if "T1" in rows:
        findings += _check_activities(rows["T1"])
    if "T2" in rows:
        findings += _check_structures(rows["T2"])
    if len(rows) == len(_READERS):
        findings += _check_together(rows["T0"], rows["T1"], rows["T2"], settings.activities)
    return findings


def _check_assays(assays: pl.DataFrame, settings: Activities) -> list[TableFinding]:
    used = ~pl.col("is_binary") & (pl.col("assay_type") != "AUX_HTS")
    low, high = credible_limits(settings)
    threshold = pl.col("experts")
    outside = (threshold.list.min() < low) | (threshold.list.max() > high)
    unused = ~used & (threshold.list.len() > 0)
    notes = settle_catalogue(assays)
    return [
        *_finding("T0", assays.filter(used & outside), "with an expert threshold outside the credible range"),
        *_remark("T0", assays.filter(unused), "with expert thresholds that a binary or AUX_HTS assay does not use"),
        *(f for note, text in _CATALOGUE.items() for f in _remark("T0", notes.filter(catalog_note=note), text)),
        *_remark("T0", assays.filter(~pl.col("input_assay_id").is_first_distinct()), "that repeat an earlier row"),
    ]


def _check_activities(activities: pl.DataFrame) -> list[TableFinding]:
    if activities.is_empty():
        return [TableFinding("T1", "no row with an activity, so there will be no task", serious=True, stops=True)]
    large = activities.filter(pl.col("standard_value") > _SUSPICIOUS_VALUE)
    return _finding("T1", large, f"above {_SUSPICIOUS_VALUE:g}: log units are expected, not nM or %")


def _check_structures(structures: pl.DataFrame) -> list[TableFinding]:
    smiles = structures.unique(["input_compound_id", "smiles"], keep="first", maintain_order=True)
    ambiguous_ids = smiles.filter(smiles["input_compound_id"].is_duplicated()).select("input_compound_id").unique()
    contradicting = structures.join(ambiguous_ids, on="input_compound_id", how="semi")
    repeated = structures.join(smiles, on="input_row", how="anti")
    return [
        *_finding("T2", contradicting, "of compounds that appear with several SMILES"),
        *_remark("T2", repeated, "that repeat an earlier row"),
    ]


def _check_together(
    assays: pl.DataFrame, activities: pl.DataFrame, structures: pl.DataFrame, settings: Activities
) -> list[TableFinding]:
    known = structures.select(pl.col("input_compound_id").cast(pl.Categorical)).unique()
    known = known.with_columns(pl.lit(0, pl.UInt32).alias("row"))
    measured = activities.join(known, on="input_compound_id", how="left", maintain_order="left")
    credible_rows = credible(assays, measured, settings)
    of_type = activities.join(_types(assays), on="input_assay_id").filter(~pl.col("is_binary"))
    negative = of_type.filter((pl.col("standard_value") < 0) & ~pl.col("assay_type").is_in(_NOT_LOGARITHMS))
    return [
        *_rejections(credible_rows),
        *_finding("T1", negative, "below 0 in dose-response assays: pXC50 is expected, -log10 of mol/l"),
        *_remark("T0", _unmeasured(assays, activities, "input_assay_id"), "of assays without an activity in T1"),
        *_remark(
            "T2", _unmeasured(structures, activities, "input_compound_id"), "of compounds without an activity in T1"
        ),
    ]


def _types(assays: pl.DataFrame) -> pl.DataFrame:
    number = pl.col("input_assay_id").cast(pl.String).cast(pl.Categorical)
    return assays.unique("input_assay_id").select(number, "assay_type", "is_binary")


def _unmeasured(rows: pl.DataFrame, activities: pl.DataFrame, name: str) -> pl.DataFrame:
    measured = activities.select(pl.col(name).unique().cast(pl.String))
    return rows.with_columns(pl.col(name).cast(pl.String)).join(measured, on=name, how="anti")


def _check_names(table: str, near: dict[str, str]) -> list[TableFinding]:
    texts = (f"column {name} is not known and not read; is {column} meant?" for name, column in near.items())
    return [TableFinding(table, text, serious=False) for text in texts]


def _rejections(table: Table) -> list[TableFinding]:
    groups = table.rejected.sort("input_row").group_by("table", "reason", maintain_order=True)
    return [
        found
        for (name, reason), rows in groups
        for found in _finding(str(name), rows, f"rejected: {reason}{_allowed(table, str(reason))}")
    ]


def _allowed(table: Table, reason: str) -> str:
    """Return the words that were found and those that are allowed, for a reason that is about words."""
    column = COLUMN_OF_REASON.get(reason)
    return f": {expected_words(table.unknown_words(reason), words_of(column))}" if column else ""


def _finding(table: str, rows: pl.DataFrame, text: str, *, serious: bool = True) -> list[TableFinding]:
    """Return a finding about these rows, or none without rows."""
    if rows.is_empty():
        return []
    first = ", ".join(str(n) for n in rows["input_row"].sort().head(_SHOWN_ROWS))
    more = ", ..." if rows.height > _SHOWN_ROWS else ""
    count = f"{rows.height} row{'s' if rows.height > 1 else ''}"
    return [TableFinding(table, f"{count} ({first}{more}) {text}", serious)]


def _remark(table: str, rows: pl.DataFrame, text: str) -> list[TableFinding]:
    return _finding(table, rows, text, serious=False)
