"""Normalisation of regression values by each task's mean and standard deviation, and back to the original units."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.network.state import DEVIATION, MEAN, Arrays
from partners.training_data.training_set import TrainingSet

_LEAST_DEVIATION = 1e-6  # relative to the mean; a smaller deviation is rounding


def normalisation_of(training_set: TrainingSet, *, normalise: bool) -> Arrays:
    """Mean and standard deviation of every regression task over the training folds, censored values included.

    A task of equal values, or of fewer than two, has deviation 1, and one without values mean 0: all stays finite.
    Without `normalise` every mean is 0 and every deviation 1. Empty if there is no regression task.
    """
    n_tasks = training_set.n_regressions
    if n_tasks == 0:
        return {}
    mean, deviation = np.zeros(n_tasks), np.ones(n_tasks)
    if normalise:
        values = training_set.y_regr[training_set.training_rows]
        mean, deviation = _moments(values.indices, values.data.astype(np.float64), n_tasks)
    return {MEAN: mean.astype(np.float32), DEVIATION: deviation.astype(np.float32)}


def _moments(
    task: NDArray[np.int32], value: NDArray[np.float64], n_tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = np.maximum(np.bincount(task, minlength=n_tasks), 1)
    mean = np.bincount(task, weights=value, minlength=n_tasks) / count
    variance = np.bincount(task, weights=(value - mean[task]) ** 2, minlength=n_tasks) / count
    deviation = np.sqrt(variance)
    return mean, np.where(deviation > _LEAST_DEVIATION * np.maximum(np.abs(mean), 1), deviation, 1.0)


def normalised(values: sparse.csr_matrix, normalisation: Arrays) -> sparse.csr_matrix:
    """(value - mean) / deviation of every stored value, (n_compounds, n_regressions) with the same pattern."""
    if not normalisation:
        return values
    column = values.indices
    data = (values.data - normalisation[MEAN][column]) / normalisation[DEVIATION][column]
    return sparse.csr_matrix((data, values.indices, values.indptr), shape=values.shape)


def in_original_units(predicted: NDArray[np.float32], normalisation: Arrays) -> NDArray[np.float32]:
    """Predictions (n_compounds, n_regressions) of a head trained on normalised values, in the values' own units."""
    if not normalisation:
        return predicted
    return predicted * normalisation[DEVIATION] + normalisation[MEAN]
