"""Everything that is wrong with a partner's tables, said at once and before any expensive step."""

from pathlib import Path

import polars as pl

from data_prep.activities import credible
from data_prep.errors import TableError
from data_prep.settings import Preparation
from data_prep.tables import Table, read_activities, read_assays, read_structures

_SHOWN_ROWS = 5
_SUSPICIOUS_VALUE = 15.0  # log units; no measured pXC50 is as large, nM values are
_READERS = {"T0": read_assays, "T1": read_activities, "T2": read_structures}


def check(t0: Path, t1: Path, t2: Path, settings: Preparation) -> list[str]:
    """Return one sentence per problem, with the table, how many rows and the first of them; empty: nothing found.

    Structures are not parsed. Unreadable files are problems too, no exception is raised for them.
    """
    tables: dict[str, Table] = {}
    problems: list[str] = []
    for (name, read), path in zip(_READERS.items(), (t0, t1, t2), strict=True):
        try:
            tables[name] = read(path)
        except TableError as error:
            problems.append(f"{name}: {error}")
    for table in tables.values():
        problems += _rejections(table.rejected)
    if len(tables) == len(_READERS):
        problems += _across(tables["T0"].accepted, tables["T1"].accepted, tables["T2"].accepted, settings)
    return problems


def _across(
    assays: pl.DataFrame, activities: pl.DataFrame, structures: pl.DataFrame, settings: Preparation
) -> list[str]:
    known = structures.select("input_compound_id").unique().with_columns(pl.lit(0, pl.UInt32).alias("row"))
    measured = activities.join(known, on="input_compound_id", how="left", maintain_order="left")
    problems = _rejections(credible(assays, measured, settings.activities).rejected)
    too_large = activities.filter(pl.col("standard_value") > _SUSPICIOUS_VALUE)
    if too_large.height:
        problems.append(f"T1: {_rows(too_large)} above {_SUSPICIOUS_VALUE:g}: log units are expected, not nM or %")
    idle = assays.join(activities, on="input_assay_id", how="anti")
    if idle.height:
        problems.append(f"T0: {_rows(idle)} of assays without an activity in T1")
    if activities.is_empty():
        problems.append("T1: no row with an activity, so there will be no task")
    several = structures.filter(pl.struct("smiles").n_unique().over("input_compound_id") > 1)
    if several.height:
        problems.append(f"T2: {_rows(several)} of compounds that appear with several SMILES")
    return problems


def _rejections(rejected: pl.DataFrame) -> list[str]:
    groups = rejected.sort("input_row").group_by("table", "reason", maintain_order=True)
    return [f"{table}: {_rows(rows)} rejected: {reason}" for (table, reason), rows in groups]


def _rows(rows: pl.DataFrame) -> str:
    first = ", ".join(str(n) for n in rows["input_row"].sort().head(_SHOWN_ROWS))
    more = ", ..." if rows.height > _SHOWN_ROWS else ""
    return f"{rows.height} row{'s' if rows.height > 1 else ''} ({first}{more})"
