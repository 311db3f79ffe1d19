"""AUC-ROC and average precision of every task at once, in numpy; equal to scikit-learn's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadLengths, BadPredictions

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TaskScores:
    """One value per task; NaN where the task has too few compounds of a class to be judged."""

    roc_auc: Floats  # (n_tasks,)
    average_precision: Floats  # (n_tasks,)
    n_active: Counts  # (n_tasks,) labels +1
    n_inactive: Counts  # (n_tasks,) labels -1

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which tasks were judged."""
        return ~np.isnan(self.roc_auc)


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Means over the judged tasks, every task alike; NaN when there are none."""

    roc_auc: float
    average_precision: float
    n_scored: int
    n_unscored: int  # tasks without enough compounds of both classes


def score_tasks(y: sparse.csr_matrix, probabilities: NDArray[np.floating], min_per_class: int = 1) -> TaskScores:
    """Score every task on its observed labels.

    y             : (n_compounds, n_tasks) sparse, stored +1 and -1
    probabilities : (n_compounds, n_tasks); only the order within a task matters
    min_per_class : a task with fewer actives or fewer inactives gets NaN
    Ties count as scikit-learn counts them. Raises BadLengths or BadPredictions (NaN).
    """
    if y.shape != probabilities.shape:
        raise BadLengths(
            f"scores: found probabilities of shape {probabilities.shape}, expected {y.shape} as the labels"
        )
    labels = y.tocoo()
    score = probabilities[labels.row, labels.col].astype(np.float64)
    if np.isnan(score).any():
        raise BadPredictions(f"scores: {np.isnan(score).sum()} probabilities are NaN, expected numbers")
    order = np.lexsort((-score, labels.col))  # by task, best score first
    task, active = labels.col[order].astype(np.int64), labels.data[order] > 0
    n_tasks = int(y.shape[1])
    n_active = np.bincount(task, weights=active, minlength=n_tasks).astype(np.int64)
    n_inactive = np.bincount(task, minlength=n_tasks) - n_active
    roc_auc, precision = _areas(task, score[order], active, n_active, n_inactive)
    unfit = np.minimum(n_active, n_inactive) < max(min_per_class, 1)
    roc_auc[unfit] = precision[unfit] = np.nan
    return TaskScores(roc_auc, precision, n_active, n_inactive)


def _areas(
    task: Counts, score: Floats, active: NDArray[np.bool_], n_active: Counts, n_inactive: Counts
) -> tuple[Floats, Floats]:
    """Both areas from labels sorted by (task, falling score): one step per group of equal scores."""
    ends = np.flatnonzero(np.append((np.diff(task) != 0) | (np.diff(score) != 0), True)) if task.size else task
    group_task = task[ends]
    hits, tries = np.cumsum(active)[ends], ends + 1  # running over all tasks
    first = np.cumsum(n_active + n_inactive) - (n_active + n_inactive)  # labels before each task
    hits_before = np.cumsum(n_active) - n_active
    true_pos = (hits - hits_before[group_task]).astype(np.float64)
    all_pos = (tries - first[group_task]).astype(np.float64)
    false_pos = all_pos - true_pos
    is_first = np.append(True, np.diff(group_task) != 0)[: ends.size]
    rise_true, rise_false = _rises(true_pos, is_first), _rises(false_pos, is_first)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 in tasks that get NaN anyway
        roc = _sum_by(group_task, rise_false * (true_pos - rise_true / 2), n_active) / (n_active * n_inactive)
        precision = _sum_by(group_task, rise_true * true_pos / all_pos, n_active) / n_active
    return roc, precision


def _rises(running: Floats, is_first: NDArray[np.bool_]) -> Floats:
    before = np.where(is_first, 0.0, np.append(0.0, running)[: running.size])
    return running - before


def _sum_by(task: Counts, value: Floats, like: Counts) -> Floats:
    return np.bincount(task, weights=value, minlength=like.size).astype(np.float64)


def mean_scores(scores: TaskScores) -> MeanScores:
    """Mean over the tasks that were judged."""
    scored = scores.scored
    n_scored = int(scored.sum())
    if n_scored == 0:
        return MeanScores(float("nan"), float("nan"), 0, scored.size)
    return MeanScores(
        roc_auc=float(scores.roc_auc[scored].mean()),
        average_precision=float(scores.average_precision[scored].mean()),
        n_scored=n_scored,
        n_unscored=scored.size - n_scored,
    )
