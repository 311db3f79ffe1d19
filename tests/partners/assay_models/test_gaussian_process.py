"""The Gaussian process of one assay, against scikit-learn, and bounds replaced by what is expected beyond them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from partners.assay_models.gaussian_process import _NOISE, expected_values, fit_gaussian_process
from partners.assay_models.inputs import kernel
from tests.support.partners.made_up_assays import random_inputs


class Precomputed(Kernel):
    """scikit-learn's interface to a matrix; a compound is the number of its row."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def __call__(self, x: np.ndarray, y: np.ndarray | None = None, eval_gradient: bool = False) -> np.ndarray:  # noqa: ARG002, FBT001, FBT002 -- theirs
        """The matrix of these compounds."""
        rows, columns = x[:, 0].astype(int), (x if y is None else y)[:, 0].astype(int)
        return self.matrix[np.ix_(rows, columns)]

    def diag(self, x: np.ndarray) -> np.ndarray:
        """Its diagonal."""
        return np.diag(self.matrix)[x[:, 0].astype(int)]

    def is_stationary(self) -> bool:
        """It is not."""
        return False


def assay(seed: int = 0, n: int = 40, n_units: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """Kernel (n, n), values (n,) and number of kernels of a made-up assay."""
    inputs = random_inputs(seed, n, n_units)
    return kernel(inputs, inputs), np.random.default_rng(seed).normal(6, 1.5, n), inputs.n_kernels


@pytest.mark.parametrize("n_units", [0, 4])
def test_it_predicts_what_scikit_learn_predicts(n_units: int):
    """The same mean for known and new compounds, with one kernel and with two."""
    similarity, values, n_kernels = assay(n=40, n_units=n_units)
    known, new = np.arange(30), np.arange(30, 40)
    other = GaussianProcessRegressor(
        Precomputed(similarity.astype(np.float64)), alpha=_NOISE[n_kernels], optimizer=None, normalize_y=True
    ).fit(known[:, None], values[known])
    process = fit_gaussian_process(similarity[np.ix_(known, known)], values[known], n_kernels)
    for rows in (known, new):
        expected = other.predict(rows[:, None])
        np.testing.assert_allclose(process.predict(similarity[np.ix_(rows, known)]), expected, atol=1e-4)


def test_equal_values_are_predicted_everywhere():
    """A process without spread predicts that value; nothing is divided by 0."""
    similarity, values, n_kernels = assay()
    process = fit_gaussian_process(similarity, np.full(values.size, 5.5), n_kernels)
    np.testing.assert_array_equal(process.predict(similarity), np.full(values.size, 5.5))


def test_fitting_does_not_change_its_input():
    """The kernel is used for several fits."""
    similarity, values, n_kernels = assay()
    before, marks = similarity.copy(), np.int8([1, -1] * 20)
    fit_gaussian_process(similarity, values, n_kernels)
    expected_values(similarity, values, marks, n_kernels)
    np.testing.assert_array_equal(similarity, before)


def test_without_bounds_values_are_identical():
    """Exact values come back as they are."""
    similarity, values, n_kernels = assay()
    assert expected_values(similarity, values, np.zeros(40, np.int8), n_kernels) is values


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(0, 3))
def test_a_bound_is_replaced_by_a_value_beyond_it(seed: int, n: int, n_units: int):
    """Exact values stay, a lower bound's replacement is not below it, an upper one's not above."""
    similarity, values, n_kernels = assay(seed, n, n_units)
    marks = np.random.default_rng(seed + 1).choice(np.int8([-1, 0, 0, 1]), n)
    before = values.copy()
    filled = expected_values(similarity, values, marks, n_kernels)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(filled[marks == 0], values[marks == 0])
    assert np.isfinite(filled).all()
    assert (marks * (filled - values) >= -1e-6).all()


def refitted(similarity: np.ndarray, standard: np.ndarray, n_kernels: int, out: int) -> tuple[float, float]:
    """Mean and variance that a process without one compound predicts for its measurement."""
    rest = np.flatnonzero(np.arange(standard.size) != out)
    noisy = similarity.astype(np.float64) + _NOISE[n_kernels] * np.eye(standard.size)
    inner, row = noisy[np.ix_(rest, rest)], noisy[out, rest]
    mean = float(row @ np.linalg.solve(inner, standard[rest]))
    return mean, float(noisy[out, out] - row @ np.linalg.solve(inner, row))


@pytest.mark.parametrize("n_units", [0, 4])
def test_a_bound_is_replaced_by_the_mean_of_the_cut_normal_distribution(n_units: int, monkeypatch: pytest.MonkeyPatch):
    """One pass gives scipy's mean of the prediction without the compound, beyond the bound."""
    monkeypatch.setattr("partners.assay_models.gaussian_process._PASSES", 1)
    similarity, values, n_kernels = assay(3, 25, n_units)
    marks = np.int8([0, 0, 1, 0, -1] * 5)
    filled = expected_values(similarity, values, marks, n_kernels)
    centre, scale = values.mean(), values.std()
    for out in np.flatnonzero(marks):
        mean, variance = refitted(similarity, (values - centre) / scale, n_kernels, out)
        bound, deviation = ((values[out] - centre) / scale - mean) / np.sqrt(variance), np.sqrt(variance)
        cut = stats.truncnorm(*((bound, np.inf) if marks[out] > 0 else (-np.inf, bound)), loc=mean, scale=deviation)
        assert filled[out] == pytest.approx(centre + scale * cut.mean(), abs=1e-6)


def test_every_pass_starts_from_what_the_last_one_expects(monkeypatch: pytest.MonkeyPatch):
    """Two passes are a second pass over bounds cut at the same places, with the first's values around them."""
    similarity, values, n_kernels = assay(5, 25)
    marks = np.int8([0, 0, 1, 0, 0] * 5)
    found = {}
    for n_passes in (1, 2, 3):
        monkeypatch.setattr("partners.assay_models.gaussian_process._PASSES", n_passes)
        found[n_passes] = expected_values(similarity, values, marks, n_kernels)
    change = [np.abs(found[n + 1] - found[n]).max() for n in (1, 2)]
    assert 0 < change[1] < change[0]


def test_a_bound_far_below_the_prediction_says_nothing():
    """The compound then has the value that the others predict for it."""
    similarity, values, n_kernels = assay(7)
    marks = np.zeros(40, np.int8)
    marks[4], values[4] = 1, values.min() - 1
    far = values.copy()
    far[4] -= 0.5
    filled, further = (expected_values(similarity, numbers, marks, n_kernels) for numbers in (values, far))
    assert filled[4] == pytest.approx(further[4], abs=0.2)
    assert filled[4] > values.min() + 1


def test_if_all_are_bounds_values_lie_beyond_all_of_them():
    """Nothing exact is needed."""
    similarity, values, n_kernels = assay(8)
    filled = expected_values(similarity, values, np.ones(40, np.int8), n_kernels)
    assert (filled > values).all()
