"""Conformal prediction: crepes as oracle, the guarantee on simulated data, and what is refused."""

import numpy as np
import pytest
from crepes import ConformalClassifier, ConformalRegressor
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save
from scipy import sparse

from partners.errors import BadPredictions, CheckpointDamaged
from partners.models.conformal import FEWEST_LABELS, Calibration, Ranked, calibrate
from partners.network.inference import Outputs
from partners.settings import EPSILON


def outputs(logits: NDArray[np.float32], values: NDArray[np.float32] | None = None) -> Outputs:
    """Made-up outputs of a model."""
    return Outputs(logits, np.zeros((len(logits), 0), np.float32) if values is None else values)


def simulated(seed: int, n: int, n_tasks: int = 3, seen: float = 0.8) -> tuple[NDArray[np.float32], sparse.csr_matrix]:
    """Logits correlated with the labels, and the labels, most of them measured; actives are rare."""
    rng = np.random.default_rng(seed)
    label = np.where(rng.random((n, n_tasks)) < 0.25, 1.0, -1.0)
    logits = (label + rng.normal(0, 1, label.shape)).astype(np.float32)
    logits = np.round(logits, 1)  # ties too
    return logits, sparse.csr_matrix(np.where(rng.random(label.shape) < seen, label, 0.0))


def of_classes(seed: int, n: int, n_tasks: int = 3) -> Calibration:
    """A calibration without regression."""
    logits, y = simulated(seed, n, n_tasks)
    no_values = sparse.csr_matrix((n, 0))
    return calibrate(outputs(logits), y, no_values, no_values)


def of_residuals(residuals: NDArray[np.float32]) -> Calibration:
    """A calibration of one regression task, whose predictions are all 0."""
    values = sparse.csr_matrix(residuals[:, None])
    exact = values.copy()
    exact.data[:] = 0
    predicted = Outputs(np.zeros((len(residuals), 0), np.float32), np.zeros((len(residuals), 1), np.float32))
    return calibrate(predicted, sparse.csr_matrix((len(residuals), 0)), values, exact)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(40, 120))
def test_p_values_are_those_of_crepes(seed: int, n: int) -> None:
    """Class-conditional p-values equal crepes' without smoothing, ties included."""
    logits, y = simulated(seed, n)
    calibration = of_classes(seed, n)
    new = simulated(seed + 1, 30)[0]
    p_values = calibration.p_values(new)
    for task in range(3):
        rows = np.flatnonzero(y[:, [task]].toarray()[:, 0])
        is_active = y[:, [task]].toarray()[rows, 0] > 0
        scores = np.where(is_active, -logits[rows, task], logits[rows, task])
        oracle = ConformalClassifier().fit(scores, bins=is_active)
        for p_value, sign, of_class in ((p_values.active, -1, True), (p_values.inactive, 1, False)):
            expected = oracle.predict_p(sign * new[:, task], bins=np.full(30, of_class), smoothing=False)
            if not calibration.too_few[task]:
                np.testing.assert_array_equal(p_value[:, task], expected.astype(np.float32))


