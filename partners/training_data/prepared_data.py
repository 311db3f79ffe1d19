"""Prepared matrices as a training set."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prepared import Prepared, RegressionTask, Task
from data_prep.settings import Folds
from partners.settings import Training
from partners.training_data.training_set import TrainingSet

_NONE = np.empty(0, dtype=np.int64)


def training_set(
    prepared: Prepared, folds: Folds, training: Training, left_out: NDArray[np.int64] = _NONE
) -> TrainingSet:
    """Make a training set of a partner's prepared matrices; regression only if the partner gives it a weight.

    left_out : rows of compounds that lose all labels and values, and so are trained on by no model
    Raises what TrainingSet raises for matrices that do not fit together.
    """
    tasks, regression_tasks = prepared.tasks, prepared.regression_tasks
    regression: dict[str, Any] = {}
    if training.regression_weight > 0:
        regression = {
            "y_regr": _without(prepared.y_regr, left_out),
            "y_censor": _without(prepared.y_censor, left_out),
            "regr_weight": _weights(task.training_weight for task in regression_tasks),
            "censored_weight": _weights(task.censored_weight for task in regression_tasks),
            "regr_aggregation_weight": _aggregation_weights(regression_tasks),
        }
    return TrainingSet(
        x=prepared.x,
        y=_without(prepared.y, left_out),
        folding=prepared.folding,
        training_weight=_weights(task.training_weight for task in tasks),
        aggregation_weight=_aggregation_weights(tasks),
        test_fold=folds.test,
        validation_fold=folds.validation,
        **regression,
    )


def _without(matrix: sparse.csr_matrix, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    """The matrix with nothing stored in some rows."""
    if not rows.size:
        return matrix
    n_stored = np.diff(matrix.indptr)
    kept = np.repeat(~np.isin(np.arange(matrix.shape[0]), rows), n_stored)
    n_stored[rows] = 0
    starts = np.concatenate([[0], np.cumsum(n_stored)])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _aggregation_weights(tasks: Sequence[Task] | Sequence[RegressionTask]) -> NDArray[np.float32]:
    """Weight of each task in means: the prepared weights, or if all are 0, equal weights of the tasks not auxiliary."""
    weights = _weights(task.aggregation_weight for task in tasks)
    return weights if weights.any() else _weights(not task.is_auxiliary for task in tasks)


def _weights(values: Iterable[float]) -> NDArray[np.float32]:
    return np.fromiter(values, dtype=np.float32)
