"""All metrics of every classification task at once, in numpy; equal to scikit-learn's where it has them."""

from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from partners.errors import BadLabels, BadLengths, BadPredictions, BadPrevalence
from partners.scores import calibration
from partners.scores import ranking_metrics as cutoffs
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


METRICS = tuple(field.name for field in fields(ClassMetrics))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskScores(ClassMetrics[Floats]):
    """One value per task, (n_tasks,); NaN in every metric where a task has too few compounds of a class."""

    n_active: Counts  # (n_tasks,) labels +1
    n_inactive: Counts  # (n_tasks,) labels -1

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which tasks were judged."""
        return ~np.isnan(self.roc_auc)

    def columns(self) -> dict[str, Floats | Counts]:
        """The table by column: every metric, n_active and n_inactive."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanScores(ClassMetrics[float]):
    """Weighted means over the judged tasks; NaN when there are none."""

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
    The rest and the errors as `score_labels`; BadLengths also for different shapes.
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
    found = cutoffs.find_cutoffs(of_task, active, score, n_tasks)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 in tasks that get NaN anyway
        values = {
            "roc_auc": cutoffs.roc_auc(found),
            "average_precision": cutoffs.average_precision(found),
            "auc_pr": cutoffs.auc_pr(found),
            "auc_pr_calibrated": cutoffs.auc_pr_calibrated(found, reference),
            "f1_max": cutoffs.f1_max(found),
            "kappa_max": cutoffs.kappa_max(found),
            "log_loss": calibration.log_loss(of_task, active, score, n_tasks),
            "brier": calibration.brier(of_task, active, probability, n_tasks),
            "ece": calibration.expected_calibration_error(of_task, active, probability, n_tasks),
            "bedroc": cutoffs.bedroc(found),
        }
    unfit = np.minimum(found.n_active, found.n_inactive) < max(min_per_class, 1)
    return TaskScores(
        **{name: np.where(unfit, np.nan, value) for name, value in values.items()},
        n_active=found.n_active,
        n_inactive=found.n_inactive,
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
    """Mean over the tasks that were judged.

    aggregation_weight : (n_tasks,) weight of each task, at least 0; None weighs all alike. Tasks of weight 0 are
                         counted neither as scored nor as unscored.
    Raises BadLengths or BadWeights.
    """
    means: dict[str, TaskMean] = {name: mean_over_tasks(getattr(scores, name), aggregation_weight) for name in METRICS}
    counts = means["roc_auc"]  # a task is judged by every metric or by none
    return MeanScores(
        **{name: mean.value for name, mean in means.items()}, n_scored=counts.n_scored, n_unscored=counts.n_unscored
    )
