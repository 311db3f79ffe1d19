"""All metrics of every classification task at once, in numpy; equal to scikit-learn's, if it has the metric."""

import math
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from partners.errors import BadLabels, BadLengths, BadPredictions, BadPrevalence
from partners.scores import calibration, ranking_metrics
from partners.scores.by_task import Counts, Flags, Floats
from partners.scores.task_means import TaskMean, mean_over_tasks

PI_ZERO = 0.1  # SparseChem's reference prevalence

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMetrics(Generic[Value]):
    """Every metric of a classification task; the value is an array over tasks, or a mean over them."""

    roc_auc: Value
    average_precision: Value
    auc_pr: Value  # area under the precision-recall curve by trapezoids
    auc_pr_calibrated: Value  # the same at the reference prevalence pi_zero
    f1_max: Value
    kappa_max: Value
    log_loss: Value  # nats per label
    brier: Value
    ece: Value  # expected calibration error, 10 bins
    bedroc: Value  # alpha 20
    hit_rate_1: Value  # share of actives among the best-ranked 1 %, at least one compound
    hit_rate_10: Value  # the same of 10 %


METRICS = tuple(field.name for field in fields(ClassMetrics))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskScores(ClassMetrics[Floats]):
    """Classification metrics by task, (n_tasks,); NaN in every metric of a task with too few compounds of a class."""

    n_active: Counts  # (n_tasks,) labels +1
    n_inactive: Counts  # (n_tasks,) labels -1

    @property
    def is_scored(self) -> NDArray[np.bool_]:
        """Whether a task has scores, (n_tasks,)."""
        return ~np.isnan(self.roc_auc)

    def of_task(self, column: int) -> dict[str, float | None]:
        """One task's metrics by name; None for one that it has no score in."""
        values = {name: float(getattr(self, name)[column]) for name in METRICS}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def columns(self) -> dict[str, Floats | Counts]:
        """Columns of the table by name: every metric, n_active and n_inactive."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanScores(ClassMetrics[float]):
    """Weighted means over the scored tasks; NaN if there are none."""

    n_scored: int
    n_unscored: int  # tasks without enough compounds of both classes


def score_tasks(
    y: sparse.csr_matrix,
    logits: NDArray[np.floating],
    min_per_class: int = 1,
    *,
    pi_zero: float | NDArray[np.floating] = PI_ZERO,
) -> TaskScores:
    """Score every task on its observed labels, from the logits of all compounds and tasks.

    y      : (n_compounds, n_tasks) sparse, stored +1 and -1
    logits : (n_compounds, n_tasks); only those at observed labels are looked at
    min_per_class, pi_zero and errors as `score_labels`; BadLengths also for different shapes.
    """
    if y.shape != logits.shape:
        raise BadLengths(f"scores: found logits of shape {logits.shape}, expected {y.shape} as the labels")
    labels = y.tocoo()
    wrong = np.flatnonzero(np.abs(labels.data) != 1)
    if wrong.size:
        raise BadLabels(f"scores: {wrong.size} labels are not +1 or -1, the first in task {labels.col[wrong[0]]}")
    return score_labels(
        labels.col,
        labels.data > 0,
        logits[labels.row, labels.col],
        int(y.shape[1]),
        min_per_class=min_per_class,
        pi_zero=pi_zero,
    )


def score_labels(
    task: NDArray[np.integer],
    active: Flags,
    logit: NDArray[np.floating],
    n_tasks: int,
    *,
    min_per_class: int = 1,
    pi_zero: float | NDArray[np.floating] = PI_ZERO,
) -> TaskScores:
    """Score every task from its labels alone, so that no array of all compounds and tasks is needed.

    task          : (n_labels,) task of each label, 0 to n_tasks - 1, in any order
    active, logit : (n_labels,); infinite logits are certain predictions
    min_per_class : a task with fewer actives or fewer inactives gets NaN, and so does one of a single class
    pi_zero       : reference prevalence of `auc_pr_calibrated`, one for all or (n_tasks,)
    Raises BadLengths, BadPredictions (a NaN) or BadPrevalence.
    """
    of_task, score = task.astype(np.int64), logit.astype(np.float64)
    _check_labels(of_task, active, score, n_tasks)
    reference = _checked_prevalence(pi_zero, n_tasks)
    probability = expit(score)
    at_cutoffs = ranking_metrics.find_cutoffs(of_task, active, score, n_tasks)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 in tasks that get NaN anyway
        values = {
            "roc_auc": ranking_metrics.roc_auc(at_cutoffs),
            "average_precision": ranking_metrics.average_precision(at_cutoffs),
            "auc_pr": ranking_metrics.auc_pr(at_cutoffs),
            "auc_pr_calibrated": ranking_metrics.auc_pr_calibrated(at_cutoffs, reference),
            "f1_max": ranking_metrics.f1_max(at_cutoffs),
            "kappa_max": ranking_metrics.kappa_max(at_cutoffs),
            "log_loss": calibration.log_loss(of_task, active, score, n_tasks),
            "brier": calibration.brier(of_task, active, probability, n_tasks),
            "ece": calibration.expected_calibration_error(of_task, active, probability, n_tasks),
            "bedroc": ranking_metrics.bedroc(at_cutoffs),
            "hit_rate_1": ranking_metrics.hit_rate(at_cutoffs, 1),
            "hit_rate_10": ranking_metrics.hit_rate(at_cutoffs, 10),
        }
    n_active, n_inactive = at_cutoffs.n_active, at_cutoffs.n_inactive
    too_few = np.minimum(n_active, n_inactive) < max(min_per_class, 1)
    return TaskScores(
        **{name: np.where(too_few, np.nan, value) for name, value in values.items()},
        n_active=n_active,
        n_inactive=n_inactive,
    )


def _check_labels(task: Counts, active: Flags, logit: Floats, n_tasks: int) -> None:
    if not task.shape == active.shape == logit.shape == (task.size,):
        raise BadLengths(
            f"scores: found tasks, labels and logits of shapes {task.shape}, {active.shape} and {logit.shape}, "
            "expected one length"
        )
    if task.size and not 0 <= int(task.min()) <= int(task.max()) < n_tasks:
        raise BadLengths(f"scores: found tasks {task.min()} to {task.max()}, expected 0 to {n_tasks - 1}")
    n_wrong = int(np.isnan(logit).sum())
    if n_wrong:
        raise BadPredictions(f"scores: {n_wrong} predictions are NaN, expected numbers")


def _checked_prevalence(pi_zero: float | NDArray[np.floating], n_tasks: int) -> Floats:
    reference = np.asarray(pi_zero, dtype=np.float64)
    if reference.shape not in {(), (n_tasks,)}:
        raise BadLengths(f"pi_zero: found shape {reference.shape}, expected one number or ({n_tasks},)")
    if not ((reference > 0) & (reference < 1)).all():
        raise BadPrevalence("pi_zero: found a prevalence outside of 0 to 1, expected a share between them")
    return np.broadcast_to(reference, (n_tasks,))


def mean_scores(scores: TaskScores, aggregation_weight: NDArray[np.floating] | None = None) -> MeanScores:
    """Weighted mean of each metric over the scored tasks.

    aggregation_weight : (n_tasks,) weight of each task, at least 0; None: all weights are equal. Tasks of weight 0 are
                         counted neither as scored nor as unscored.
    Raises BadLengths or BadWeights.
    """
    means: dict[str, TaskMean] = {name: mean_over_tasks(getattr(scores, name), aggregation_weight) for name in METRICS}
    counts = means["roc_auc"]  # a task has a score in every metric or in none
    return MeanScores(
        **{name: mean.value for name, mean in means.items()}, n_scored=counts.n_scored, n_unscored=counts.n_unscored
    )
