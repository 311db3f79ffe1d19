"""Our vectorised classification metrics against scikit-learn, RDKit and SparseChem, task by task."""

import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdkit.ML.Scoring.Scoring import CalcBEDROC
from scipy import sparse
from scipy.special import expit, logit
from sklearn import metrics

from partners.errors import BadLabels, BadLengths, BadPredictions, BadPrevalence, BadWeights
from partners.scores.scores import METRICS, TaskScores, mean_scores, score_labels, score_tasks

ALL_TIED = (np.array([[1], [-1], [-1], [1]]), np.zeros((4, 1)))
ONE_CLASS = (np.array([[1, -1], [1, -1]]), np.array([[0.5, 0.5], [1.0, 1.0]]))
ONE_LABEL = (np.array([[1, 0], [0, -1]]), np.array([[0.5, 0.5], [1.0, 1.0]]))
Tables = tuple[np.ndarray, np.ndarray]


@st.composite
def labels_and_logits(draw: st.DrawFn) -> Tables:
    """A few tasks of a few compounds; few distinct logits, so that ties are everywhere."""
    n, n_tasks = draw(st.integers(1, 20)), draw(st.integers(1, 3))
    y = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n * n_tasks, max_size=n * n_tasks))
    score = draw(st.lists(st.integers(-3, 3), min_size=n * n_tasks, max_size=n * n_tasks))
    return np.reshape(y, (n, n_tasks)), np.reshape(score, (n, n_tasks)) * 1.5


def of_task(pair: Tables, task: int) -> Tables:
    """The observed labels of one task and their logits."""
    y, score = pair
    seen = y[:, task] != 0
    return y[seen, task] > 0, score[seen, task]


