"""Reliability curves: observed shares or values by prediction, pooled over tasks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.scores.by_task import Counts, Floats
from partners.scores.calibration import N_BINS


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Points of a reliability curve: entries grouped by their prediction, without empty groups."""

    predicted: Floats  # (n_bins,) mean prediction
    observed: Floats  # (n_bins,) share of actives, or mean of the measured values
    n_entries: Counts  # (n_bins,)
    n_tasks: Counts  # (n_bins,) distinct tasks among them

    def to_json(self) -> list[dict[str, float]]:
        """One JSON object per bin, in the order of the predictions."""
        columns = (self.predicted, self.observed, self.n_entries, self.n_tasks)
        names = ("predicted", "observed", "n_entries", "n_tasks")
        return [dict(zip(names, row, strict=True)) for row in zip(*(c.tolist() for c in columns), strict=True)]


def of_probabilities(task: NDArray[np.integer], active: NDArray[np.bool_], probability: Floats) -> Reliability:
    """Curve of probabilities in bins (low, high] of equal width, as in the expected calibration error.

    A probability of 0 counts in the lowest bin.
    task, active, probability : (n_labels,)
    """
    edges = np.linspace(0, 1, N_BINS + 1)
    bin_no = np.clip(np.searchsorted(edges, probability, side="left") - 1, 0, N_BINS - 1)
    return _grouped(bin_no, task, active.astype(np.float64), probability)


def of_values(task: NDArray[np.integer], measured: Floats, predicted: Floats) -> Reliability:
    """Curve of values in ten groups of equal size, from the lowest to the highest prediction.

    task, measured, predicted : (n_values,), on a scale that tasks have in common
    """
    order = np.argsort(predicted, kind="stable")
    bin_no = np.empty(order.size, dtype=np.int64)
    bin_no[order] = np.arange(order.size) * N_BINS // max(order.size, 1)
    return _grouped(bin_no, task, measured, predicted)


def _grouped(
    bin_no: NDArray[np.integer], task: NDArray[np.integer], observed: Floats, predicted: Floats
) -> Reliability:
    count = np.bincount(bin_no, minlength=N_BINS)
    pairs = np.unique(np.stack([bin_no, task.astype(np.int64)]), axis=1)
    n_tasks = np.bincount(pairs[0], minlength=N_BINS)
    filled = count > 0
    sums = (np.bincount(bin_no, weights=each, minlength=N_BINS)[filled] for each in (predicted, observed))
    mean_predicted, mean_observed = (total / count[filled] for total in sums)
    return Reliability(mean_predicted, mean_observed, count[filled].astype(np.int64), n_tasks[filled].astype(np.int64))
