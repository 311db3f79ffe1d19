"""Prepared matrices as a training set."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared, RegressionTask, Task
from data_prep.settings import Folds
from partners.settings import Training
from partners.training_data.training_set import TrainingSet


def training_set(prepared: Prepared, folds: Folds, training: Training) -> TrainingSet:
    """Make a training set of a partner's prepared matrices; regression only if the partner gives it a weight.

    Raises what TrainingSet raises for matrices that do not fit together.
    """
    tasks, regression_tasks = prepared.tasks, prepared.regression_tasks
    regression: dict[str, Any] = {}
    if training.regression_weight > 0:
        regression = {
            "y_regr": prepared.y_regr,
            "y_censor": prepared.y_censor,
            "regr_weight": _weights(task.training_weight for task in regression_tasks),
            "censored_weight": _weights(task.censored_weight for task in regression_tasks),
            "regr_aggregation_weight": _aggregation_weights(regression_tasks),
        }
    return TrainingSet(
        x=prepared.x,
        y=prepared.y,
        folding=prepared.folding,
        training_weight=_weights(task.training_weight for task in tasks),
        aggregation_weight=_aggregation_weights(tasks),
        test_fold=folds.test,
        validation_fold=folds.validation,
        **regression,
    )


def _aggregation_weights(tasks: Sequence[Task] | Sequence[RegressionTask]) -> NDArray[np.float32]:
    """Weight of each task in means: the prepared weights, or if all are 0, equal weights of the tasks not auxiliary."""
    weights = _weights(task.aggregation_weight for task in tasks)
    return weights if weights.any() else _weights(not task.is_auxiliary for task in tasks)


def _weights(values: Iterable[float]) -> NDArray[np.float32]:
    return np.fromiter(values, dtype=np.float32)
