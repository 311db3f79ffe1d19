"""Weighted means of a metric over tasks, with the number of tasks without a value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.errors import BadLengths, BadWeights


@dataclass(frozen=True, slots=True)
class TaskMean:
    """Weighted mean of one metric over the tasks that have a value; NaN if none has."""

    value: float
    n_scored: int  # tasks of weight above 0 with a value
    n_unscored: int  # tasks of weight above 0 whose metric is NaN


def mean_over_tasks(values: NDArray[np.floating], aggregation_weight: NDArray[np.floating] | None = None) -> TaskMean:
    """Mean of `values` (n_tasks,), each task with its weight (n_tasks,); None: all weights are equal.

    As in SparseChem, the weights of tasks without a value are left out of the mean; here they are counted too.
    Raises BadLengths or BadWeights.
    """
    weight = np.ones(values.size) if aggregation_weight is None else np.asarray(aggregation_weight, dtype=np.float64)
    if weight.shape != values.shape:
        raise BadLengths(f"aggregation_weight: found shape {weight.shape}, expected {values.shape}, one for each task")
    wrong = np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))
    if wrong.size:
        raise BadWeights(
            f"aggregation_weight: found {weight[wrong[0]]} for task {wrong[0]}, expected a number of at least 0"
        )
    counted = weight > 0
    scored = counted & ~np.isnan(values)
    n_scored = int(scored.sum())
    value = float(np.average(values[scored], weights=weight[scored])) if n_scored else float("nan")
    return TaskMean(value, n_scored, int(counted.sum()) - n_scored)
