"""Logistic curves with a prior, against scipy's minimum of the same penalised loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from partners.assay_models import probability
from partners.assay_models.probability import Curves, fit_curves

PRECISION = np.array([probability._SLOPE_PRECISION, probability._MIDDLE_PRECISION])


def labels(seed: int, n_tasks: int, n_labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Task, label and score of each, scores of mean 0 and deviation 1, and each task's training share."""
    rng = np.random.default_rng(seed)
    task = np.sort(rng.integers(0, n_tasks, n_labels))
    score = rng.standard_t(4, n_labels)
    for number in range(n_tasks):
        mine = score[task == number]
        if mine.size > 1:
            score[task == number] = (mine - mine.mean()) / mine.std()
    steep = rng.normal(1, 1.5, n_tasks)
    active = rng.random(n_labels) < expit(steep[task] * score + rng.normal(size=n_tasks)[task])
    return task, active, score, rng.uniform(0.02, 0.98, n_tasks)


def loss(curve: np.ndarray, active: np.ndarray, score: np.ndarray, prior: np.ndarray) -> float:
    """Negative log likelihood of a curve (slope, middle) with a normal prior."""
    logit = curve[0] * score + curve[1]
    return float(np.logaddexp(0, -np.where(active, 1, -1) * logit).sum() + (PRECISION * (curve - prior) ** 2).sum() / 2)


def common_slope(active: np.ndarray, score: np.ndarray, middle: np.ndarray) -> float:
    """The slope of all labels together, near 1."""

    def total(slope: np.ndarray) -> float:
        miss = np.logaddexp(0, -np.where(active, 1, -1) * (slope[0] * score + middle)).sum()
        return float(miss + PRECISION[0] * (slope[0] - 1) ** 2 / 2)

    return max(float(minimize(total, [1.0], tol=1e-10).x[0]), probability._LEAST_SLOPE)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 200))
def test_a_curve_is_the_most_likely_one_under_the_prior(seed: int, n_tasks: int, n_labels: int):
    """Slope and middle of every task minimise the penalised loss; a falling curve is made to rise a little."""
    task, active, score, share = labels(seed, n_tasks, n_labels)
    curves, middle = fit_curves(task, active, score, share), np.log(share / (1 - share))
    common = common_slope(active, score, middle[task])
    for number in range(n_tasks):
        mine, prior = task == number, np.array([common, middle[number]])
        best = minimize(loss, prior, args=(active[mine], score[mine], prior), tol=1e-10).x
        assert curves.slope[number] == pytest.approx(max(best[0], probability._LEAST_SLOPE), abs=1e-3)
        assert curves.middle[number] == pytest.approx(best[1], abs=1e-3)


def test_with_a_prior_at_nothing_it_is_scikit_learns_regression(monkeypatch: pytest.MonkeyPatch):
    """The same penalty on the slope, no prior on the middle, the common slope at 0."""
    monkeypatch.setattr(probability, "_MIDDLE_PRECISION", 1e-9)
    monkeypatch.setattr(probability, "_common_slope", lambda *_: 0.0)
    task, active, score, _ = labels(4, 1, 80)
    other = LogisticRegression(C=1 / probability._SLOPE_PRECISION, tol=1e-10).fit(score[:, None], active)
    curves = fit_curves(task, active, score, np.array([0.5]))
    assert curves.slope[0] == pytest.approx(other.coef_[0, 0], abs=1e-4)
    assert curves.middle[0] == pytest.approx(other.intercept_[0], abs=1e-4)


def test_a_curve_never_falls():
    """Labels that contradict their scores leave the order of compounds as it is."""
    score = np.linspace(-1.7, 1.7, 40)
    curves = fit_curves(np.zeros(40, np.int64), score < 0, score, np.array([0.5]))
    assert curves.slope[0] == probability._LEAST_SLOPE


def test_a_task_without_labels_has_the_common_slope_and_its_training_share():
    """So has every task if there are no labels at all, with slope 1."""
    task, active, score, share = labels(1, 3, 120)
    curves = fit_curves(task, active, score, np.append(share, 0.1))
    assert curves.slope[3] == pytest.approx(common_slope(active, score, np.log(share / (1 - share))[task]), abs=1e-4)
    assert expit(curves.middle[3]) == pytest.approx(0.1)
    nothing = np.zeros(0)
    alone = fit_curves(nothing.astype(np.int64), nothing.astype(bool), nothing, share)
    np.testing.assert_array_equal(alone.slope, np.ones(3))
    np.testing.assert_allclose(expit(alone.middle), share)


def test_one_score_far_from_all_others_does_no_harm():
    """Newton's method neither runs away nor goes in circles: the curve is the most likely one."""
    score = np.append(np.full(400, -0.05), 20.0)
    active = np.append(np.arange(400) % 2 == 0, False)
    curves = fit_curves(np.zeros(401, np.int64), active, score, np.array([0.5]))
    prior = np.array([common_slope(active, score, np.zeros(401)), 0])
    best = minimize(loss, prior, args=(active, score, prior), tol=1e-10).x
    assert curves.middle[0] == pytest.approx(best[1], abs=1e-3)
    assert curves.slope[0] == pytest.approx(max(best[0], probability._LEAST_SLOPE), abs=1e-3)


def test_tasks_do_not_change_each_other_but_by_the_common_slope(monkeypatch: pytest.MonkeyPatch):
    """With that slope given, a task's curve is the same alone and among others."""
    monkeypatch.setattr(probability, "_common_slope", lambda *_: 1.2)
    task, active, score, share = labels(2, 4, 100)
    together = fit_curves(task, active, score, share)
    for number in range(4):
        mine = task == number
        alone = fit_curves(np.zeros(mine.sum(), np.int64), active[mine], score[mine], share[number : number + 1])
        assert_same(alone, Curves(together.slope[number : number + 1], together.middle[number : number + 1]))


def assert_same(one: Curves, other: Curves) -> None:
    """Two curves are equal, up to the order of sums."""
    np.testing.assert_allclose(one.slope, other.slope, rtol=1e-9)
    np.testing.assert_allclose(one.middle, other.middle, rtol=1e-9, atol=1e-12)
