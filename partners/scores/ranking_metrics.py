"""Ranking metrics, from the order in which a task's scores put its compounds: areas, F1, kappa, BEDROC, hit rates.

All of them follow from the number of actives and inactives at or above each cut-off. A cut-off is a distinct score of
a task, so equal scores are never put in an order. A task of one class gives a value without meaning or NaN, and
numpy's warnings; `partners.scores.scores` ignores both.
"""

from dataclasses import dataclass

import numpy as np

from partners.scores.by_task import Counts, Flags, Floats, count_by_task, is_first, max_by_task, sum_by_task

MAX_PREVALENCE = 0.99  # SparseChem caps a task's share of actives there before it calibrates precision


@dataclass(frozen=True, slots=True, eq=False)
class Cutoffs:
    """Counts at every cut-off of every task, sorted by task, and within a task the best score first."""

    task: Counts  # (n_cutoffs,)
    true_pos: Floats  # (n_cutoffs,) actives of the task with this score or a better one
    false_pos: Floats  # (n_cutoffs,) inactives
    first: Flags  # (n_cutoffs,) whether it is its task's best score
    n_active: Counts  # (n_tasks,)
    n_inactive: Counts  # (n_tasks,)

    @property
    def n_tasks(self) -> int:
        """Number of tasks, those without labels included."""
        return int(self.n_active.size)

    @property
    def n_labels(self) -> Counts:
        """Number of labels of each task, (n_tasks,)."""
        return self.n_active + self.n_inactive

    def rise(self, running: Floats, start: float = 0.0) -> Floats:
        """Growth of a running value at each cut-off, from `start` before a task's first."""
        return running - self.before(running, start)

    def before(self, running: Floats, start: float = 0.0) -> Floats:
        """The running value at the cut-off before, `start` before a task's first."""
        return np.where(self.first, start, np.append(0.0, running)[: running.size])

    def total(self, value: Floats) -> Floats:
        """Sum over the cut-offs of each task, (n_tasks,)."""
        return sum_by_task(self.task, value, self.n_tasks)


def find_cutoffs(task: Counts, active: Flags, score: Floats, n_tasks: int) -> Cutoffs:
    """Sort labels once by task and falling score, and count at each distinct score.

    task, active, score : (n_labels,), in any order; scores are no NaN
    """
    order = np.lexsort((-score, task))
    task, active, score = task[order], active[order], score[order]
    n_labels = count_by_task(task, n_tasks)
    n_active = sum_by_task(task, active, n_tasks).astype(np.int64)
    last = np.append(is_first(task, score)[1:], True)[: task.size]
    position = np.flatnonzero(last)
    cutoff_task = task[position]
    labels_before, active_before = np.cumsum(n_labels) - n_labels, np.cumsum(n_active) - n_active
    true_pos = (np.cumsum(active)[position] - active_before[cutoff_task]).astype(np.float64)
    false_pos = (position + 1 - labels_before[cutoff_task]) - true_pos
    return Cutoffs(cutoff_task, true_pos, false_pos, is_first(cutoff_task), n_active, n_labels - n_active)


def roc_auc(cutoffs: Cutoffs) -> Floats:
    """Area under the ROC curve, (n_tasks,), as scikit-learn's roc_auc_score."""
    height = cutoffs.true_pos - cutoffs.rise(cutoffs.true_pos) / 2
    area = cutoffs.total(cutoffs.rise(cutoffs.false_pos) * height)
    return area / (cutoffs.n_active * cutoffs.n_inactive)


def average_precision(cutoffs: Cutoffs) -> Floats:
    """Mean precision at each active, (n_tasks,), as scikit-learn's average_precision_score."""
    precision = cutoffs.true_pos / (cutoffs.true_pos + cutoffs.false_pos)
    return cutoffs.total(cutoffs.rise(cutoffs.true_pos) * precision) / cutoffs.n_active


def auc_pr(cutoffs: Cutoffs) -> Floats:
    """Area under the precision-recall curve by trapezoids, (n_tasks,), from precision 1 at recall 0 (SparseChem)."""
    return _trapezoids(cutoffs, cutoffs.true_pos / (cutoffs.true_pos + cutoffs.false_pos))


