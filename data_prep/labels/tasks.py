"""Classification tasks: which have enough labels to be trained and scored, their weights, and their label matrix."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from data_prep.labels.catalogue import demote
from data_prep.labels.grouped_std import grouped_std
from data_prep.settings import Activities

_LABEL_OF = {"n_active": 1, "n_inactive": -1}
_AUXILIARY_TYPE = pl.col("assay_type").str.starts_with("AUX")
_OF_ASSAY = ("input_assay_id", "assay_type", "catalog_assay_id", "parent_assay_id", "catalog_note")


def apply_quorum(
    candidates: pl.DataFrame, labels: pl.DataFrame, folding: NDArray[np.int64], n_folds: int, settings: Activities
) -> pl.DataFrame:
    """Return the candidates with label counts, quorums and weights.

    New columns: `n_active`, `n_inactive`, `min_fold_active`, `min_fold_inactive` (an absent fold counts 0),
    `catalog_note` (see demote), `training_quorum`, `evaluated`, `training_weight` (1, or less for AUX types, divided
    among the trained tasks of an assay; 0 for a task that is not trained), `aggregation_weight` (1 when evaluated
    and not auxiliary, else 0) and `task_id` (0, 1, ... for trained tasks, else null).
    """
    tasks = demote(candidates.with_columns(_counts(candidates.height, labels, folding, n_folds)), settings)
    trained = _training_quorum(settings)
    scored = (pl.col("min_fold_active") >= settings.evaluation_min_active) & (
        pl.col("min_fold_inactive") >= settings.evaluation_min_inactive
    )
    tasks = tasks.with_columns(trained.alias("training_quorum"), (trained & scored).alias("evaluated"))
    assay_weight = pl.when(_AUXILIARY_TYPE).then(settings.aux_training_weight).otherwise(1.0)
    n_trained = pl.col("training_quorum").sum().over("input_assay_id")
    quorum = pl.col("training_quorum")
    return tasks.with_columns(
        pl.when(quorum).then(assay_weight / n_trained).otherwise(0.0).alias("training_weight"),
        (pl.col("evaluated") & ~pl.col("is_auxiliary")).cast(pl.Float64).alias("aggregation_weight"),
        pl.when(quorum).then(quorum.cum_sum().cast(pl.Int64) - 1).alias("task_id"),
    )


def label_matrix(tasks: pl.DataFrame, labels: pl.DataFrame, n_compounds: int) -> sparse.csr_matrix:
    """Return the labels of the trained tasks, (n_compounds, n_tasks) float32: 1 active, -1 inactive, else none."""
    trained = tasks.drop_nulls("task_id").select("candidate", "task_id")
    kept = labels.join(trained, on="candidate")
    places = (kept["row"].to_numpy(), kept["task_id"].to_numpy())
    y = sparse.coo_matrix((kept["label"].to_numpy().astype(np.float32), places), shape=(n_compounds, trained.height))
    return sparse.csr_matrix(y)


def assay_report(
    assays: pl.DataFrame, values: pl.DataFrame, tasks: pl.DataFrame, regression: pl.DataFrame, settings: Activities
) -> pl.DataFrame:
    """Return the counts of values and tasks of every accepted assay, and notes on it.

    Columns: `input_assay_id`, `assay_type`, `catalog_assay_id`, `parent_assay_id`, `n_values`, `std` (of the values,
    with any qualifier; null without values), `n_candidates`, `n_tasks`, `in_regression` (a trained task),
    `near_constant` (nearly equal values; reported, not dropped), `catalog_note` (null, or the note of
    settle_catalogue, or `failed_quorum` when a task that is not auxiliary lost its catalogue id).
    """
    report = assays.unique("input_assay_id").sort("input_assay_id").select(_OF_ASSAY)
    task_counts = tasks.group_by("input_assay_id").agg(
        pl.len().cast(pl.Int64).alias("n_candidates"),
        pl.col("training_quorum").sum().cast(pl.Int64).alias("n_tasks"),
        pl.col("catalog_note").filter(~pl.col("is_auxiliary")).drop_nulls().first().alias("of_tasks"),
    )
    trained = regression.filter("training_quorum").select("input_assay_id", pl.lit(value=True).alias("in_regression"))
    for part in (_spread_of(report, values), task_counts, trained):
        report = report.join(part, on="input_assay_id", how="left", maintain_order="left")
    return report.select(
        *_OF_ASSAY[:4], pl.col("n_values").fill_null(0), "std", pl.col("n_candidates", "n_tasks").fill_null(0),
        pl.col("in_regression").fill_null(value=False),
        (pl.col("std") <= settings.near_constant_std).fill_null(value=False).alias("near_constant"),
        pl.coalesce("catalog_note", "of_tasks").alias("catalog_note"),
    )  # fmt: skip


def _training_quorum(settings: Activities) -> pl.Expr:
    """Return which tasks have enough labels to be trained; a task that kept its catalogue id has."""
    least = {
        "n_active": (settings.aux_training_min_active, settings.training_min_active),
        "n_inactive": (settings.aux_training_min_inactive, settings.training_min_inactive),
    }
    enough = [
        pl.col(count) >= pl.when(_AUXILIARY_TYPE).then(auxiliary).otherwise(other)
        for count, (auxiliary, other) in least.items()
    ]
    return pl.col("catalog_assay_id").is_not_null() | pl.all_horizontal(enough)


def _spread_of(report: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    number = report.select("input_assay_id").with_row_index("assay")
    assay = values.select("input_assay_id").join(number, on="input_assay_id", maintain_order="left")["assay"]
    counts, std = grouped_std(assay.to_numpy().astype(np.int64), values["standard_value"].to_numpy(), number.height)
    spread = number.select("input_assay_id", pl.Series("n_values", counts), pl.Series("std", std))
    return spread.filter(pl.col("n_values") > 0)


def _counts(n_candidates: int, labels: pl.DataFrame, folding: NDArray[np.int64], n_folds: int) -> list[pl.Series]:
    cell = labels["candidate"].to_numpy().astype(np.int64) * n_folds + folding[labels["row"].to_numpy()]
    columns = []
    for name, value in _LABEL_OF.items():
        per_fold = np.bincount(cell[labels["label"].to_numpy() == value], minlength=n_candidates * n_folds)
        per_fold = per_fold.reshape(n_candidates, n_folds).astype(np.int64)
        columns += [
            pl.Series(name, per_fold.sum(axis=1)),
            pl.Series(name.replace("n_", "min_fold_"), per_fold.min(axis=1)),
        ]
    return columns
