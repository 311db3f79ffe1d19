"""Regression tasks: which assays have enough values, their weights, and their matrices of values and censoring.

The rules are MELLODDY-TUNER's, except that a fold without values counts as 0. A value is exact if its qualifier is
"=", else censored.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from data_prep.labels.grouped_std import grouped_std
from data_prep.settings import Preparation

_CENSOR = {"<": -1, "=": 0, ">": 1}


def regression_tasks(
    assays: pl.DataFrame, values: pl.DataFrame, folding: NDArray[np.int64], settings: Preparation
) -> pl.DataFrame:
    """Return every assay that has values and is used in regression, with counts, quorums and weights.

    Columns: `input_assay_id`, `parent_assay_id`, `assay_type` (CATALOG-PANEL counts as NON-CATALOG-PANEL),
    `is_auxiliary`, `n_values`, `n_exact`, `n_below`, `n_above`, `min_fold_exact`, `min_fold_std` (of exact values),
    `training_quorum`, `evaluated`, `training_weight` (0 for a task that is not trained), `aggregation_weight` (1 when
    evaluated and not auxiliary, else 0), `censored_weight` and `task_id` (0, 1, ... for trained tasks, else null).
    """
    used = assays.unique("input_assay_id").filter(pl.col("use_in_regression") & ~pl.col("is_binary"))
    auxiliary = pl.col("assay_type").str.starts_with("AUX")
    used = used if settings.activities.auxiliary_tasks else used.filter(~auxiliary)
    tasks = used.join(values, on="input_assay_id", how="semi").sort("input_assay_id").select(
        "input_assay_id", "parent_assay_id",
        pl.col("assay_type").replace("CATALOG-PANEL", "NON-CATALOG-PANEL"),
        auxiliary.alias("is_auxiliary"),
    )  # fmt: skip
    counted = tasks.with_columns(_counts(tasks, values, folding, settings.folds.n_folds))
    return _weighed(counted.with_columns(_quorums(settings)), settings)


def censored_weight(n_censored: pl.Expr, n_values: pl.Expr, share: float) -> pl.Expr:
    """Return the weight of a censored value such that all of them together weigh as much as a `share` of the values.

    f = n_censored / n_values, b = share: 1 if f <= b else b (1 - f) / (f (1 - b)).
    """
    fraction = n_censored / n_values
    return pl.when(fraction <= share).then(1.0).otherwise(share * (1 - fraction) / (fraction * (1 - share)))


def value_matrices(
    tasks: pl.DataFrame, values: pl.DataFrame, n_compounds: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return y_regr and y_censor of the trained tasks, (n_compounds, n_tasks) float32 each, with one pattern.

    y_censor is -1 if the value is an upper bound ("<"), 1 if it is a lower one, 0 if it is exact; zeros are
    stored in both, since 0.0 may have been measured.
    """
    trained = tasks.drop_nulls("task_id").select("input_assay_id", "task_id")
    kept = values.join(trained, on="input_assay_id").sort("row", "task_id")
    starts = np.cumsum(np.bincount(kept["row"].to_numpy() + 1, minlength=n_compounds + 1))
    shape, indices = (n_compounds, trained.height), kept["task_id"].to_numpy().astype(np.int32)
    censor = kept["standard_qualifier"].replace_strict(_CENSOR, return_dtype=pl.Float32)
    return tuple(  # type: ignore[return-value]  # two of them
        sparse.csr_matrix((data.to_numpy().astype(np.float32), indices.copy(), starts.astype(np.int32)), shape=shape)
        for data in (kept["standard_value"], censor)
    )


def _counts(tasks: pl.DataFrame, values: pl.DataFrame, folding: NDArray[np.int64], n_folds: int) -> list[pl.Series]:
    number = tasks.select("input_assay_id").with_row_index("task")
    rows = values.join(number, on="input_assay_id", maintain_order="left")
    qualifier, task = rows["standard_qualifier"], rows["task"].to_numpy().astype(np.int64)
    by_qualifier = {
        name: np.bincount(task[(qualifier == q).to_numpy()], minlength=tasks.height)
        for name, q in (("n_exact", "="), ("n_below", "<"), ("n_above", ">"))
    }
    exact = (qualifier == "=").to_numpy()
    cell = task[exact] * n_folds + folding[rows["row"].to_numpy()[exact]]
    per_fold = grouped_std(cell, rows["standard_value"].to_numpy()[exact], tasks.height * n_folds)
    counts, std = (of_cells.reshape(tasks.height, n_folds).min(axis=1) for of_cells in per_fold)
    totals = {"n_values": np.bincount(task, minlength=tasks.height), **by_qualifier}
    columns = {**totals, "min_fold_exact": counts, "min_fold_std": std}
    return [pl.Series(name, column) for name, column in columns.items()]


def _quorums(settings: Preparation) -> list[pl.Expr]:
    quorum = settings.regression
    trained = (pl.col("n_values") >= quorum.training_min_values) & (pl.col("n_exact") >= quorum.training_min_exact)
    spread_out = pl.when(pl.col("assay_type") == "ADME").then(
        pl.col("min_fold_std") > settings.activities.near_constant_std
    ).otherwise(pl.col("min_fold_std") >= quorum.evaluation_min_std)  # fmt: skip
    scored = (pl.col("min_fold_exact") >= quorum.evaluation_min_exact) & spread_out
    return [trained.alias("training_quorum"), (trained & scored).alias("evaluated")]


def _weighed(tasks: pl.DataFrame, settings: Preparation) -> pl.DataFrame:
    quorum = pl.col("training_quorum")
    weight = pl.when("is_auxiliary").then(settings.regression.aux_training_weight).otherwise(1.0)
    n_censored = pl.col("n_below") + pl.col("n_above")
    return tasks.with_columns(
        pl.when(quorum).then(weight).otherwise(0.0).alias("training_weight"),
        (pl.col("evaluated") & ~pl.col("is_auxiliary")).cast(pl.Float64).alias("aggregation_weight"),
        censored_weight(n_censored, pl.col("n_values"), settings.regression.censored_share).alias("censored_weight"),
        pl.when(quorum).then(quorum.cum_sum().cast(pl.Int64) - 1).alias("task_id"),
    )