@given(st.lists(st.floats(0, 10, width=32), min_size=19, max_size=60), st.sampled_from([0.05, 0.1, 0.2]))
def test_intervals_are_those_of_crepes(residuals: list[float], epsilon: float) -> None:
    """Half a width equals the distance of crepes' bounds from the prediction."""
    array = np.array(residuals, np.float32) + np.float32(1e-3)
    width = of_residuals(array).half_widths(epsilon)
    low, high = ConformalRegressor().fit(array.astype(np.float64)).predict_int([7.0], confidence=1 - epsilon)[0]
    assert width[0] == pytest.approx((high - low) / 2, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_each_class_keeps_its_guarantee(seed: int) -> None:
    """For at most about a share epsilon of new actives, and of new inactives, the true class is excluded."""
    calibration = of_classes(seed, 4000)
    logits, y = simulated(seed + 100, 4000)
    p_values, truth = calibration.p_values(logits), y.toarray()
    for said, label in ((p_values.active, 1), (p_values.inactive, -1)):
        lost = (said <= EPSILON)[truth == label].mean()
        assert 0.02 < lost < 0.08


def test_intervals_cover_their_share() -> None:
    """About 95 % of new values lie within the interval."""
    rng = np.random.default_rng(4)
    width = of_residuals(rng.normal(0, 1, 2000).astype(np.float32)).half_widths()[0]
    assert 0.93 < (np.abs(rng.normal(0, 1, 4000)) <= width).mean() < 0.97


@given(st.integers(0, 2**31))
def test_a_higher_logit_fits_actives_better(seed: int) -> None:
    """The p-value of active rises with the logit and that of inactive falls; both lie in (0, 1]."""
    calibration = of_classes(seed, 100, n_tasks=1)
    rising = np.sort(np.random.default_rng(seed).normal(0, 3, (50, 1)).astype(np.float32), axis=0)
    p_values = calibration.p_values(rising)
    if not calibration.too_few[0]:
        assert (np.diff(p_values.active[:, 0]) >= 0).all()
        assert (np.diff(p_values.inactive[:, 0]) <= 0).all()
        assert ((p_values.active > 0) & (p_values.active <= 1)).all()


def test_too_few_labels_give_nan() -> None:
    """With fewer than five labels of a class p-values are NaN, and with fewer than 19 values the interval is."""
    label = np.full((30, 2), -1.0)
    label[: FEWEST_LABELS - 1, 0], label[:FEWEST_LABELS, 1] = 1, 1
    none = sparse.csr_matrix((30, 0))
    calibration = calibrate(outputs(np.zeros((30, 2), np.float32)), sparse.csr_matrix(label), none, none)
    p_values = calibration.p_values(np.zeros((4, 2), np.float32))
    assert calibration.too_few.tolist() == [True, False]
    for said in (p_values.active, p_values.inactive, p_values.n_labels()):
        assert np.isnan(said[:, 0]).all()
        assert np.isfinite(said[:, 1]).all()
    assert np.isnan(of_residuals(np.ones(18, np.float32)).half_widths()[0])
    assert of_residuals(np.ones(19, np.float32)).half_widths()[0] == 1


def test_a_model_that_knows_more_is_more_efficient() -> None:
    """If the classes are further apart, more compounds have a single possible class."""
    rng, shares = np.random.default_rng(7), []
    label = np.where(rng.random((600, 1)) < 0.4, 1.0, -1.0)
    none = sparse.csr_matrix((600, 0))
    for apart in (0.3, 1.0, 1.6):
        logits = (apart * label + rng.normal(0, 1, label.shape)).astype(np.float32)
        calibration = calibrate(outputs(logits), sparse.csr_matrix(label), none, none)
        shares.append((calibration.p_values(logits).n_labels()[:, 0] == 1).mean())
    assert shares[0] < shares[1] < shares[2]


def test_no_class_is_possible_between_separated_classes() -> None:
    """A compound between two well separated classes fits neither."""
    label = np.repeat([1.0, -1.0], 40)[:, None]
    logits = (5 * label + np.linspace(-1, 1, 80)[:, None]).astype(np.float32)
    none = sparse.csr_matrix((80, 0))
    calibration = calibrate(outputs(logits), sparse.csr_matrix(label), none, none)
    assert calibration.p_values(np.array([[-5.0], [0.0], [5.0]], np.float32)).n_labels()[:, 0].tolist() == [1, 0, 1]


def test_only_exact_values_count() -> None:
    """A censored value has no residual."""
    values = sparse.csr_matrix(np.full((40, 1), 2.0))
    marks = values.copy()
    marks.data[:] = np.repeat([0, 1], 20)
    predicted = Outputs(np.zeros((40, 0), np.float32), np.full((40, 1), 1.5, np.float32))
    calibration = calibrate(predicted, sparse.csr_matrix((40, 0)), values, marks)
    assert calibration.n_values.tolist() == [20]
    assert calibration.half_widths()[0] == 0.5


def test_a_calibration_is_read_as_it_was_written() -> None:
    """Arrays through safetensors give the same p-values and widths bit for bit."""
    calibration, new = of_classes(8, 100), simulated(9, 20)[0]
    read = Calibration.from_arrays(load(save(calibration.arrays())))
    np.testing.assert_array_equal(read.p_values(new).active, calibration.p_values(new).active)
    np.testing.assert_array_equal(read.p_values(new).inactive, calibration.p_values(new).inactive)
    assert (read.n_labels == calibration.n_labels).all()


@pytest.mark.parametrize(
    ("starts", "numbers"),
    [
        ([0, 2], [1.0, 0.5]),
        ([0, 1], [1.0, 2.0]),
        ([1, 2], [1.0, 2.0]),
        ([0, 2, 1], [1.0]),
        ([], []),
        ([0, 1], [np.nan]),
    ],
)
def test_damaged_ranks_are_refused(starts: list[int], numbers: list[float]) -> None:
    """Numbers out of order, starts that do not fit and NaN are no calibration."""
    with pytest.raises(CheckpointDamaged):
        Ranked(np.array(starts, np.int64), np.array(numbers, np.float32))


def test_missing_arrays_are_refused() -> None:
    """Every array must be there."""
    arrays = of_classes(1, 50).arrays()
    del arrays["residual.starts"]
    with pytest.raises(CheckpointDamaged, match=r"residual\.starts"):
        Calibration.from_arrays(arrays)


def test_labels_and_predictions_that_do_not_match_are_refused() -> None:
    """Labels of other tasks, and predictions that are no number, raise BadPredictions."""
    calibration, none = of_classes(1, 50), sparse.csr_matrix((50, 0))
    with pytest.raises(BadPredictions, match="3 tasks"):
        calibration.p_values(np.zeros((2, 4), np.float32))
    with pytest.raises(BadPredictions):
        calibration.p_values(np.full((2, 3), np.nan, np.float32))
    with pytest.raises(BadPredictions, match="y: "):
        calibrate(outputs(np.zeros((50, 2), np.float32)), sparse.csr_matrix((50, 3)), none, none)
