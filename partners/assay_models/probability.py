"""Scores made probabilities of being active: a logistic curve for each task, fitted on the validation fold.

Platt (1999), with a prior, as a task may have five labels there: the slope near the partner's common slope, the middle
near the share of actives in the training folds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_STEPS, _SHORT = 200, 1e-10  # of Newton's method, which takes about ten: most steps, and length of the last one
_SLOPE_PRECISION, _MIDDLE_PRECISION = 4.0, 1.0  # of the prior: labels' worth of certainty
_LEAST_SLOPE = 0.05  # a curve never falls: the order of a task's compounds stays that of the scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """logit = slope * score + middle, (n_tasks,) each."""

    slope: Floats
    middle: Floats


def fit_curves(task: Ints, active: NDArray[np.bool_], score: Floats, share: Floats) -> Curves:
    """Fit a curve to each task's labels.

    task, active, score : (n_labels,) of the validation fold; scores of a task have mean 0 and deviation 1
    share               : (n_tasks,) of actives in the training folds, above 0 and below 1
    A task without labels gets the common slope and its training share.
    """
    middle = np.log(share) - np.log1p(-share)
    common = _common_slope(active, score, middle[task])
    slope, start, reach = np.full(share.size, common), middle.copy(), np.zeros(share.size)
    np.maximum.at(reach, task, np.hypot(score, 1))
    for _ in range(_STEPS):
        p = expit(slope[task] * score + start[task])
        miss, weight = p - active, p * (1 - p)

        def by_task(values: Floats) -> Floats:
            return np.bincount(task, weights=values, minlength=share.size).astype(np.float64)

        down = by_task(miss * score) + _SLOPE_PRECISION * (slope - common)
        across = by_task(miss) + _MIDDLE_PRECISION * (start - middle)
        aa = by_task(weight * score**2) + _SLOPE_PRECISION
        ab = by_task(weight * score)
        bb = by_task(weight) + _MIDDLE_PRECISION
        determinant = aa * bb - ab**2
        steps = (bb * down - ab * across) / determinant, (aa * across - ab * down) / determinant
        length = np.hypot(*steps)
        safe = _safe_share(reach * length)
        slope, start = slope - safe * steps[0], start - safe * steps[1]
        if (length < _SHORT).all():
            break
    return Curves(np.maximum(slope, _LEAST_SLOPE), start)


def _common_slope(active: NDArray[np.bool_], score: Floats, middle: Floats) -> float:
    slope, reach = 1.0, np.abs(score).max(initial=0)
    for _ in range(_STEPS):
        p = expit(slope * score + middle)
        gradient = float(((p - active) * score).sum()) + _SLOPE_PRECISION * (slope - 1)
        step = gradient / (float((p * (1 - p) * score**2).sum()) + _SLOPE_PRECISION)
        slope -= float(_safe_share(reach * np.abs(step))) * step
        if abs(step) < _SHORT:
            break
    return max(slope, _LEAST_SLOPE)


def _safe_share(length: Floats) -> Floats:
    """Share of a step that comes nearer to a logistic loss's minimum from anywhere; the whole step runs away from some.

    length : of the step, times the farthest that an input (score, 1) lies from 0
    Sun and Tran-Dinh, Math. Program. 2019, 178, 145: ln(1 + length) / length.
    """
    share: Floats = np.log1p(length) / np.where(length > 0, length, 1) + (length == 0)
    return share
