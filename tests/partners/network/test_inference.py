"""Predictions and evaluation of a fold."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score, log_loss, r2_score, roc_auc_score, root_mean_squared_error

from partners.errors import BadFeatures, BadFolds, FeatureCountMismatch, StateMismatch, TrunkMismatch
from partners.network.inference import Predictor, logistic, predict
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, PartnerState
from partners.settings import TrunkSettings
from partners.training.evaluation import evaluate, score_outputs
from partners.training.training import train_round
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk

_DATA = small_set(7, n_compounds=300)
_LAYOUT, _FIRST, _SETTINGS = small_trunk(16, 8)
_RESULT = train_round(_DATA, _FIRST, None, _LAYOUT, _SETTINGS, TRAINING, 0, 80)
_TRUNK = _FIRST + _RESULT.trunk_change
_MODEL = (_TRUNK, _RESULT.state, _LAYOUT, _SETTINGS, TRAINING)


def test_probabilities_equal_plain_numpy():
    """The probabilities are the network's formula in float64 to 1e-6; dropout is off."""
    views = _LAYOUT.views(_TRUNK.astype(np.float64))
    hidden = np.maximum(_DATA.x.toarray() @ views["trunk.0.weight"] + views["trunk.0.bias"], 0)
    hidden = np.maximum(hidden @ views["trunk.1.weight"].T + views["trunk.1.bias"], 0)
    logits = hidden @ _RESULT.state.heads[HEAD_WEIGHT].T + _RESULT.state.heads[HEAD_BIAS]
    outputs = predict(_DATA.x, *_MODEL).probabilities
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, 1 / (1 + np.exp(-logits)), atol=1e-6)


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_by_one_equals_in_bulk(monkeypatch: pytest.MonkeyPatch, n_threads: int, counts: bool):  # noqa: FBT001
    """Alone, among others, or in another order: the same bits; in blocks of another size to 1e-6."""
    model = (*_MODEL[:-1], dataclasses.replace(TRAINING, n_threads=n_threads))
    x = _DATA.x.copy()
    if counts:
        x.data = np.random.default_rng(1).integers(1, 4, x.nnz).astype(np.float32)
        x.data[: x.indptr[_DATA.n_compounds // 2]] = 1  # a block of ones only takes another way
    predictor = Predictor(*model)
    bulk = predictor(x).logits
    single = np.concatenate([predictor(x[i]).logits for i in range(_DATA.n_compounds)])
    np.testing.assert_array_equal(single, bulk)
    order = np.random.default_rng(2).permutation(_DATA.n_compounds)
    np.testing.assert_array_equal(predictor(x[order]).logits, bulk[order])
    monkeypatch.setattr("partners.network.inference._BLOCK", 7)
    np.testing.assert_allclose(predict(x, *model).logits, bulk, atol=1e-6)


def test_values_are_the_same_alone():
    """A regression task's values have the same bits alone and among others."""
    data = hybrid_set(3)
    state = train_round(data, _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 5).state
    predictor = Predictor(_TRUNK, state, _LAYOUT, _SETTINGS, TRAINING)
    single = np.concatenate([predictor(data.x[i]).values for i in range(data.n_compounds)])
    np.testing.assert_array_equal(single, predictor(data.x).values)


def test_empty_inputs():
    """No compound gives no row; a compound without any bit gets the biases' prediction, not an error."""
    assert predict(_DATA.x[:0], *_MODEL).probabilities.shape == (0, _DATA.n_tasks)
    blank = predict(sparse.csr_matrix((2, _DATA.n_inputs)), *_MODEL).probabilities
    assert np.isfinite(blank).all()
    np.testing.assert_array_equal(blank[0], blank[1])


def test_wrong_inputs_are_refused():
    """Other features, values that are not finite, another trunk or another partner's heads are refused."""
    with pytest.raises(FeatureCountMismatch):
        predict(_DATA.x[:, :-1], *_MODEL)
    broken = _DATA.x.copy()
    broken.data[0] = np.nan
    with pytest.raises(BadFeatures):
        predict(broken, *_MODEL)
    with pytest.raises(TrunkMismatch):
        predict(_DATA.x, _TRUNK[1:], *_MODEL[1:])
    with pytest.raises(TrunkMismatch):
        predict(_DATA.x, _TRUNK, _RESULT.state, _LAYOUT, TrunkSettings(hidden=(9,)), TRAINING)
    heads = {HEAD_WEIGHT: np.zeros((7, 5), np.float32), HEAD_BIAS: np.zeros(7, np.float32)}
    state = PartnerState(heads, _RESULT.state.first_moment, _RESULT.state.second_moment, 0)
    with pytest.raises(StateMismatch):
        predict(_DATA.x, _TRUNK, state, *_MODEL[2:])


def test_the_logistic_function_never_overflows():
    """Logits of any size give probabilities in [0, 1], to float32."""
    logits = np.array([-1e30, -100, -1.5, 0, 1.5, 100, 1e30], dtype=np.float32)
    expected = [0, 0, 1 / (1 + np.exp(1.5)), 0.5, 1 / (1 + np.exp(-1.5)), 1, 1]
    np.testing.assert_allclose(logistic(logits), expected, atol=1e-7)
    assert logistic(logits).dtype == np.float32


def test_evaluation_equals_scikit_learn():
    """Loss and mean AUC-ROC, average precision and log loss of the validation fold are scikit-learn's."""
    evaluation = evaluate(_DATA, 1, *_MODEL)
    rows = np.flatnonzero((_DATA.folding == 1) & (np.diff(_DATA.y.indptr) > 0))
    np.testing.assert_array_equal(evaluation.rows, rows)
    y, probability = _DATA.y[rows].toarray(), predict(_DATA.x[rows], *_MODEL).probabilities.astype(np.float64)
    np.testing.assert_allclose(evaluation.probabilities, probability, atol=1e-7)
    aucs, precisions, losses, loss = [], [], [], 0.0
    for task in range(_DATA.n_tasks):
        seen = y[:, task] != 0
        active, score = y[seen, task] > 0, probability[seen, task]
        loss += _DATA.training_weight[task] * log_loss(active, score, labels=[False, True], normalize=False)
        if 0 < active.sum() < active.size:
            aucs.append(roc_auc_score(active, score))
            precisions.append(average_precision_score(active, score))
            losses.append(log_loss(active, score))
    assert evaluation.mean.n_scored == len(aucs) > 3
    assert evaluation.mean.roc_auc == pytest.approx(np.mean(aucs))
    assert evaluation.mean.average_precision == pytest.approx(np.mean(precisions))
    assert evaluation.mean.log_loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert evaluation.loss == pytest.approx(loss / rows.size, rel=1e-5)
    assert evaluation.mean.roc_auc > 0.6


def test_regression_scores_are_scikit_learns_in_original_units():
    """RMSE and R2 of the validation fold over exact values, whatever the normalisation of training."""
    data = hybrid_set(3)
    result = train_round(data, _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 20)
    trunk = _TRUNK + result.trunk_change
    evaluation = evaluate(data, 1, trunk, result.state, _LAYOUT, _SETTINGS, TRAINING)
    predicted = predict(data.x, trunk, result.state, _LAYOUT, _SETTINGS, TRAINING).values
    values, marks = data.y_regr.tocoo(), data.y_censor.data
    errors = []
    for task in range(data.n_regressions):
        seen = (values.col == task) & (marks == 0) & (data.folding[values.row] == 1)
        guess = predicted[values.row[seen], task]
        errors.append(root_mean_squared_error(values.data[seen], guess))
        assert evaluation.regression_tasks.r2[task] == pytest.approx(r2_score(values.data[seen], guess), rel=1e-4)
    np.testing.assert_allclose(evaluation.regression_tasks.rmse, errors, rtol=1e-5)
    assert evaluation.regression_mean.rmse.value == pytest.approx(np.mean(errors), rel=1e-5)


def test_means_are_weighted_by_the_sets_aggregation_weights():
    """Tasks of weight 0 are in the table and not in the mean, of either kind."""
    data = dataclasses.replace(hybrid_set(3), aggregation_weight=np.eye(7)[2], regr_aggregation_weight=np.eye(4)[1] * 3)
    state = train_round(data, _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 5).state
    evaluation = evaluate(data, 1, _TRUNK, state, _LAYOUT, _SETTINGS, TRAINING)
    assert evaluation.mean.roc_auc == evaluation.tasks.roc_auc[2] != evaluation.tasks.roc_auc[0]
    assert evaluation.regression_mean.r2.value == evaluation.regression_tasks.r2[1] != evaluation.regression_tasks.r2[0]
    assert np.isfinite(evaluation.regression_tasks.r2).all()


def test_quorums_of_evaluation():
    """A task with fewer labels or exact values than asked for is not scored."""
    data = hybrid_set(3)
    state = train_round(data, _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 1).state
    evaluation = evaluate(data, 1, _TRUNK, state, _LAYOUT, _SETTINGS, TRAINING)
    n_exact = evaluation.regression_tasks.n_exact
    least = int(n_exact.max())
    tasks, errors = score_outputs(data, evaluation.rows, evaluation.outputs, min_per_class=10**6, min_measured=least)
    np.testing.assert_array_equal(np.isfinite(errors.rmse), n_exact == least)
    assert not np.isfinite(tasks.roc_auc).any()


def test_a_fold_without_labels_is_refused():
    """A fold without compounds cannot be evaluated."""
    with pytest.raises(BadFolds, match=r"^fold 17: .*compound"):
        evaluate(_DATA, 17, *_MODEL)
