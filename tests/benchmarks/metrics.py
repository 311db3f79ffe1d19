"""All metrics of many tasks at once against a loop over tasks with scikit-learn and scipy: CPU seconds.

The loop calls what the libraries have: for classification roc_auc_score, average_precision_score, the two curves (for
AUC-PR, F1 and kappa at every cut-off), log_loss and brier_score_loss; for regression root_mean_squared_error,
r2_score, pearsonr and spearmanr. It computes no BEDROC and no calibration error, which ours does. Ours
is warmed up and the smallest of its repeats shown; the loop, far longer, runs once. Both must agree to 1e-9 or the
script fails.
usage: metrics.py [tasks, with commas] [labels, with commas] [repeats]
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partners.scores.regression_scores import score_measurements
from partners.scores.scores import score_labels

Columns = dict[str, np.ndarray]


class Labels:
    """Made-up labels of many tasks: task, activity, logit, and a measured value with its prediction."""

    def __init__(self, n_tasks: int, n_labels: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n_tasks = n_tasks
        self.task = rng.integers(0, n_tasks, n_labels)
        self.active = rng.random(n_labels) < 0.3
        self.logit = np.round(rng.normal(size=n_labels) + self.active - 1, 2)  # two digits, so that some are tied
        self.measured = rng.normal(6, 1, n_labels)
        self.pred = np.round(self.measured + rng.normal(size=n_labels), 2)

    def by_task(self) -> list[np.ndarray]:
        """Places of each task's labels."""
        order = np.argsort(self.task, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.task, minlength=self.n_tasks))[:-1])


def ours_class(labels: Labels) -> Columns:
    """Score classification with our functions."""
    return dict(score_labels(labels.task, labels.active, labels.logit, labels.n_tasks).columns())


def ours_regression(labels: Labels) -> Columns:
    """Score regression with our functions."""
    exact = np.zeros(labels.task.size)
    return dict(score_measurements(labels.pred, labels.measured, exact, labels.task, labels.n_tasks).columns())


def loop_class(labels: Labels) -> Columns:
    """Score classification with scikit-learn, task by task, in the metrics that it has."""
    names = ("roc_auc", "average_precision", "auc_pr", "f1_max", "kappa_max", "log_loss", "brier")
    table = np.full((labels.n_tasks, len(names)), np.nan)
    for row, places in zip(table, labels.by_task(), strict=True):
        active, logit = labels.active[places], labels.logit[places]
        if 0 < active.sum() < active.size:
            row[:] = _one_class_task(active, logit)
    return dict(zip(names, table.T, strict=True))


def _one_class_task(active: np.ndarray, logit: np.ndarray) -> tuple[float, ...]:
    probability = expit(logit)
    precision, recall, _ = metrics.precision_recall_curve(active, logit)
    false_rate, true_rate, _ = metrics.roc_curve(active, logit)
    n_active, n_inactive = active.sum(), (~active).sum()
    true_pos, false_pos = true_rate * n_active, false_rate * n_inactive
    agreed = 2 * (true_pos * n_inactive - false_pos * n_active)
    called = true_pos + false_pos
    kappa = agreed / (called * n_inactive + n_active * (active.size - called))
    return (
        metrics.roc_auc_score(active, logit),
        metrics.average_precision_score(active, logit),
        metrics.auc(recall, precision),
        (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max(),
        kappa.max(),
        metrics.log_loss(active, probability),
        metrics.brier_score_loss(active, probability),
    )


def loop_regression(labels: Labels) -> Columns:
    """Score regression with scikit-learn and scipy, task by task."""
    names = ("rmse", "r2", "pearson", "spearman")
    table = np.full((labels.n_tasks, len(names)), np.nan)
    for row, places in zip(table, labels.by_task(), strict=True):
        measured, pred = labels.measured[places], labels.pred[places]
        if measured.size > 1:
            row[:] = (
                metrics.root_mean_squared_error(measured, pred),
                metrics.r2_score(measured, pred),
                pearsonr(measured, pred).statistic,
                spearmanr(measured, pred).statistic,
            )
    return dict(zip(names, table.T, strict=True))


def smallest_cpu(call: Callable[[Labels], Columns], labels: Labels, repeats: int) -> tuple[float, Columns]:
    """Smallest CPU seconds of the call, all threads, and what it returned."""
    found, seconds = {}, []
    for _ in range(repeats):
        begin = time.process_time()
        found = call(labels)
        seconds.append(time.process_time() - begin)
    return min(seconds), found


def main(tasks: str = "1000,10000", labels: str = "100000,1000000", repeats: str = "3") -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # the libraries warn of tasks of equal values
    table = Table(title="All metrics of all tasks, CPU seconds")
    for column in ("kind", "tasks", "labels", "ours", "loop", "loop / ours", "largest difference"):
        table.add_column(column, justify="right")
    kinds = {"classification": (ours_class, loop_class), "regression": (ours_regression, loop_regression)}
    for kind, (ours, loop) in kinds.items():
        for n_tasks in map(int, tasks.split(",")):
            for n_labels in map(int, labels.split(",")):
                made = Labels(n_tasks, n_labels)
                ours(made)  # the first call also pays for numpy's buffers
                mine, found = smallest_cpu(ours, made, int(repeats))
                theirs, wanted = smallest_cpu(loop, made, 1)
                worst = max(_difference(found[name], column) for name, column in wanted.items())
                row = (f"{n_tasks:,}", f"{n_labels:,}", f"{mine:.3f}", f"{theirs:.1f}", f"{theirs / mine:.0f}x")
                table.add_row(kind, *row, f"{worst:.0e}")
    Console(width=100).print(table)


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)  # NaN in the same tasks, too
    return float(np.nanmax(np.abs(found - wanted)))


if __name__ == "__main__":
    main(*sys.argv[1:])
