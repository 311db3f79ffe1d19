"""Check a partner's tables before any expensive step: report all findings at once, and what will come of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from data_prep.columns import expected_words, words_of
from data_prep.errors import TableError
from data_prep.labels.activities import credible_limits
from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.thresholds import uses_experts
from data_prep.preparation.forecast import Forecast, forecast
from data_prep.preparation.input_tables import InputTables, ids_as_rows, input_tables
from data_prep.preparation.losses import STRUCTURE_ADVICE, TASK_ADVICE, Losses, implausible_notes
from data_prep.settings import DOSE_TYPES, Activities, OwnTables, Preparation
from data_prep.tables.tables import (
    COLUMN_OF_REASON,
    ROW_NOTES,
    Table,
    column_notes,
    read_activities,
    read_assays,
    read_structures,
    table_with_days,
)
from data_prep.tables.units import UNSTATED, unit_named

if TYPE_CHECKING:  # RDKit is large, and not needed unless structures are checked
    from data_prep.folds.compounds import Compounds
    from data_prep.preparation.structure_check import StructureCheck

_SHOWN_ROWS = 5
_TABLES = ("T0", "T1", "T2")
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


@dataclass(frozen=True, slots=True)
class TableCheck:
    """All findings about the tables; the losses of T1 if all three can be read, the forecast if nothing stops."""

    findings: list[TableFinding]
    losses: Losses | None = None
    forecast: Forecast | None = None

    @property
    def stops(self) -> bool:
        """Whether nothing can be prepared, or more would be left out than the partner allows."""
        return any(finding.stops for finding in self.findings)


_ANY_TABLES = OwnTables()


def check(
    t0: Path,
    t1: Path,
    t2: Path,
    settings: Preparation,
    own: OwnTables = _ANY_TABLES,
    structures: "StructureCheck | None" = None,
) -> TableCheck:
    """Return all findings about the tables, each with its number of rows and the first of them, and a forecast.

    structures : None: they are not standardised. Unreadable files are findings too, no exception is raised for them.
    """
    tables, findings = _read((t0, t1, t2), own)
    for name, table in tables.items():
        findings += _check_rows(name, table)
    rows = {name: table.accepted for name, table in tables.items()}
    if "T0" in rows:
        findings += _check_assays(rows["T0"], settings.activities)
    if "T1" in rows:
        findings += _check_activities(rows["T1"])
    if "T2" in rows:
        findings += _check_structures(rows["T2"])
    if len(rows) < len(_TABLES):
        return TableCheck(findings)
    read_ones = input_tables(tables["T0"], tables["T1"], tables["T2"], settings, own)
    return _check_together(read_ones, rows["T1"], settings, own, structures, findings)


def _read(paths: Sequence[Path], own: OwnTables) -> tuple[dict[str, Table], list[TableFinding]]:
    """Return the tables that can be read, by name, and findings about files and columns."""
    tables: dict[str, Table] = {}
    findings: list[TableFinding] = []
    try:
        dated = table_with_days(paths[0], paths[1], own.date_column, own.columns)
    except TableError as error:
        dated = ""
        findings.append(TableFinding("T1", str(error), serious=True, stops=True))
    for name, path in zip(_TABLES, paths, strict=True):
        try:
            tables[name] = _read_table(name, path, own, own.date_column if dated == name else "")
            notes = column_notes(path, name, own.columns)
            findings += [TableFinding(name, note, serious=False) for note in notes]
        except TableError as error:
            texts = [str(error), *getattr(error, "__notes__", [])]  # a note says what to do
            findings.append(TableFinding(name, "; ".join(texts), serious=True, stops=True))
    return tables, findings


def _read_table(name: str, path: Path, own: OwnTables, date_column: str) -> Table:
    if name == "T2":
        return read_structures(path, own.columns)
    read = read_assays if name == "T0" else read_activities
    return read(path, own.columns, date_column)


def _check_rows(name: str, table: Table) -> list[TableFinding]:
    remarks = (f for note, text in ROW_NOTES.items() for f in _remark(name, table.remarks.filter(note=note), text))
    return [*_rejections(table.rejected), *_unknown_words(name, table), *remarks]


def _check_assays(assays: pl.DataFrame, settings: Activities) -> list[TableFinding]:
    used = uses_experts()
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
    measurement = pl.struct(pl.all().exclude("input_row"))
    repeated = activities.filter(~measurement.is_first_distinct())
    return _remark("T1", repeated, "that repeat compound, assay and value of an earlier row: they count as replicates")


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
    tables: InputTables,
    activities: pl.DataFrame,
    settings: Preparation,
    own: OwnTables,
    structures: "StructureCheck | None",
    earlier: list[TableFinding],
) -> TableCheck:
    """Return the earlier findings and those that need all three tables."""
    compounds, sampled = _compounds(tables.structures.accepted, structures, settings)
    known = compounds.rows if compounds and not sampled else ids_as_rows(tables.structures.accepted)
    refused = compounds.rejected if compounds else tables.structures.rejected.clear()
    values = tables.values(known, settings)
    rejected = tables.all_rejected(values.rejected, refused if not sampled else refused.clear())
    losses = tables.losses(values, rejected, settings, own)
    reported = {(f.table, f.text) for f in earlier}
    findings = [f for f in _rejections(rejected) if (f.table, f.text) not in reported]
    findings += [TableFinding("T1", text, serious=True) for text in _implausible(tables)]
    findings += [TableFinding("T1", note, serious=False) for note in losses.notes]
    findings += _sampled_structures(refused, sampled, losses, own) if sampled else []
    problems = [TableFinding("T1", text, serious=True, stops=True) for text in losses.problems(own)]
    findings += [
        *problems,
        *(TableFinding("T1", text, serious=False) for text in (losses.advice() if problems else ())),
    ]
    assays, structures_read = tables.assays.accepted, tables.structures.accepted
    findings += _check_unit(assays, activities, own.unit)
    findings += _remark("T0", _unmeasured(assays, activities, "input_assay_id"), "of assays without an activity in T1")
    findings += _remark(
        "T2", _unmeasured(structures_read, activities, "input_compound_id"), "of compounds without an activity in T1"
    )
    folding = compounds.folding if compounds and not sampled else None
    expected = forecast(tables.settled, values.accepted, settings, folding)
    findings = [*earlier, *findings]
    if not any(finding.stops for finding in findings):  # else tasks lack what the tables lose
        findings += _check_tasks(expected)
    return TableCheck(findings, losses, None if any(finding.stops for finding in findings) else expected)


def _check_unit(assays: pl.DataFrame, activities: pl.DataFrame, unit: str) -> list[TableFinding]:
    """Return a remark about rows without a unit that do not have the molar unit of the configuration."""
    default = unit_named(unit)
    if default is None or default.scale != "molar":
        return []
    others = assays.filter(~pl.col("assay_type").is_in(DOSE_TYPES), ~pl.col("is_binary"))
    without = activities.filter(pl.col("unit") == UNSTATED)
    text = f"without standard_unit in assays that [data] unit = {unit} does not convert (not {', '.join(DOSE_TYPES)})"
    return _remark("T1", _of_assays(without, others), text)


def _of_assays(activities: pl.DataFrame, assays: pl.DataFrame) -> pl.DataFrame:
    ids = assays["input_assay_id"].cast(pl.String).unique()
    return activities.filter(pl.col("input_assay_id").cast(pl.String).is_in(ids.implode()))


def _check_tasks(expected: Forecast) -> list[TableFinding]:
    """Return a finding that stops if no task is trained, and what to do."""
    if not expected.problem:
        return []
    return [
        TableFinding("T1", expected.problem, serious=True, stops=True),
        TableFinding("T1", TASK_ADVICE, serious=False),
    ]


def _compounds(
    table: pl.DataFrame, structures: "StructureCheck | None", settings: Preparation
) -> "tuple[Compounds | None, int]":
    """Return the compounds of all structures, or of an even sample and its number of rows."""
    if structures is None:
        return None, 0
    if structures.sample is None or structures.sample >= table.height:
        return structures.compounds(table, settings), 0
    chosen = np.linspace(0, table.height - 1, structures.sample).round().astype(np.int64)
    return structures.compounds(table[chosen], settings), structures.sample


def _implausible(tables: InputTables) -> list[str]:
    return implausible_notes(tables.plausible.implausible, tables.plausible.likely_unit)


def _sampled_structures(refused: pl.DataFrame, n_sampled: int, losses: Losses, own: OwnTables) -> list[TableFinding]:
    """Return findings about refused structures of the sample, and one that stops if surely too many are refused."""
    findings = [TableFinding(f.table, f"of a sample of {n_sampled}: {f.text}", f.serious) for f in _rejections(refused)]
    share = refused.height / n_sampled
    surely = share - 2 * (share * (1 - share) / n_sampled) ** 0.5  # two standard errors of a binomial share
    if losses.share <= own.most_rejected < losses.share + (1 - losses.share) * surely:
        text = f"{100 * share:g} % of a sample of {n_sampled} structures are rejected, with their rows of T1"
        findings.append(TableFinding("T2", text, serious=True, stops=True))
        findings.append(TableFinding("T2", STRUCTURE_ADVICE, serious=False))
    return findings


def _unmeasured(rows: pl.DataFrame, activities: pl.DataFrame, name: str) -> pl.DataFrame:
    measured = activities.select(pl.col(name).unique().cast(pl.String))
    return rows.with_columns(pl.col(name).cast(pl.String)).join(measured, on=name, how="anti")


def _unknown_words(table: str, read: Table) -> list[TableFinding]:
    """Return the unknown words of each column, with the allowed ones."""
    unknown = {column: read.unknown_words(reason) for reason, column in COLUMN_OF_REASON.items()}
    texts = (f"{column}: {expected_words(words, words_of(column))}" for column, words in unknown.items() if words)
    return [TableFinding(table, text, serious=True) for text in texts]


def _rejections(rejected: pl.DataFrame) -> list[TableFinding]:
    groups = rejected.sort("input_row").group_by("table", "reason", maintain_order=True)
    return [f for (table, reason), rows in groups for f in _finding(str(table), rows, f"rejected: {reason}")]


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
