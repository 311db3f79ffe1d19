"""The counts in summary.json; for the partner alone, since they show how much data of each kind it has."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

Counts = dict[str, int]


def classification_summary(tasks: pl.DataFrame, candidates: pl.DataFrame, y: sparse.csr_matrix) -> dict[str, Any]:
    """Return the numbers of trained tasks and labels, in total and by assay type, and of thresholds by method.

    tasks : the trained ones, by `task_id`; candidates : all tasks to which apply_quorum was applied
    """
    return {
        "tasks": tasks.height,
        "candidates": candidates.height,
        "evaluated": int(tasks["evaluated"].sum()),
        "auxiliary": int(tasks["is_auxiliary"].sum()),
        "catalogue": int(tasks["catalog_assay_id"].is_not_null().sum()),
        "labels": {"all": int(y.nnz), "active": int((y.data > 0).sum()), "inactive": int((y.data < 0).sum())},
        "thresholds": _numbers(tasks.group_by("threshold_method").agg(pl.len().alias("tasks"))),
        "by_type": _by_type(
            tasks, pl.col("n_active").sum().alias("active"), pl.col("n_inactive").sum().alias("inactive")
        ),
    }


def regression_summary(tasks: pl.DataFrame, candidates: pl.DataFrame) -> dict[str, Any]:
    """Return the numbers of trained regression tasks and values, in total and by assay type.

    tasks : the trained ones, by `task_id`; candidates : all assays for regression, trained or not
    """
    n_values, n_exact = int(tasks["n_values"].sum()), int(tasks["n_exact"].sum())
    return {
        "tasks": tasks.height,
        "candidates": candidates.height,
        "evaluated": int(tasks["evaluated"].sum()),
        "auxiliary": int(tasks["is_auxiliary"].sum()),
        "values": n_values,
        "exact": n_exact,
        "censored_share": round(1 - n_exact / n_values, 4) if n_values else 0.0,
        "by_type": _by_type(tasks, pl.col("n_values").sum().alias("values"), pl.col("n_exact").sum().alias("exact")),
    }


def assay_summary(assays: pl.DataFrame) -> dict[str, Any]:
    """Return how many assays are accepted, have values, give tasks, are near-constant or have a catalogue note.

    assays : assay_report's rows
    """
    notes = assays.drop_nulls("catalog_note").group_by("catalog_note").agg(pl.len().alias("assays"))
    return {
        "all": assays.height,
        "measured": int((assays["n_values"] > 0).sum()),
        "with_tasks": int((assays["n_tasks"] > 0).sum()),
        "in_regression": int(assays["in_regression"].sum()),
        "near_constant": int(assays["near_constant"].sum()),
        "catalogue_notes": _numbers(notes),
        "values": int(assays["n_values"].sum()),
    }


def fold_summary(
    folding: NDArray[np.int64],
    balance: list[dict[str, int | float]],
    y: sparse.csr_matrix,
    y_regr: sparse.csr_matrix,
) -> list[dict[str, int | float]]:
    """Return fold_balance's rows (data_prep.folds.folds) with each fold's numbers of labels and regression values."""
    stored = {"labels": np.diff(y.indptr), "values": np.diff(y_regr.indptr)}
    per_fold = {name: np.bincount(folding, weights=n, minlength=len(balance)) for name, n in stored.items()}
    return [row | {name: int(n[fold]) for name, n in per_fold.items()} for fold, row in enumerate(balance)]


def table_summary(n_rows: Counts, rejected: pl.DataFrame) -> dict[str, Any]:
    """Return for each input table its numbers of rows, of accepted rows and of rejected rows by reason."""
    reasons: dict[str, Counts] = {name: {} for name in n_rows}
    for table, reason, n in rejected.group_by("table", "reason").len().sort("table", "reason").iter_rows():
        reasons[table][reason] = n
    return {
        name: {"rows": n, "accepted": n - sum(reasons[name].values()), "rejected": reasons[name]}
        for name, n in n_rows.items()
    }


def _by_type(tasks: pl.DataFrame, *sums: pl.Expr) -> dict[str, Counts]:
    counts = (pl.len().alias("tasks"), pl.col("evaluated").sum(), *sums)
    groups = tasks.group_by("assay_type").agg(counts).sort("assay_type").to_dicts()
    return {group.pop("assay_type"): {key: int(n) for key, n in group.items()} for group in groups}


def _numbers(groups: pl.DataFrame) -> Counts:
    return dict(groups.sort(groups.columns[0]).iter_rows())
