"""Facts about a partner's data for MLflow: names, a digest and counts; no row, structure or label."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partners.training_data.training_set import TrainingSet


def dataset_facts(member: str, data: TrainingSet) -> list[dict[str, Any]]:
    """One entry for the training folds, the validation fold and the test fold: name, context, digest, counts.

    The digest changes with anything in the set; equal digests are equal data.
    """
    whole = data.digest()
    folds = {
        "training": data.training_rows,
        "validation": data.rows_of(data.validation_fold),
        "test": data.rows_of(data.test_fold),
    }
    return [
        {
            "name": f"{member}, {context} fold{'s' if context == 'training' else ''}",
            "context": context,
            "digest": hashlib.sha256(f"{whole} {context}".encode()).hexdigest(),
            "counts": _counts(data, rows),
        }
        for context, rows in folds.items()
    ]


def _counts(data: TrainingSet, rows: NDArray[np.int64]) -> dict[str, int]:
    labels, marks = data.y[rows].data, data.y_censor[rows].data
    counts = {
        "n_compounds": int(rows.size),
        "n_inputs": data.n_inputs,
        "n_tasks": data.n_tasks,
        "n_active": int((labels > 0).sum()),
        "n_inactive": int((labels < 0).sum()),
    }
    if data.n_regressions:
        exact = int((marks == 0).sum())
        counts |= {"n_regression_tasks": data.n_regressions, "n_exact": exact, "n_censored": int(marks.size) - exact}
    return counts
