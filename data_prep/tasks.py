"""Which candidate tasks have labels enough to be trained and scored, and how much each weighs."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.settings import Activities

_LABEL_OF = {"n_active": 1, "n_inactive": -1}


def judge_tasks(
    candidates: pl.DataFrame, labels: pl.DataFrame, folding: NDArray[np.int64], n_folds: int, settings: Activities
) -> pl.DataFrame:
    """Return the candidates with label counts, quorums and weights.

    New columns: `n_active`, `n_inactive`, `min_fold_active`, `min_fold_inactive` (an absent fold counts 0),
    `training_quorum`, `evaluated`, `training_weight` (1, or less for AUX types, shared out over the trained tasks of
    an assay; 0 for a task that is not trained), `aggregation_weight` (1 when evaluated and not auxiliary, else 0)
    and `task_id` (0, 1, ... for trained tasks, else null).
    """
    judged = candidates.with_columns(_counts(candidates.height, labels, folding, n_folds))
    auxiliary_type = pl.col("assay_type").str.starts_with("AUX")
    min_active = pl.when(auxiliary_type).then(settings.aux_training_min_active).otherwise(settings.training_min_active)
    min_inactive = (
        pl.when(auxiliary_type).then(settings.aux_training_min_inactive).otherwise(settings.training_min_inactive)
    )
    trained = (pl.col("n_active") >= min_active) & (pl.col("n_inactive") >= min_inactive)
    scored = (pl.col("min_fold_active") >= settings.evaluation_min_active) & (
        pl.col("min_fold_inactive") >= settings.evaluation_min_inactive
    )
    judged = judged.with_columns(trained.alias("training_quorum"), (trained & scored).alias("evaluated"))
    assay_weight = pl.when(auxiliary_type).then(settings.aux_training_weight).otherwise(1.0)
    n_trained = pl.col("training_quorum").sum().over("input_assay_id")
    quorum = pl.col("training_quorum")
    return judged.with_columns(
        pl.when(quorum).then(assay_weight / n_trained).otherwise(0.0).alias("training_weight"),
        (pl.col("evaluated") & ~pl.col("is_auxiliary")).cast(pl.Float64).alias("aggregation_weight"),
        pl.when(quorum).then(quorum.cum_sum().cast(pl.Int64) - 1).alias("task_id"),
    )


def assay_report(assays: pl.DataFrame, values: pl.DataFrame, tasks: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return for every accepted assay how many values and tasks it gives and whether its values are near-constant."""
    spread = values.group_by("input_assay_id").agg(
        pl.len().cast(pl.Int64).alias("n_values"), pl.col("standard_value").std().fill_null(0.0).alias("std")
    )
    given = tasks.group_by("input_assay_id").agg(
        pl.len().cast(pl.Int64).alias("n_candidates"), pl.col("training_quorum").sum().cast(pl.Int64).alias("n_tasks")
    )
    report = assays.unique("input_assay_id").select("input_assay_id", "assay_type").sort("input_assay_id")
    report = report.join(spread, on="input_assay_id", how="left").join(given, on="input_assay_id", how="left")
    counts = [pl.col(name).fill_null(0) for name in ("n_values", "n_candidates", "n_tasks")]
    near_constant = (pl.col("std") <= settings.near_constant_std).fill_null(value=False)
    return report.with_columns(*counts, near_constant.alias("near_constant")).sort("input_assay_id")


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
