"""Which kind of model is chosen for an assay, and what the choice depends on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score

from partners.assay_models import choice
from partners.assay_models.assays import Assay
from partners.assay_models.choice import Choice, choose
from partners.assay_models.fitting import choose_kinds
from partners.assay_models.yardstick import Yardstick
from tests.support.partners.made_up_assays import FOLDS, TRAINING, made_up_assays, own_data, random_inputs

KINDS = {"gaussian process", "forest", "mean"}


def assay(n: int, *, marks: np.ndarray | None = None, tasks: tuple[int, ...] = (0,)) -> Assay:
    """A made-up assay on the first n compounds, whose values depend on the first bits."""
    values = 6 + random_inputs(1, n).bits.toarray()[:, :8] @ np.linspace(-1, 1, 8) if n else np.zeros(0)
    none = np.zeros(n, np.int8) if marks is None else marks
    return Assay("A", np.arange(n), values, none, tasks, (1,) * len(tasks), None)


def labels_of(values: np.ndarray) -> sparse.csc_matrix:
    """One task, whose actives are above the median."""
    return sparse.csc_matrix(np.where(values > np.median(values), 1.0, -1.0)[:, None])


def chosen(tried: Assay, folding: np.ndarray | None = None) -> Choice:
    """The choice for a made-up assay, by default in three folds."""
    y = labels_of(tried.values) if tried.rows.size else sparse.csc_matrix((0, 1))
    folds = np.arange(tried.rows.size) % 3 if folding is None else folding
    return choose(tried, random_inputs(1, tried.rows.size), y, folds, 0)


@pytest.mark.parametrize("n", [0, 1, choice.FEWEST_VALUES - 1])
def test_with_too_few_values_it_is_the_network(n: int):
    """The reason says how many there are."""
    found = chosen(assay(n))
    assert found.kind == "network"
    assert str(n) in found.reason


def test_if_all_values_are_equal_it_is_the_network():
    """Neither process nor forest can learn from them."""
    assert chosen(replace(assay(60), values=np.full(60, 5.0))).kind == "network"


def test_what_is_too_large_for_a_gaussian_process_is_a_forest(monkeypatch: pytest.MonkeyPatch):
    """Nothing is fitted to find out."""
    monkeypatch.setattr(choice, "MOST_ROWS", 50)
    monkeypatch.setattr(choice, "predicted_out_of_fold", None)
    found = chosen(assay(51))
    assert found.kind == "forest"
    assert "51" in found.reason


@pytest.mark.parametrize(("n", "n_folds"), [(60, 1), (choice.FEWEST_TO_TRY - 1, 3)])
def test_what_cannot_be_compared_is_the_mean(n: int, n_folds: int, monkeypatch: pytest.MonkeyPatch):
    """With one training fold, or too few values, nothing is fitted to find out."""
    monkeypatch.setattr(choice, "predicted_out_of_fold", None)
    assert chosen(assay(n), np.arange(n) % n_folds).kind == "mean"


def test_else_the_kinds_are_compared():
    """The choice is one of them, and the reason names them all; the same seed gives the same again."""
    found = chosen(assay(60))
    assert found.kind in KINDS
    assert all(kind in found.reason for kind in KINDS)
    assert chosen(assay(60)) == found


@pytest.mark.parametrize("tasks", [(), (0,)])
@pytest.mark.parametrize("mark", [-1, 1])
def test_bounds_alone_are_no_obstacle(tasks: tuple[int, ...], mark: int):
    """An assay in which no value is exact gets a kind too, with and without classification tasks."""
    assert chosen(assay(60, marks=np.full(60, mark, np.int8), tasks=tasks)).kind in KINDS


def score(scored: Assay, y: sparse.csc_matrix, predicted: np.ndarray) -> float:
    """What the choice compares."""
    return Yardstick.of(scored, y[:, list(scored.tasks)][scored.rows]).score_all(predicted)


def test_the_score_is_the_mean_average_precision_of_the_tasks():
    """scikit-learn's, over the assay's labels alone; of low actives the order is turned round."""
    rng = np.random.default_rng(0)
    rows = np.array([1, 4, 5, 8, 9, 11])
    y = sparse.csc_matrix(np.where(rng.random((12, 2)) < 0.5, 1.0, -1.0))
    predicted = rng.normal(size=6)
    scored = Assay("A", rows, rng.normal(size=6), np.zeros(6, np.int8), (0, 1), (1, -1), None)
    expected = [
        average_precision_score(y.toarray()[rows, task] > 0, sign * predicted) for task, sign in ((0, 1), (1, -1))
    ]
    assert score(scored, y, predicted) == pytest.approx(np.mean(expected), abs=1e-6)


def test_without_tasks_the_score_is_the_correlation():
    """Over exact values alone; 0 if either does not vary."""
    rng = np.random.default_rng(0)
    values, predicted, marks = rng.normal(size=20), rng.normal(size=20), np.int8([0, 0, 0, 1] * 5)
    scored = Assay("A", np.arange(20), values, marks, (), (), 0)
    exact, none = marks == 0, sparse.csc_matrix((20, 0))
    expected = np.corrcoef(values[exact], predicted[exact])[0, 1]
    assert score(scored, none, predicted) == pytest.approx(expected)
    assert score(scored, none, np.ones(20)) == 0
    assert score(replace(scored, marks=np.ones(20, np.int8)), none, predicted) == 0


def test_with_one_class_alone_the_score_is_the_correlation():
    """A task without inactives says nothing; the values do."""
    rng = np.random.default_rng(0)
    values, predicted = rng.normal(size=20), rng.normal(size=20)
    scored = Assay("A", np.arange(20), values, np.zeros(20, np.int8), (0,), (1,), 0)
    expected = np.corrcoef(values, predicted)[0, 1]
    assert score(scored, sparse.csc_matrix(np.ones((20, 1))), predicted) == pytest.approx(expected)


@pytest.mark.parametrize("fold", [FOLDS.test, FOLDS.validation])
def test_the_choice_does_not_depend_on_held_out_labels(fold: int):
    """Other labels, values and marks of a held-out fold's compounds: the same kinds and reasons."""
    prepared = made_up_assays()
    own, rng = own_data(prepared), np.random.default_rng(0)
    held_out = prepared.folding == fold
    y, marks, values = own.data.y.copy(), own.data.y_censor.copy(), own.data.y_regr.copy()
    y.data[held_out[_rows(y)]] *= -1
    values.data[held_out[_rows(values)]] += rng.normal(size=held_out[_rows(values)].sum())
    marks.data[held_out[_rows(values)]] = 0
    data = replace(own.data, y=y, y_regr=values, y_censor=marks)
    assays = tuple(
        replace(
            scored,
            values=np.where(held_out[scored.rows], rng.normal(size=scored.rows.size), scored.values),
            marks=np.where(held_out[scored.rows], 1, scored.marks).astype(np.int8),
        )
        for scored in own.assays
    )
    found = choose_kinds(own)
    assert choose_kinds(replace(own, data=data, assays=assays)) == found
    assert {chosen_kind.kind for chosen_kind in found} > {"network"}
    assert TRAINING.regression_weight > 0


def _rows(matrix: sparse.csr_matrix) -> np.ndarray:
    """The row of every stored number."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