def auc_pr_calibrated(cutoffs: Cutoffs, pi_zero: Floats) -> Floats:
    """Area as `auc_pr` if a share `pi_zero` of the task's compounds were active; comparable between tasks.

    pi_zero : (n_tasks,) reference prevalence, between 0 and 1
    Precision is TP / (TP + factor FP), factor = pi (1 - pi_zero) / (pi_zero (1 - pi)) with pi the task's own share of
    actives: Siblini et al., Master your metrics with calibration, IDA 2020; pi at most 0.99, as in SparseChem.
    """
    prevalence = np.minimum(cutoffs.n_active / cutoffs.n_labels, MAX_PREVALENCE)
    factor = prevalence * (1 - pi_zero) / (pi_zero * (1 - prevalence))
    return _trapezoids(cutoffs, cutoffs.true_pos / (cutoffs.true_pos + factor[cutoffs.task] * cutoffs.false_pos))


def _trapezoids(cutoffs: Cutoffs, precision: Floats) -> Floats:
    height = (precision + cutoffs.before(precision, start=1.0)) / 2
    return cutoffs.total(cutoffs.rise(cutoffs.true_pos) * height) / cutoffs.n_active


def f1_max(cutoffs: Cutoffs) -> Floats:
    """Largest F1 over all cut-offs, (n_tasks,)."""
    n_called = cutoffs.true_pos + cutoffs.false_pos
    f1 = 2 * cutoffs.true_pos / (n_called + cutoffs.n_active[cutoffs.task])
    return max_by_task(cutoffs.task, f1, cutoffs.n_tasks)


def kappa_max(cutoffs: Cutoffs) -> Floats:
    """Largest Cohen's kappa over all cut-offs, (n_tasks,); never below 0, the kappa of calling all compounds active."""
    n_active, n_inactive = cutoffs.n_active[cutoffs.task], cutoffs.n_inactive[cutoffs.task]
    n_called = cutoffs.true_pos + cutoffs.false_pos
    agreed = 2 * (cutoffs.true_pos * n_inactive - cutoffs.false_pos * n_active)
    kappa = agreed / (n_called * n_inactive + n_active * (n_active + n_inactive - n_called))
    return max_by_task(cutoffs.task, kappa, cutoffs.n_tasks)


def n_picked(n_labels: Counts, percent: int) -> Counts:
    """Number of compounds in `percent` of each task's, rounded up, (n_tasks,)."""
    n_picks: Counts = np.maximum(-(-n_labels * percent // 100), 1)
    return n_picks


def hit_rate(cutoffs: Cutoffs, percent: int) -> Floats:
    """Share of actives among the best-ranked `percent` of each task's compounds, at least one compound, (n_tasks,).

    Of tied compounds at the end of the pick, the share that fits counts: the mean over all their orders.
    """
    n_picks = n_picked(cutoffs.n_labels, percent)
    n_here = cutoffs.rise(cutoffs.true_pos) + cutoffs.rise(cutoffs.false_pos)
    n_before = cutoffs.true_pos + cutoffs.false_pos - n_here
    picked = np.clip((n_picks[cutoffs.task] - n_before) / n_here, 0, 1)
    return cutoffs.total(cutoffs.rise(cutoffs.true_pos) * picked) / n_picks


def bedroc(cutoffs: Cutoffs, alpha: float = 20.0) -> Floats:
    """Early recognition, (n_tasks,), 0 worst to 1 best: Truchon and Bayly, J. Chem. Inf. Model. 2007, 47, 488.

    Without ties it equals RDKit's CalcBEDROC; tied compounds get the mean over all their orders, while RDKit's value
    depends on their order in the input. A larger alpha gives earlier ranks more weight.
    """
    n_labels = cutoffs.n_labels
    slope = alpha / n_labels[cutoffs.task]
    n_here = cutoffs.rise(cutoffs.true_pos) + cutoffs.rise(cutoffs.false_pos)
    n_before = cutoffs.true_pos + cutoffs.false_pos - n_here
    # sum of exp(-slope rank) over the ranks n_before + 1 ... n_before + n_here: a geometric series
    weights = np.exp(-slope * (n_before + 1)) * np.expm1(-slope * n_here) / np.expm1(-slope)
    share = cutoffs.n_active / n_labels
    random_sum = share * -np.expm1(-alpha) / np.expm1(alpha / n_labels)
    enhancement = cutoffs.total(cutoffs.rise(cutoffs.true_pos) / n_here * weights) / random_sum
    best = np.expm1(-alpha * share) / (share * np.expm1(-alpha))
    worst = np.expm1(alpha * share) / (share * np.expm1(alpha))
    recognition: Floats = np.clip((enhancement - worst) / (best - worst), 0, 1)  # rounding passes 1 by 2e-16
    return recognition