def by_scikit_learn(active: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Everything scikit-learn computes for one task with both classes; maxima over every cut-off one by one."""
    precision, recall, _ = metrics.precision_recall_curve(active, score)
    calls = [score >= cutoff for cutoff in np.unique(score)]
    probability = expit(score)
    return {
        "roc_auc": metrics.roc_auc_score(active, score),
        "average_precision": metrics.average_precision_score(active, score),
        "auc_pr": metrics.auc(recall, precision),
        "f1_max": max(metrics.f1_score(active, called) for called in calls),
        "kappa_max": max(metrics.cohen_kappa_score(active, called) for called in calls),
        "log_loss": metrics.log_loss(active, probability),
        "brier": metrics.brier_score_loss(active, probability),
    }


@settings(deadline=None, max_examples=30)  # scikit-learn checks its input anew at every cut-off
@given(labels_and_logits(), st.integers(0, 3))
@example(ALL_TIED, 1)
@example(ONE_CLASS, 1)
@example(ONE_LABEL, 1)
def test_equal_to_scikit_learn(pair: Tables, min_per_class: int):
    """Every scored task has scikit-learn's values, ties included; the others have NaN everywhere, and their counts."""
    scores = score_tasks(sparse.csr_matrix(pair[0]), pair[1], min_per_class)
    for task in range(pair[0].shape[1]):
        active, score = of_task(pair, task)
        n_active, n_inactive = int(active.sum()), int((~active).sum())
        assert (scores.n_active[task], scores.n_inactive[task]) == (n_active, n_inactive)
        if min(n_active, n_inactive) < max(min_per_class, 1):
            assert all(np.isnan(getattr(scores, name)[task]) for name in METRICS)
        else:
            for name, wanted in by_scikit_learn(active, score).items():
                assert getattr(scores, name)[task] == pytest.approx(wanted, abs=1e-9), name


@settings(deadline=None, max_examples=50)
@given(labels_and_logits(), st.floats(0.01, 0.99))
def test_calibrated_precision(pair: Tables, pi_zero: float):
    """Calibrated AUC-PR is AUC-PR with each inactive counted as often as makes the prevalence pi_zero."""
    scores = score_tasks(sparse.csr_matrix(pair[0]), pair[1], pi_zero=pi_zero)
    for task in np.flatnonzero(scores.is_scored):
        active, score = of_task(pair, task)
        odds = (1 - pi_zero) / pi_zero * active.sum() / (~active).sum()
        weighted = metrics.precision_recall_curve(active, score, sample_weight=np.where(active, 1.0, odds))
        assert scores.auc_pr_calibrated[task] == pytest.approx(metrics.auc(weighted[1], weighted[0]), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(labels_and_logits())
def test_calibration_at_the_own_prevalence(pair: Tables):
    """With its own share of actives as pi_zero a task's calibrated AUC-PR is its AUC-PR; pi_zero may vary by task."""
    y = sparse.csr_matrix(pair[0])
    scores = score_tasks(y, pair[1])
    share = np.where(scores.is_scored, scores.n_active / np.maximum(scores.n_active + scores.n_inactive, 1), 0.5)
    calibrated = score_tasks(y, pair[1], pi_zero=share).auc_pr_calibrated
    np.testing.assert_allclose(calibrated, scores.auc_pr, atol=1e-12)


def test_prevalence_is_capped_as_in_sparsechem():
    """A task with more than 99 % actives is calibrated as if it had 99 %."""
    active = np.arange(300) > 0
    score = np.linspace(0, 1, 300)[np.random.default_rng(3).permutation(300)]
    scores = score_labels(np.zeros(300, dtype=int), active, score, 1).auc_pr_calibrated[0]
    odds = 0.9 / 0.1 * 0.99 / 0.01
    precision, recall, _ = metrics.precision_recall_curve(active, score)
    with np.errstate(divide="ignore"):
        calibrated = 1 / (1 + (1 / precision - 1) * odds)
    assert scores == pytest.approx(metrics.auc(recall, calibrated), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=6), st.sampled_from([1, 10]))
def test_hit_rates_of_ties_are_the_mean_over_orders(labels: list[tuple[bool, int]], percent: int):
    """The share of actives among the first compounds of every order that the scores allow, one at least."""
    active, score = np.array([a for a, _ in labels]), np.array([s for _, s in labels], dtype=float)
    scores = score_labels(np.zeros(active.size, dtype=int), active, score, 1)
    found = getattr(scores, f"hit_rate_{percent}")[0]
    if not 0 < active.sum() < active.size:
        assert np.isnan(found)
        return
    orders = [list(order) for order in itertools.permutations(range(active.size))]
    falling = [order for order in orders if (np.diff(score[order]) <= 0).all()]
    n_picks = max(1, math.ceil(active.size * percent / 100))
    assert found == pytest.approx(np.mean([active[order[:n_picks]].mean() for order in falling]))


@pytest.mark.parametrize(("n", "percent", "n_picks"), [(100, 1, 1), (101, 1, 2), (250, 10, 25), (251, 10, 26)])
def test_a_hit_rate_is_of_whole_compounds(n: int, percent: int, n_picks: int):
    """A part of a compound is rounded up: precision at that many, by sorting."""
    rng = np.random.default_rng(n)
    active, score = rng.random(n) < 0.4, rng.normal(size=n)
    found = getattr(score_labels(np.zeros(n, dtype=int), active, score, 1), f"hit_rate_{percent}")[0]
    assert found == active[np.argsort(-score)[:n_picks]].mean()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda a: 0 < sum(a) < len(a)), st.integers(0, 99))
def test_bedroc_is_rdkits(active: list[bool], seed: int):
    """Without ties BEDROC is RDKit's at alpha 20."""
    score = np.random.default_rng(seed).permutation(len(active)).astype(float)
    ranked = [[flag] for _, flag in sorted(zip(score, active, strict=True), reverse=True)]
    scores = score_labels(np.zeros(len(active), dtype=int), np.array(active), score, 1)
    assert scores.bedroc[0] == pytest.approx(CalcBEDROC(ranked, 0, 20.0), abs=1e-9)


@pytest.mark.parametrize("best_first", [True, False])
def test_bedroc_is_from_0_to_1(*, best_first: bool):
    """Also of perfect and of worst rankings, where rounding would pass the ends."""
    for n_active, n_inactive in itertools.product(range(1, 30), range(1, 30)):
        active = np.r_[np.ones(n_active, dtype=bool), np.zeros(n_inactive, dtype=bool)]
        score = np.where(active == best_first, 1.0, 0.0) + np.linspace(0.5, 0, active.size)
        bedroc = score_labels(np.zeros(active.size, dtype=int), active, score, 1).bedroc[0]
        assert 0 <= bedroc <= 1
        assert bedroc == pytest.approx(float(best_first))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=6))
