"""Applicability: how reliable a model's conformal sets and intervals are on the test fold."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partners.models.conformal import Calibration, calibrate
from partners.network.inference import Outputs
from partners.settings import EPSILON
from partners.training_data.training_set import TrainingSet

_BLOCK = 4096  # compounds at a time: bounds memory at as many p-values of each class and task

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Shares and widths of one model's conformal predictions at EPSILON, calibrated on the validation fold.

    A share is NaN if the validation fold has too few labels of a class, or values, to reach EPSILON.
    """

    efficiency: Floats  # (n_tasks,) share of the test fold's compounds with exactly one possible class
    coverage: Floats  # (n_tasks,) share of its labels that are among the possible classes; should be 1 - EPSILON
    width: Floats  # (n_regressions,) of the interval, units of the assay
    width_coverage: Floats  # (n_regressions,) share of its exact values inside

    def of_task(self, column: int) -> dict[str, float | None]:
        """Efficiency and coverage of a classification task."""
        return {name: _finite(getattr(self, name)[column]) for name in ("efficiency", "coverage")}

    def of_regression(self, column: int) -> dict[str, float | None]:
        """Interval width and coverage of a regression task."""
        return {"width": _finite(self.width[column]), "coverage": _finite(self.width_coverage[column])}


def evaluate_domain(data: TrainingSet, validation: Outputs, test: Outputs) -> Domain:
    """Calibrate a model on the validation fold and measure its conformal predictions on the test fold.

    validation, test : outputs for the labelled compounds of either fold, `TrainingSet.rows_of`
    """
    rows = data.rows_of(data.validation_fold)
    fitted = calibrate(validation, data.y[rows], data.y_regr[rows], data.y_censor[rows])
    efficiency, coverage = _class_shares(data, fitted, test)
    half_width = fitted.half_widths(EPSILON).astype(np.float64)
    return Domain(efficiency, coverage, 2 * half_width, _interval_coverage(data, half_width, test))


def _class_shares(data: TrainingSet, fitted: Calibration, test: Outputs) -> tuple[Floats, Floats]:
    rows = data.rows_of(data.test_fold)
    n_single, n_right, n_known = (np.zeros(data.n_tasks) for _ in range(3))
    for start in range(0, rows.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        p_values = fitted.p_values(test.logits[block])
        n_single += (p_values.n_labels(EPSILON) == 1).sum(axis=0)
        labels = data.y[rows[block]].tocoo()
        of_truth = np.where(
            labels.data > 0, p_values.active[labels.row, labels.col], p_values.inactive[labels.row, labels.col]
        )
        n_right += np.bincount(labels.col, weights=of_truth > EPSILON, minlength=data.n_tasks)
        n_known += np.bincount(labels.col, minlength=data.n_tasks)
    too_few = ~fitted.resolves(EPSILON)
    with np.errstate(divide="ignore", invalid="ignore"):  # tasks without a label on the test fold get NaN
        coverage = n_right / n_known
    return np.where(too_few, np.nan, n_single / rows.size), np.where(too_few, np.nan, coverage)


def _interval_coverage(data: TrainingSet, half_width: Floats, test: Outputs) -> Floats:
    """Share of each task's exact values inside its interval, (n_regressions,)."""
    rows = data.rows_of(data.test_fold)
    values = data.y_regr[rows].tocoo()
    exact = data.y_censor[rows].data == 0
    task = values.col[exact]
    miss = np.abs(values.data[exact] - test.values[values.row[exact], task])
    with np.errstate(divide="ignore", invalid="ignore"):  # tasks without a value get NaN
        share = np.bincount(task, weights=miss <= half_width[task], minlength=data.n_regressions) / np.bincount(
            task, minlength=data.n_regressions
        )
    return np.where(np.isnan(half_width), np.nan, share)


def _finite(value: Any) -> float | None:  # noqa: ANN401 -- numpy's scalar
    return float(value) if math.isfinite(value) else None
