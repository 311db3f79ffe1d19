"""Our vectorised scores against scikit-learn, task by task."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import average_precision_score, roc_auc_score

from partners.errors import BadLengths, BadPredictions
from partners.scores import mean_scores, score_tasks


@st.composite
def _labels_and_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, n_tasks = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    y = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n * n_tasks, max_size=n * n_tasks))
    # few distinct values: ties everywhere
    score = draw(st.lists(st.integers(0, 6), min_size=n * n_tasks, max_size=n * n_tasks))
    return np.reshape(y, (n, n_tasks)), np.reshape(score, (n, n_tasks)) / np.float32(6)


@given(_labels_and_scores(), st.integers(0, 3))
def test_equal_to_scikit_learn(pair: tuple[np.ndarray, np.ndarray], min_per_class: int):
    """Every judged task has scikit-learn's AUC-ROC and average precision, ties included; the others NaN."""
    y, probability = pair
    scores = score_tasks(sparse.csr_matrix(y), probability, min_per_class)
    for task in range(y.shape[1]):
        seen = y[:, task] != 0
        active, score = y[seen, task] > 0, probability[seen, task]
        n_active, n_inactive = int(active.sum()), int((~active).sum())
        assert (scores.n_active[task], scores.n_inactive[task]) == (n_active, n_inactive)
        if min(n_active, n_inactive) < max(min_per_class, 1):
            assert np.isnan(scores.roc_auc[task])
            assert np.isnan(scores.average_precision[task])
        else:
            assert scores.roc_auc[task] == pytest.approx(roc_auc_score(active, score), abs=1e-12)
            assert scores.average_precision[task] == pytest.approx(average_precision_score(active, score), abs=1e-12)


def test_means_count_what_is_left_out():
    """Tasks of one class do not enter the means but are counted."""
    y = sparse.csr_matrix(np.array([[1, 1, 0], [-1, 1, 0], [1, 1, 0]]))
    means = mean_scores(score_tasks(y, np.array([[0.9, 0.1, 0], [0.5, 0.2, 0], [0.4, 0.3, 0]])))
    assert (means.n_scored, means.n_unscored) == (1, 2)
    assert means.roc_auc == pytest.approx(0.5)
    assert means.average_precision == pytest.approx(roc_auc_score([1, 0], [1, 0]) * (1 + 2 / 3) / 2)


def test_nothing_to_score_gives_nan():
    """No label at all gives NaN and a full count, not an error."""
    means = mean_scores(score_tasks(sparse.csr_matrix((4, 3)), np.zeros((4, 3))))
    assert np.isnan(means.roc_auc)
    assert np.isnan(means.average_precision)
    assert (means.n_scored, means.n_unscored) == (0, 3)


def test_wrong_predictions_are_refused():
    """Another shape, or NaN at an observed label, is refused; NaN elsewhere is not looked at."""
    y = sparse.csr_matrix(np.array([[1, 0], [-1, 1]]))
    with pytest.raises(BadLengths, match="found logits of shape"):
        score_tasks(y, np.zeros((2, 3)))
    with pytest.raises(BadPredictions, match="1 predictions are NaN"):
        score_tasks(y, np.array([[np.nan, 0], [0, 0]]))
    assert score_tasks(y, np.array([[1, np.nan], [0, 0]])).roc_auc[0] == 1


def test_many_tasks_are_quick():
    """Two thousand tasks with 200,000 labels are scored in well under a second of processor time."""
    rng = np.random.default_rng(0)
    y = sparse.random(5000, 2000, 0.02, format="csr", rng=rng)
    y.data = np.where(y.data > 0.5, 1.0, -1.0)
    probability = rng.random((5000, 2000), dtype=np.float32)
    begin = time.process_time()
    means = mean_scores(score_tasks(y, probability))
    assert time.process_time() - begin < 2
    assert means.roc_auc == pytest.approx(0.5, abs=0.01)
