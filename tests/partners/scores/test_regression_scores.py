"""Our vectorised regression metrics against scikit-learn, scipy and SparseChem, task by task."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import r2_score, root_mean_squared_error

from partners.errors import BadLengths, BadMeasurements, BadPredictions, BadWeights
from partners.scores.regression_scores import METRICS, mean_errors, score_measurements, score_regression

Rows = list[tuple[int, float, float, int]]  # task, prediction, measured, bound
_N_TASKS = 3
_VALUES = st.integers(-4, 4).map(lambda tenths: 6 + tenths / 10) | st.floats(3, 11, width=32)
_ROWS = st.lists(st.tuples(st.integers(0, _N_TASKS - 1), _VALUES, _VALUES, st.sampled_from([-1, 0, 0, 1])), max_size=30)


def columns(rows: Rows) -> tuple[np.ndarray, ...]:
    """Task, prediction, measured value and bound of each row."""
    return tuple(
        np.array([row[place] for row in rows], dtype=kind) for place, kind in enumerate((int, float, float, float))
    )


def by_libraries(pred: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """The same metrics of one task with two measurements at least; NaN where they are not defined."""
    nan, varied = float("nan"), np.unique(measured).size > 1
    related = varied and np.unique(pred).size > 1
    return {
        "rmse": root_mean_squared_error(measured, pred),
        "r2": r2_score(measured, pred) if varied else nan,
        "pearson": pearsonr(measured, pred).statistic if related else nan,
        "spearman": spearmanr(measured, pred).statistic if related else nan,
    }


@settings(deadline=None, max_examples=60)
@given(_ROWS)
@example([(0, 5.0, 6.0, 0), (0, 5.0, 7.0, 0)])  # constant predictions
@example([(0, 5.0, 6.0, 0), (0, 6.0, 6.0, 0)])  # constant measurements
@example([(0, 5.0, 6.0, 0)])  # one measurement
def test_equal_to_scikit_learn_and_scipy(rows: Rows):
    """Over a task's exact measurements every metric is the libraries'; NaN where it is not defined."""
    task, pred, measured, censor = columns(rows)
    scores = score_measurements(pred, measured, censor, task, _N_TASKS)
    for number in range(_N_TASKS):
        own = (task == number) & (censor == 0)
        assert scores.n_exact[number] == own.sum()
        assert scores.n_censored[number] == ((task == number) & (censor != 0)).sum()
        wanted = by_libraries(pred[own], measured[own]) if own.sum() > 1 else {}
        for name in ("rmse", "r2", "pearson", "spearman"):
            value = getattr(scores, name)[number]
            tolerance = 1e-9 * max(1, abs(wanted.get(name, 0)))  # R2 of nearly equal values is large
            assert value == pytest.approx(wanted.get(name, np.nan), abs=tolerance, nan_ok=True), name


@settings(deadline=None)
@given(_ROWS)
def test_censored_error_is_one_sided(rows: Rows):
    """Censored RMSE counts every measurement, but no error on the right side of a bound."""
    task, pred, measured, censor = columns(rows)
    scores = score_measurements(pred, measured, censor, task, _N_TASKS, min_measured=1)
    for number in range(_N_TASKS):
        own = [row for row in rows if row[0] == number]
        squares = [
            0.0 if (bound > 0 and guess >= value) or (bound < 0 and guess <= value) else (guess - value) ** 2
            for _, guess, value, bound in own
        ]
        wanted = np.sqrt(np.mean(squares)) if own else np.nan
        np.testing.assert_allclose(scores.censored_rmse[number], wanted, rtol=1e-12)


def test_right_and_wrong_side_of_a_bound():
    """Above ">6" and below "<6" is no error, below ">6" and above "<6" is one."""
    measured, task = np.full(4, 6.0), np.arange(4)
    scores = score_measurements(
        np.array([7.0, 5.0, 5.0, 7.0]), measured, np.array([1, -1, 1, -1]), task, 4, min_measured=1
    )
    assert scores.censored_rmse.tolist() == [0, 0, 1, 1]
    assert np.isnan(scores.rmse).all()  # nothing exact


@settings(deadline=None, max_examples=50)
@given(_ROWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows: Rows, random):
    """Shuffled measurements give the same table."""
    shuffled = random.sample(rows, len(rows))
    tables = []
    for each in (rows, shuffled):
        task, pred, measured, censor = columns(each)
        tables.append(score_measurements(pred, measured, censor, task, _N_TASKS).columns())
    assert set(tables[0]) == {*METRICS, "n_exact", "n_censored"}
    for name in tables[0]:
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_quorum():
    """Tasks below the quorum get NaN: exact measurements count for all metrics, both kinds for the censored one."""
    task, censor = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])
    pred, measured = np.array([5.0, 6.0, 7.0, 5.0, 6.0]), np.array([5.5, 6.0, 6.0, 4.0, 7.0])
    two, three = (score_measurements(pred, measured, censor, task, 3, min_measured=n) for n in (2, 3))
    assert np.isfinite(two.rmse).tolist() == [True, False, False]
    assert np.isfinite(two.censored_rmse).tolist() == [True, True, False]
    assert np.isfinite(three.rmse).tolist() == [False, False, False]
    assert np.isfinite(three.censored_rmse).tolist() == [True, False, False]


def test_from_matrices():
    """Dense predictions and sparse measurements with bounds give the flat table; a stored 0 is a measurement."""
    measured = sparse.csr_matrix(([0.0, 6.0, 7.0], ([0, 1, 2], [0, 0, 1])), shape=(3, 2))
    censor = sparse.csr_matrix(([0, 1, -1], ([0, 1, 2], [0, 0, 1])), shape=(3, 2))
    pred = np.array([[1.0, np.nan], [5.0, np.nan], [np.nan, 8.0]])
    scores = score_regression(pred, measured, censor, min_measured=1)
    assert (scores.n_exact.tolist(), scores.n_censored.tolist()) == ([1, 0], [1, 1])
    assert scores.rmse[0] == 1
    assert scores.censored_rmse.tolist() == [1, 1]
    assert score_regression(pred, measured, min_measured=1).n_censored.tolist() == [0, 0]


def test_nothing_to_score_gives_nan():
    """No measurement, compound or task gives NaN and a full count, not an error and not a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((4, 3), (0, 3), (4, 0)):
            means = mean_errors(score_regression(np.zeros(shape), sparse.csr_matrix(shape)))
            for name in METRICS:
                mean = getattr(means, name)
                assert np.isnan(mean.value)
                assert (mean.n_scored, mean.n_unscored) == (0, shape[1])


