"""All metrics of every regression task at once, in numpy and in the units of the assay; censored values included."""

import math
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadLengths, BadMeasurements, BadPredictions
from partners.scores.by_task import Counts, Flags, Floats, average_ranks, count_by_task, is_constant, sum_by_task
from partners.scores.task_means import TaskMean, mean_over_tasks

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegressionMetrics(Generic[Value]):
    """Every metric of a regression task; the value is an array over tasks, or a mean over them.

    All but `censored_rmse` use exact measurements only: the distance of a prediction to a bound is not its distance to
    the value.
    """

    rmse: Value  # units of the assay
    censored_rmse: Value  # the same over all measurements; no error on the right side of a bound
    r2: Value
    pearson: Value
    spearman: Value


METRICS = tuple(field.name for field in fields(RegressionMetrics))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskErrors(RegressionMetrics[Floats]):
    """Regression metrics by task, (n_tasks,); NaN with too few measurements or if the metric is not defined.

    R2 is not defined if all measurements are equal, the correlations also if all predictions are.
    """

    n_exact: Counts  # (n_tasks,) measurements with a value
    n_censored: Counts  # (n_tasks,) measurements with a bound

    def of_task(self, column: int) -> dict[str, float | None]:
        """One task's metrics by name; None for one that it has no score in."""
        values = {name: float(getattr(self, name)[column]) for name in METRICS}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def columns(self) -> dict[str, Floats | Counts]:
        """Columns of the table by name: every metric, n_exact and n_censored."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def score_regression(
    pred: NDArray[np.floating],
    measured: sparse.csr_matrix,
    censor: sparse.csr_matrix | None = None,
    *,
    min_measured: int = 2,
) -> TaskErrors:
    """Score every task on its measurements, from the predictions of all compounds and tasks.

    pred     : (n_compounds, n_tasks), units of the assay; only those at measurements are looked at
    measured : (n_compounds, n_tasks) sparse, stored values are measurements, also a stored 0
    censor   : (n_compounds, n_tasks) sparse, +1 where the value is a lower bound (">"), -1 where it is an upper one
               ("<"), the rest exact; None when all are
    min_measured and errors as `score_measurements`; BadLengths also for different shapes, BadMeasurements also for a
    bound where nothing was measured.
    """
    if pred.shape != measured.shape:
        raise BadLengths(f"scores: found predictions of shape {pred.shape}, expected {measured.shape} as measured")
    labels = measured.tocoo()
    return score_measurements(
        pred[labels.row, labels.col],
        labels.data,
        _bounds_at(labels, censor),
        labels.col,
        int(measured.shape[1]),
        min_measured=min_measured,
    )


def _bounds_at(labels: sparse.coo_matrix, censor: sparse.csr_matrix | None) -> Floats:
    """The bound of each measurement, (n_measured,)."""
    if censor is None:
        return np.zeros(labels.nnz)
    if censor.shape != labels.shape:
        raise BadLengths(f"censor: found shape {censor.shape}, expected {labels.shape} as measured")
    if labels.nnz == 0:  # scipy refuses an empty index
        bounds = np.zeros(0)
    else:
        bounds = np.asarray(sparse.csr_matrix(censor)[labels.row, labels.col], dtype=np.float64).reshape(-1)
    n_unmeasured = int(np.count_nonzero(censor.data) - np.count_nonzero(bounds))
    if n_unmeasured:
        raise BadMeasurements(f"censor: {n_unmeasured} bounds stand where nothing was measured, expected none")
    return bounds


def score_measurements(
    pred: NDArray[np.floating],
    measured: NDArray[np.floating],
    censor: NDArray[np.number],
    task: NDArray[np.integer],
    n_tasks: int,
    *,
    min_measured: int = 2,
) -> TaskErrors:
    """Score every task from its measurements alone, so that no array of all compounds and tasks is needed.

    pred, measured : (n_measured,), units of the assay
    censor         : (n_measured,) +1 lower bound, -1 upper bound, 0 exact
    task           : (n_measured,) task of each measurement, 0 to n_tasks - 1, in any order
    min_measured   : with fewer exact measurements a task gets NaN, in `censored_rmse` with fewer of both kinds
    Raises BadLengths, BadPredictions or BadMeasurements (not finite, or another bound).
    """
    columns = pred.astype(np.float64), measured.astype(np.float64), censor.astype(np.float64)
    _check_measurements(*columns, task.astype(np.int64), n_tasks)
    order = np.argsort(task, kind="stable")
    of_task = task[order].astype(np.int64)
    guess, value, bound = (column[order] for column in columns)
    exact = bound == 0
    miss = np.where(exact, value - guess, np.maximum(bound * (value - guess), 0.0))
    n_exact, n_all = count_by_task(of_task[exact], n_tasks), count_by_task(of_task, n_tasks)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 in tasks that get NaN anyway
        exact_metrics = _exact_metrics(guess[exact], value[exact], of_task[exact], n_exact)
        censored = np.sqrt(sum_by_task(of_task, miss**2, n_tasks) / n_all)
    return TaskErrors(
        **{name: np.where(n_exact < min_measured, np.nan, column) for name, column in exact_metrics.items()},
        censored_rmse=np.where(n_all < min_measured, np.nan, censored),
        n_exact=n_exact,
        n_censored=n_all - n_exact,
    )


def _exact_metrics(pred: Floats, measured: Floats, task: Counts, n_exact: Counts) -> dict[str, Floats]:
    """Metrics over exact measurements sorted by task."""
    n_tasks = n_exact.size
    squares = sum_by_task(task, (measured - pred) ** 2, n_tasks)
    spread = sum_by_task(task, _centred(measured, task, n_exact) ** 2, n_tasks)
    unranked = is_constant(task, measured, n_tasks)
    ranks = [average_ranks(task, each, n_tasks) for each in (pred, measured)]
    uncorrelated = unranked | is_constant(task, pred, n_tasks)
    return {
        "rmse": np.sqrt(squares / n_exact),
        "r2": np.where(unranked, np.nan, 1 - squares / spread),
        "pearson": _correlation(pred, measured, task, n_exact, uncorrelated),
        "spearman": _correlation(ranks[0], ranks[1], task, n_exact, uncorrelated),
    }


def _centred(value: Floats, task: Counts, n_entries: Counts) -> Floats:
    return value - (sum_by_task(task, value, n_entries.size) / n_entries)[task]


def _correlation(x: Floats, y: Floats, task: Counts, n_entries: Counts, undefined: Flags) -> Floats:
    x, y = _centred(x, task, n_entries), _centred(y, task, n_entries)
    xy, xx, yy = (sum_by_task(task, product, n_entries.size) for product in (x * y, x**2, y**2))
    return np.where(undefined, np.nan, np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0))


def _check_measurements(pred: Floats, measured: Floats, censor: Floats, task: Counts, n_tasks: int) -> None:
    if not pred.shape == measured.shape == censor.shape == task.shape == (task.size,):
        raise BadLengths(
            f"scores: found predictions, measurements, bounds and tasks of shapes {pred.shape}, {measured.shape}, "
            f"{censor.shape} and {task.shape}, expected one length"
        )
    if task.size and not 0 <= int(task.min()) <= int(task.max()) < n_tasks:
        raise BadLengths(f"scores: found tasks {task.min()} to {task.max()}, expected 0 to {n_tasks - 1}")
    n_wrong = int(np.count_nonzero(~np.isfinite(pred)))
    if n_wrong:
        raise BadPredictions(f"scores: {n_wrong} predictions are not finite, expected numbers")
    n_wrong = int(np.count_nonzero(~np.isfinite(measured)))
    if n_wrong:
        raise BadMeasurements(f"scores: {n_wrong} measurements are not finite, expected numbers")
    n_wrong = int(np.count_nonzero(~np.isin(censor, (-1, 0, 1))))
    if n_wrong:
        raise BadMeasurements(f"scores: {n_wrong} bounds are none of -1, 0 and +1")


def mean_errors(
    scores: TaskErrors, aggregation_weight: NDArray[np.floating] | None = None
) -> RegressionMetrics[TaskMean]:
    """Weighted mean of each metric over the tasks with a value, with the number of tasks without one.

    aggregation_weight : (n_tasks,) weight of each task, at least 0; None: all weights are equal
    Raises BadLengths or BadWeights.
    """
    return RegressionMetrics(**{name: mean_over_tasks(getattr(scores, name), aggregation_weight) for name in METRICS})
