"""Calibration of predicted probabilities by task: log loss, Brier score, expected calibration error.

Each takes flat arrays, one entry per label, in any order: task (n_labels,), active (n_labels,) and the logit or
probability (n_labels,), and returns (n_tasks,), NaN for a task without labels.
"""

import numpy as np

from partners.scores.by_task import Counts, Flags, Floats, count_by_task, sum_by_task

N_BINS = 10  # of equal width, as SparseChem's


def log_loss(task: Counts, active: Flags, logit: Floats, n_tasks: int) -> Floats:
    """Mean of -ln(probability of the measured class), in nats; from logits, so that it never overflows."""
    return _mean(task, np.logaddexp(0.0, np.where(active, -logit, logit)), n_tasks)


def brier(task: Counts, active: Flags, probability: Floats, n_tasks: int) -> Floats:
    """Mean squared difference between the probability and 1 for actives, 0 for inactives."""
    return _mean(task, (probability - active) ** 2, n_tasks)


def expected_calibration_error(
    task: Counts, active: Flags, probability: Floats, n_tasks: int, n_bins: int = N_BINS
) -> Floats:
    """Mean distance between the probability and the share of actives, in bins (low, high] of equal width.

    Bins are weighted by their labels (Nixon et al., 2019). A probability of exactly 0 counts in the lowest bin.
    """
    edges = np.linspace(0, 1, n_bins + 1)
    bin_no = np.maximum(np.searchsorted(edges, probability, side="left") - 1, 0)
    gap = sum_by_task(task * n_bins + bin_no, probability - active, n_tasks * n_bins)
    total: Floats = np.abs(gap).reshape(n_tasks, n_bins).sum(axis=1)
    return total / count_by_task(task, n_tasks)


def _mean(task: Counts, value: Floats, n_tasks: int) -> Floats:
    return sum_by_task(task, value, n_tasks) / count_by_task(task, n_tasks)