def test_bedroc_of_ties_is_the_mean_over_orders(labels: list[tuple[bool, int]]):
    """Tied compounds get the mean of RDKit's BEDROC over all orders of them."""
    active, score = np.array([a for a, _ in labels]), np.array([s for _, s in labels], dtype=float)
    scores = score_labels(np.zeros(active.size, dtype=int), active, score, 1).bedroc[0]
    if not 0 < active.sum() < active.size:
        assert np.isnan(scores)
        return
    orders = [list(order) for order in itertools.permutations(range(active.size))]
    falling = [order for order in orders if (np.diff(score[order]) <= 0).all()]
    values = [CalcBEDROC([[active[place]] for place in order], 0, 20.0) for order in falling]
    assert scores == pytest.approx(np.mean(values), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(labels_and_logits())
def test_expected_calibration_error(pair: Tables):
    """ECE is the plain sum over ten bins (low, high] of |share of actives - mean probability| times the bin's share."""
    scores = score_tasks(sparse.csr_matrix(pair[0]), pair[1])
    edges = np.linspace(0, 1, 11)
    for task in np.flatnonzero(scores.is_scored):
        active, score = of_task(pair, task)
        probability, wanted = expit(score), 0.0
        for low, high in itertools.pairwise(edges):
            inside = (probability > low) & (probability <= high)
            if inside.any():
                wanted += abs(active[inside].mean() - probability[inside].mean()) * inside.mean()
        assert scores.ece[task] == pytest.approx(wanted, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(labels_and_logits(), st.randoms(use_true_random=False))
def test_neither_order_nor_other_tasks_matter(pair: Tables, random):
    """Shuffled compounds, and a task alone, give the values of the whole table."""
    whole = score_tasks(sparse.csr_matrix(pair[0]), pair[1])
    rows = list(range(pair[0].shape[0]))
    random.shuffle(rows)
    shuffled = score_tasks(sparse.csr_matrix(pair[0][rows]), pair[1][rows])
    for name, column in whole.columns().items():
        np.testing.assert_allclose(shuffled.columns()[name], column, rtol=0, atol=1e-12)
        for task in range(pair[0].shape[1]):
            alone = score_tasks(sparse.csr_matrix(pair[0][:, [task]]), pair[1][:, [task]])
            np.testing.assert_allclose(alone.columns()[name][0], column[task], rtol=0, atol=1e-12)


def test_certain_predictions():
    """Infinite logits are ties like others and certain probabilities, right or wrong, also at exactly 0."""
    active = np.array([True, False, True, False])
    scores = score_labels(np.zeros(4, dtype=int), active, np.array([np.inf, np.inf, 0, -np.inf]), 1)
    assert scores.roc_auc[0] == metrics.roc_auc_score(active, [2, 2, 1, 0]) == 0.625
    assert scores.log_loss[0] == np.inf
    assert scores.brier[0] == pytest.approx((0 + 1 + 0.25 + 0) / 4)
    right = score_labels(np.zeros(2, dtype=int), active[:2], np.array([np.inf, -np.inf]), 1)
    assert (right.log_loss[0], right.brier[0], right.ece[0]) == (0, 0, 0)
    wrong = score_labels(np.zeros(2, dtype=int), active[:2], np.array([-np.inf, -np.inf]), 1)
    assert wrong.ece[0] == 0.5  # probability 0 belongs to the lowest bin


def test_means_count_what_is_left_out():
    """Tasks of one class do not enter the means but are counted."""
    y = sparse.csr_matrix(np.array([[1, 1, 0], [-1, 1, 0], [1, 1, 0]]))
    means = mean_scores(score_tasks(y, np.array([[0.9, 0.1, 0], [0.5, 0.2, 0], [0.4, 0.3, 0]])))
    assert (means.n_scored, means.n_unscored) == (1, 2)
    assert means.roc_auc == pytest.approx(0.5)
    assert means.average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_means_are_weighted():
    """Each task counts by its aggregation weight; one of weight 0 does not count at all."""
    y = np.array([[1, 1, 1], [-1, -1, 1], [1, -1, 1]])
    scores = score_tasks(sparse.csr_matrix(y), np.array([[0.9, 0.1, 0], [0.5, 0.2, 0], [0.4, 0.3, 0]]))
    means = mean_scores(scores, np.array([3.0, 1.0, 0.0]))
    assert means.log_loss == pytest.approx((3 * scores.log_loss[0] + scores.log_loss[1]) / 4)
    assert (means.n_scored, means.n_unscored) == (2, 0)
    with pytest.raises(BadLengths, match="aggregation_weight"):
        mean_scores(scores, np.ones(2))
    with pytest.raises(BadWeights, match=r"found -1\.0 for task 1"):
        mean_scores(scores, np.array([1.0, -1.0, np.nan]))


def test_nothing_to_score_gives_nan():
    """No label, no compound or no task gives NaN and a full count, not an error and not a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((4, 3), (0, 3), (4, 0)):
            means = mean_scores(score_tasks(sparse.csr_matrix(shape), np.zeros(shape)))
            assert all(np.isnan(getattr(means, name)) for name in METRICS)
            assert (means.n_scored, means.n_unscored) == (0, shape[1])


def test_wrong_predictions_are_refused():
    """Another shape, or NaN at an observed label, is refused; NaN elsewhere is not looked at."""
    y = sparse.csr_matrix(np.array([[1, 0], [-1, 1]]))
    with pytest.raises(BadLengths, match=r"logits .*\(2, 3\), .*\(2, 2\)"):
        score_tasks(y, np.zeros((2, 3)))
    with pytest.raises(BadPredictions, match="1 predictions are NaN"):
        score_tasks(y, np.array([[np.nan, 0], [0, 0]]))
    assert score_tasks(y, np.array([[1, np.nan], [0, 0]])).roc_auc[0] == 1


def test_wrong_tables_are_refused():
    """Labels other than +-1 (a stored 0 too), unequal lengths, tasks out of range and odd prevalences are refused."""
    stored_zero = sparse.csr_matrix(([0.0, 1.0], ([0, 1], [0, 0])), shape=(2, 1))
    with pytest.raises(BadLabels, match="1 labels are not"):
        score_tasks(stored_zero, np.zeros((2, 1)))
    task, active = np.array([0, 1]), np.array([True, False])
    with pytest.raises(BadLengths, match="expected one length"):
        score_labels(task, active, np.zeros(3), 2)
    with pytest.raises(BadLengths, match="expected 0 to 0"):
        score_labels(task, active, np.zeros(2), 1)
    for pi_zero in (0.0, 1.0, np.nan):
        with pytest.raises(BadPrevalence):
            score_labels(task, active, np.zeros(2), 2, pi_zero=pi_zero)
    with pytest.raises(BadLengths, match="pi_zero"):
        score_labels(task, active, np.zeros(2), 2, pi_zero=np.array([0.1, 0.1, 0.1]))


def test_columns_are_the_table():
    """The table has a column per metric and the two counts, each with a value per task."""
    columns = score_tasks(sparse.csr_matrix(ONE_CLASS[0]), ONE_CLASS[1]).columns()
    assert set(columns) == {*METRICS, "n_active", "n_inactive"}
    assert all(column.shape == (2,) for column in columns.values())


def _sparsechem(shared: Path) -> tuple[TaskScores, dict[str, dict[str, float]], dict[str, float]]:
    golden = shared / "golden" / "sparsechem"
    rows = np.load(golden / "folding.npy") == 1
    y = sparse.csr_matrix(sparse.load_npz(golden / "y_class.npz"))[rows]
    stored = json.loads((golden / "model" / "ref.json").read_text())["validation"]
    logits = logit(np.load(golden / "model" / "pred-class.npy")[rows].astype(np.float64))
    return score_tasks(y, logits), json.loads(stored["classification"]), json.loads(stored["classification_agg"])


def test_equal_to_sparsechem(shared: Path):
    """SparseChem's own validation table of its own model, per task and aggregated, comes out of its predictions."""
    scores, tasks, means = _sparsechem(shared)
    names = {
        "roc_auc": "roc_auc_score", "average_precision": "avg_prec_score", "auc_pr": "auc_pr",
        "auc_pr_calibrated": "auc_pr_cal", "f1_max": "f1_max", "kappa_max": "kappa_max", "log_loss": "bceloss",
        "brier": "brier", "ece": "ece", "n_active": "num_pos", "n_inactive": "num_neg",
    }  # fmt: skip
    aggregated = mean_scores(scores, np.ones(scores.n_active.size))
    for ours, theirs in names.items():
        np.testing.assert_allclose(scores.columns()[ours], list(tasks[theirs].values()), atol=2e-6, err_msg=ours)
        if ours in METRICS:
            assert getattr(aggregated, ours) == pytest.approx(means[theirs], abs=2e-6)
