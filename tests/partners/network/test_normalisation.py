"""Regression tasks are normalised by mean and deviation, and predictions converted back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from partners.network.normalisation import in_original_units, normalisation_of, normalised
from partners.settings import RegressionHead, Training
from partners.training.evaluation import evaluate
from partners.training.training import train_round
from partners.training_data.training_set import TrainingSet
from tests.support.partners.synthetic import hybrid_set, small_trunk


def _set(columns: list[list[float | None]]) -> TrainingSet:
    """Values by task, None not measured; two more compounds with wild values are in the held-out folds."""
    n = len(columns[0])
    dense = [(row, task, value) for task, column in enumerate(columns) for row, value in enumerate(column)]
    kept = [(row, task, value) for row, task, value in dense if value is not None]
    kept += [(n + fold, task, 1e6) for fold in (0, 1) for task in range(len(columns))]
    rows, tasks, values = (np.array(part) for part in zip(*kept, strict=True))
    matrix = sparse.csr_matrix((values.astype(float), (rows, tasks)), shape=(n + 2, len(columns)))
    return TrainingSet(
        x=sparse.eye(n + 2, format="csr"),
        y=sparse.csr_matrix(np.ones((n + 2, 1))),
        folding=np.array([2] * n + [0, 1]),
        training_weight=np.ones(1),
        y_regr=matrix,
    )


_VALUE = st.none() | st.floats(-1e3, 1e3, width=32)


@settings(deadline=None)
@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(_VALUE, min_size=n, max_size=n), min_size=1, max_size=3)))
def test_mean_and_deviation_are_numpys(columns: list[list[float | None]]):
    """They are those of the training folds alone, and 0 and 1 without a value or spread: always finite."""
    data = _set(columns)
    normalisation = normalisation_of(data, normalise=True)
    for task, column in enumerate(columns):
        values = np.array([value for value in column if value is not None], dtype=np.float32).astype(float)
        mean = values.mean() if values.size else 0
        spread = values.std() if values.size else 0
        assert normalisation["mean"][task] == pytest.approx(mean, rel=1e-6, abs=1e-6)
        expected = spread if spread > 1e-6 * max(abs(mean), 1) else 1
        assert normalisation["deviation"][task] == pytest.approx(expected, rel=1e-6)
    scaled = normalised(data.y_regr, normalisation)
    assert np.isfinite(scaled.data).all()
    dense = scaled[:-2].toarray()
    back = in_original_units(dense.astype(np.float32), normalisation)
    stored = data.y_regr[:-2].toarray() != 0
    np.testing.assert_allclose(back[stored], data.y_regr[:-2].toarray()[stored], rtol=1e-4, atol=1e-3)


def test_without_normalisation_nothing_changes():
    """Mean 0 and deviation 1 leave values and predictions to the bit."""
    data = hybrid_set()
    normalisation = normalisation_of(data, normalise=False)
    np.testing.assert_array_equal(normalised(data.y_regr, normalisation).data, data.y_regr.data)
    assert normalisation_of(_without_regression(data), normalise=True) == {}


def _without_regression(data: TrainingSet) -> TrainingSet:
    return TrainingSet(x=data.x, y=data.y, folding=data.folding, training_weight=data.training_weight)


@pytest.mark.parametrize("normalise", [True, False])
def test_predictions_are_in_original_units(normalise: bool):  # noqa: FBT001 -- a parameter
    """Shifting and stretching a task's values shifts and stretches its predictions; the loss is per deviation."""
    layout, trunk, settings = small_trunk(16)
    training = Training(regression_weight=0.5, batch_size=64, learning_rate=1e-2, normalise_regression=normalise)
    data = hybrid_set(5, n_compounds=300)
    values = data.y_regr.copy()
    values.data = values.data * 4 + 100
    predicted = []
    for each in (data, dataclasses.replace(data, y_regr=values)):
        result = train_round(each, trunk, None, layout, settings, training, 0, 60)
        predicted.append(evaluate(each, 1, trunk + result.trunk_change, result.state, layout, settings, training))
    assert np.isfinite(predicted[1].values).all()
    if normalise:
        np.testing.assert_allclose(predicted[1].values, predicted[0].values * 4 + 100, rtol=1e-3)
        assert predicted[1].loss == pytest.approx(predicted[0].loss, rel=1e-3)
    else:
        assert predicted[1].loss > 100 * predicted[0].loss


def test_evaluated_loss_is_the_training_loss_without_dropout():
    """On the validation fold, evaluate gives the loss a step with learning rate ~0 and no dropout reports."""
    data = hybrid_set(3)
    moved = dataclasses.replace(data, folding=np.where(data.folding == 1, 2, 3), validation_fold=2)
    layout, trunk, _ = small_trunk(16)
    settings = dataclasses.replace(small_trunk(16)[2], dropout=0.0)
    training = Training(batch_size=10**6, learning_rate=1e-30, regression_weight=0.3, regression=RegressionHead())
    state = train_round(data, trunk, None, layout, settings, training, 0, 1).state
    only_validation = dataclasses.replace(
        moved, folding=np.where(moved.folding == 2, 4, 0), validation_fold=1
    )  # the same rows, now to train on
    expected = train_round(only_validation, trunk, state, layout, settings, training, 0, 1).losses[0]
    assert evaluate(moved, 2, trunk, state, layout, settings, training).loss == pytest.approx(expected, rel=1e-5)


def test_constant_and_empty_tasks_train_and_predict_finite_numbers():
    """A constant task is predicted near its constant, one without values as finite numbers; nothing is NaN."""
    data = _set([[7.0] * 12, [None] * 12, [float(i) for i in range(12)]])
    layout, trunk, settings = small_trunk(8)
    wide = sparse.csr_matrix((data.x.data, data.x.indices, data.x.indptr), shape=(14, layout.n_inputs))
    data = dataclasses.replace(data, x=wide)
    training = Training(regression_weight=0.5, learning_rate=1e-2, batch_size=12)
    result = train_round(data, trunk, None, layout, settings, training, 0, 100)
    values = evaluate(data, 1, trunk + result.trunk_change, result.state, layout, settings, training).values
    assert np.isfinite(values).all()
    assert abs(values[0, 0] - 7) < 1