def test_means_count_each_metric_by_itself():
    """A task of constant predictions has an error but no correlation, and is counted so in both means."""
    task = np.array([0, 0, 0, 1, 1, 1])
    pred, measured = np.array([5.0, 5, 5, 4, 6, 5]), np.array([4.0, 5, 6, 4, 5, 6])
    scores = score_measurements(pred, measured, np.zeros(6), task, 2)
    means = mean_errors(scores, np.array([3.0, 1.0]))
    assert means.rmse.value == pytest.approx((3 * scores.rmse[0] + scores.rmse[1]) / 4)
    assert (means.rmse.n_scored, means.rmse.n_unscored) == (2, 0)
    assert means.pearson.value == pytest.approx(scores.pearson[1])
    assert (means.pearson.n_scored, means.pearson.n_unscored) == (1, 1)
    with pytest.raises(BadWeights):
        mean_errors(scores, np.array([1.0, -1.0]))


@pytest.mark.parametrize(
    ("place", "wrong", "error"),
    [
        (0, np.nan, BadPredictions),
        (0, np.inf, BadPredictions),
        (1, np.nan, BadMeasurements),
        (1, -np.inf, BadMeasurements),
        (2, np.nan, BadMeasurements),
        (2, 2.0, BadMeasurements),
    ],
)
def test_wrong_values_are_refused(place: int, wrong: float, error: type[Exception]):
    """A prediction or measurement that is not finite and a bound other than -1, 0, +1 are refused."""
    table = [np.ones(3), np.ones(3), np.zeros(3)]
    table[place][1] = wrong
    with pytest.raises(error, match=r"scores: 1 (predictions|measurements|bounds) are"):
        score_measurements(*table, np.zeros(3, dtype=int), 1)


def test_wrong_shapes_are_refused():
    """Unequal lengths or shapes, tasks out of range and bounds where nothing was measured are refused."""
    ones, task = np.ones(2), np.zeros(2, dtype=int)
    with pytest.raises(BadLengths, match="expected one length"):
        score_measurements(ones, np.ones(3), np.zeros(2), task, 1)
    with pytest.raises(BadLengths, match="expected 0 to 0"):
        score_measurements(ones, ones, np.zeros(2), task + 1, 1)
    measured = sparse.csr_matrix(np.array([[6.0, 0.0]]))
    with pytest.raises(BadLengths, match=r"predictions .*\(2, 2\), .*\(1, 2\)"):
        score_regression(np.ones((2, 2)), measured)
    with pytest.raises(BadLengths, match="censor: found shape"):
        score_regression(np.ones((1, 2)), measured, sparse.csr_matrix((2, 2)))
    with pytest.raises(BadMeasurements, match="1 bounds stand"):
        score_regression(np.ones((1, 2)), measured, sparse.csr_matrix(np.array([[1, -1]])))


def test_equal_to_sparsechem(shared: Path):
    """SparseChem's own validation table of its own model, per task and aggregated, comes out of its predictions."""
    golden = shared / "golden" / "sparsechem"
    rows = np.load(golden / "folding.npy") == 1
    measured, censor = (
        sparse.csr_matrix(sparse.load_npz(golden / f"{name}.npz"))[rows] for name in ("y_regr", "y_censor")
    )
    scores = score_regression(np.load(golden / "model" / "pred-regr.npy")[rows], measured, censor)
    stored = json.loads((golden / "model" / "ref.json").read_text())["validation"]
    tasks, aggregated = json.loads(stored["regression"]), json.loads(stored["regression_agg"])
    means = mean_errors(scores, np.array(list(tasks["aggregation_weight"].values())))
    for ours, theirs in {
        "censored_rmse": "rmse",
        "rmse": "rmse_uncen",
        "r2": "rsquared",
        "pearson": "corrcoef",
    }.items():
        np.testing.assert_allclose(getattr(scores, ours), list(tasks[theirs].values()), rtol=1e-5, err_msg=ours)
        assert getattr(means, ours).value == pytest.approx(aggregated[theirs], rel=1e-5)
    np.testing.assert_array_equal(scores.n_exact + scores.n_censored, list(tasks["num_samples"].values()))


def test_no_tasks_and_no_measurements_give_empty_scores():
    """Nothing to score is no error: no task, or tasks without a measurement, with marks or without."""
    for n_tasks in (0, 3):
        empty = sparse.csr_matrix((5, n_tasks))
        for censor in (None, empty):
            scores = score_regression(np.zeros((5, n_tasks)), empty, censor)
            assert scores.rmse.shape == (n_tasks,)
            assert np.isnan(scores.rmse).all()
            assert not scores.n_exact.any()
