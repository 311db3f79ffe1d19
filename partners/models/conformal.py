"""Inductive conformal prediction: how certain a prediction is, calibrated on compounds that no model was trained on.

Classification is Mondrian: each class of each task has its own calibration scores, so that the guarantee holds for
actives and inactives separately, however rare one of them is. p-values are not smoothed, so nothing in them is random:
p is (number of the class's calibration scores at least as strange, plus 1) / (their number plus 1). Regression gives
intervals around the prediction; their width follows from the absolute residuals of the task's exact values.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; by class: Vovk, Machine Learning 2013, 92,
349. The guarantee is for compounds drawn from the same distribution as the calibration's, here the validation fold.
p-values equal those of crepes' ConformalClassifier, which compares every prediction with every calibration score one
by one; ranks in sorted scores take a hundredth of its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadPredictions, CheckpointDamaged
from partners.network.inference import Outputs
from partners.settings import EPSILON

FEWEST_LABELS = 5  # of each class; a task with fewer has no p-values

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PValues:
    """p-value of each class for each compound and task, (n_compounds, n_tasks); NaN for tasks with too few labels.

    A class is possible if its p-value is above epsilon: both, one, or neither. With neither the compound is unlike
    those of the calibration.
    """

    active: Floats
    inactive: Floats

    def n_labels(self, epsilon: float = EPSILON) -> Floats:
        """Number of possible classes: 0, 1 or 2, NaN for tasks without p-values, (n_compounds, n_tasks)."""
        n_possible = (self.active > epsilon).astype(np.float32) + (self.inactive > epsilon)
        return np.where(np.isnan(self.active), np.float32(np.nan), n_possible)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Calibration scores of every task in rising order, one task after the other."""

    starts: NDArray[np.int64]  # (n_tasks + 1,): those of task t are numbers[starts[t]:starts[t + 1]]
    numbers: Floats

    def __post_init__(self) -> None:
        """Raise CheckpointDamaged if the arrays do not fit together or are not in order."""
        whole = self.starts.ndim == 1 and self.starts.size > 0 and self.numbers.ndim == 1
        if not whole or self.starts[0] != 0 or self.starts[-1] != self.numbers.size or (self.counts < 0).any():
            raise CheckpointDamaged("calibration: starts and numbers do not fit together, expected all numbers by task")
        falls = np.flatnonzero(np.diff(self.numbers) < 0) + 1
        if not np.isfinite(self.numbers).all() or not np.isin(falls, self.starts).all():
            raise CheckpointDamaged("calibration: expected finite numbers, rising within each task")

    @classmethod
    def of(cls, task: NDArray[np.integer[Any]], number: Floats, n_tasks: int) -> Self:
        """Sort scores that come in any order; `task` has the task of each."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(task, minlength=n_tasks))]).astype(np.int64)
        return cls(starts, number[np.lexsort((number, task))].astype(np.float32))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of scores of each task, (n_tasks,)."""
        return np.diff(self.starts)

    def of_task(self, task: int) -> Floats:
        """Scores of one task, rising."""
        return self.numbers[self.starts[task] : self.starts[task + 1]]

    def p_values(self, score: Floats) -> Floats:
        """Share of each task's scores, the new score included, that are at least the new score; both (n, n_tasks)."""
        by_task = np.ascontiguousarray(score.T)
        p = np.empty(by_task.shape, dtype=np.float32)
        for task, count in enumerate(self.counts):
            n_below = np.searchsorted(self.of_task(task), by_task[task], side="left")
            p[task] = (count + 1 - n_below) / (count + 1)
        return np.ascontiguousarray(p.T)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A model's scores on compounds with known labels, from which p-values and intervals are computed.

    It is valid for that model alone. It holds the model's scores of single compounds: it is private.
    """

    active: Ranked  # -logit of the actives of each classification task: the larger, the stranger for an active
    inactive: Ranked  # logit of the inactives
    residual: Ranked  # |measured - predicted| of the exact values of each regression task, in their units

    @property
    def n_labels(self) -> NDArray[np.int64]:
        """Number of labels of the rarer class of each classification task, (n_tasks,)."""
        return np.minimum(self.active.counts, self.inactive.counts)

    @property
    def n_values(self) -> NDArray[np.int64]:
        """Number of exact values of each regression task, (n_regressions,)."""
        return self.residual.counts

    @property
    def too_few(self) -> NDArray[np.bool_]:
        """Classification tasks without p-values: fewer than 5 labels of a class, (n_tasks,)."""
        return self.n_labels < FEWEST_LABELS

    def p_values(self, logits: Floats) -> PValues:
        """p-values of both classes from this model's logits, all (n_compounds, n_tasks); NaN for `too_few`.

        Raises BadPredictions for another number of tasks or a logit that is not finite.
        """
        expected = self.active.counts.size
        if logits.ndim != 2 or logits.shape[1] != expected or not np.isfinite(logits).all():  # noqa: PLR2004
            raise BadPredictions(f"logits: found shape {logits.shape}, expected finite numbers for {expected} tasks")
        nan_if_too_few = np.where(self.too_few, np.float32(np.nan), np.float32(0))
        return PValues(self.active.p_values(-logits) + nan_if_too_few, self.inactive.p_values(logits) + nan_if_too_few)

    def half_widths(self, epsilon: float = EPSILON) -> Floats:
        """Half the width of each regression task's interval of confidence 1 - epsilon around a prediction.

        (n_regressions,), in the values' units; NaN with fewer exact values than the confidence needs: 19 for 0.95.
        """
        return np.array([_half_width(self.residual.of_task(i), epsilon) for i in range(self.n_values.size)], np.float32)

    def resolves(self, epsilon: float = EPSILON) -> NDArray[np.bool_]:
        """Tasks with enough labels to exclude a class, (n_tasks,): the smallest p-value is 1 / (labels + 1)."""
        return 1 / (self.n_labels + 1) <= epsilon

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The calibration as named arrays, for a file without pickle."""
        parts = {name: getattr(self, name) for name in _PARTS}
        starts = {f"{name}.starts": part.starts for name, part in parts.items()}
        return starts | {f"{name}.numbers": part.numbers for name, part in parts.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Inverse of `arrays`; raises CheckpointDamaged for arrays that are no calibration."""
        try:
            parts = {name: Ranked(arrays[f"{name}.starts"], arrays[f"{name}.numbers"]) for name in _PARTS}
        except KeyError as missing:
            raise CheckpointDamaged(f"calibration: found no {missing}, expected all of its arrays") from None
        return cls(**parts)


_PARTS = ("active", "inactive", "residual")


def calibrate(
    outputs: Outputs, y: sparse.csr_matrix, y_regr: sparse.csr_matrix, y_censor: sparse.csr_matrix
) -> Calibration:
    """Calibrate a model on outputs and labels of compounds that it was not trained on.

    y                : (n_compounds, n_tasks), +1 and -1; not stored: not measured
    y_regr, y_censor : (n_compounds, n_regressions) values and marks; only those marked 0 (exact) count
    Raises BadPredictions if labels and predictions differ in shape or a prediction is not finite.
    """
    for name, labels, predicted in (("y", y, outputs.logits), ("y_regr", y_regr, outputs.values)):
        if labels.shape != predicted.shape or not np.isfinite(predicted).all():
            raise BadPredictions(
                f"{name}: found {labels.shape} and predictions {predicted.shape}, expected finite and equal"
            )
    label: sparse.coo_matrix = y.tocoo()
    values: sparse.coo_matrix = y_regr.tocoo()
    score = -label.data * outputs.logits[label.row, label.col]
    active, inactive = (
        Ranked.of(label.col[chosen], score[chosen], y.shape[1]) for chosen in (label.data > 0, label.data < 0)
    )
    exact = y_censor.data == 0  # its pattern is that of y_regr
    residual = np.abs(values.data - outputs.values[values.row, values.col])
    return Calibration(active, inactive, Ranked.of(values.col[exact], residual[exact], y_regr.shape[1]))


def _half_width(residuals: Floats, epsilon: float) -> float:
    if int(epsilon * (residuals.size + 1)) < 1:
        return float("nan")
    from crepes import ConformalRegressor  # noqa: PLC0415 -- loads scikit-learn, for a run's end alone

    fitted = ConformalRegressor().fit(residuals.astype(np.float64))
    interval = fitted.predict_int(np.zeros(1), confidence=1 - epsilon)
    width = float(interval[0, 1])
    return width if np.isfinite(width) else float("nan")
