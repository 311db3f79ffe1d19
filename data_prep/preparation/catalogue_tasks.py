"""A partner's tasks that could be in a catalogue, from its tables alone: no plan, key or structure is needed."""

from pathlib import Path

import polars as pl

from data_prep.labels.activities import credible
from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.plausibility import plausible
from data_prep.labels.replicates import aggregate
from data_prep.labels.thresholds import candidate_tasks, label_all
from data_prep.settings import OwnTables, Preparation
from data_prep.tables.tables import Table, read_activities, read_assays, read_structures

_ANY_TABLES = OwnTables()


def catalogue_tasks(
    t0: Path, t1: Path, t2: Path, settings: Preparation, own: OwnTables = _ANY_TABLES
) -> list[tuple[str, float]]:
    """`catalog_assay_id` and threshold of each task that has an id and labels enough to be held, sorted.

    The tasks are those of `prepare` but for what needs structures: a structure with two ids counts twice, a refused one
    too, and a task may still lack labels in a fold. Raises TableError.
    """
    structures, assays = read_structures(t2, own.columns), read_assays(t0, own.columns)
    activities = read_activities(t1, own.columns)
    named = settle_catalogue(assays.accepted).filter(pl.col("catalog_assay_id").is_not_null())
    ids = structures.accepted.select(pl.col("input_compound_id").cast(pl.Categorical))
    rows = ids.unique(maintain_order=True).with_row_index("row")
    of_named = pl.col("input_assay_id").cast(pl.String).is_in(named["input_assay_id"].cast(pl.String).implode())
    of_catalogue = Table(activities.accepted.filter(of_named), activities.rejected)
    activities_on_scale = plausible(named, of_catalogue, settings.activities, own).accepted
    measured = activities_on_scale.join(rows, on="input_compound_id", maintain_order="left")
    values = aggregate(credible(named, measured, settings.activities).accepted, settings.activities).accepted
    candidates = candidate_tasks(named, values, settings.activities)
    n_labels = label_all(candidates, values).group_by("candidate").len("n_labels")
    enough = pl.col("n_labels") >= settings.activities.catalogue_min_labels
    tasks = candidates.join(n_labels, on="candidate").filter(enough, ~pl.col("is_auxiliary"))
    return sorted(zip(tasks["catalog_assay_id"].to_list(), tasks["threshold"].to_list(), strict=True))
