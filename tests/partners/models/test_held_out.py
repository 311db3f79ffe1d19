"""Scores of a model on the two folds that it was not trained on, and the gate between two such models."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from data_prep.settings import Activities, Preparation, Regression
from partners.errors import BadFolds, BadLengths
from partners.models.applicability import evaluate_domain
from partners.models.held_out import (
    EvaluatedModel,
    evaluate_outputs,
    pass_gate,
    probability_calibration,
    value_calibration,
)
from partners.network.inference import Outputs, predict
from partners.network.state import PartnerState
from partners.network.trunk import initial_trunk, trunk_layout
from partners.scores.gate import GateSettings, decide_gate
from partners.scores.scores import score_tasks
from partners.settings import Training, TrunkSettings
from partners.training.partner_data import PartnerData
from partners.training.training import train_round
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from tests.support.partners.prepared_matrices import prepared_matrices

PREPARED = prepared_matrices(n_compounds=300, n_tasks=14)
TRAINING = Training(batch_size=32, regression_weight=0.5, seed=5)
PREPARATION = Preparation(
    activities=replace(Activities(), evaluation_min_active=1, evaluation_min_inactive=1),
    regression=replace(Regression(), evaluation_min_exact=2),
)
LAYOUT, TRUNK = trunk_layout(64, (8,)), TrunkSettings(hidden=(8,))
OWN = PartnerData(training_set(PREPARED, PREPARATION.folds, TRAINING), TRAINING, "digest")


def trained(seed: int) -> tuple[np.ndarray, PartnerState]:
    """A trunk with its heads after a few steps."""
    first = initial_trunk(LAYOUT, seed)
    result = train_round(OWN.training_set, first, None, LAYOUT, TRUNK, TRAINING, seed, 5)
    return first + result.trunk_change, result.state


def evaluated(seed: int, preparation: Preparation = PREPARATION) -> EvaluatedModel:
    """Scores of a trained network on both folds."""
    data, (trunk, state) = OWN.training_set, trained(seed)
    test, validation = (
        predict(data.x[data.rows_of(fold)], trunk, state, LAYOUT, TRUNK, TRAINING)
        for fold in (data.test_fold, data.validation_fold)
    )
    return evaluate_outputs(OWN, preparation, test, validation)


@pytest.mark.parametrize("side", ["test", "validation"])
def test_predictions_at_measurements_are_the_models(side: str):
    """Labels, exact values and the predictions for them, each once; scores are scikit-learn's."""
    data, scores = OWN.training_set, getattr(evaluated(1), side)
    rows = data.rows_of(getattr(data, f"{side}_fold"))
    trunk, state = trained(1)
    outputs = predict(data.x[rows], trunk, state, LAYOUT, TRUNK, TRAINING)
    labels = data.y[rows].tocoo()
    np.testing.assert_array_equal(scores.labels.task, labels.col)
    np.testing.assert_array_equal(scores.labels.active, labels.data > 0)
    np.testing.assert_array_equal(scores.labels.probability, outputs.probabilities[labels.row, labels.col])
    values, marks = data.y_regr[rows].tocoo(), data.y_censor[rows].tocoo()
    exact = marks.data == 0
    np.testing.assert_array_equal(scores.values.task, values.col[exact])
    np.testing.assert_array_equal(scores.values.measured, values.data[exact])
    np.testing.assert_array_equal(scores.values.predicted, outputs.values[values.row, values.col][exact])
    for task in range(data.n_tasks):
        of_task = scores.labels.task == task
        expected = average_precision_score(scores.labels.active[of_task], scores.labels.probability[of_task])
        assert scores.tasks.average_precision[task] == pytest.approx(expected, abs=1e-6)


def outputs_of(data: TrainingSet, fold: int, seed: int) -> Outputs:
    """Outputs of no network at all: random numbers for the labelled compounds of a fold."""
    rng, n_rows = np.random.default_rng(seed), data.rows_of(fold).size
    logits, values = (rng.normal(size=(n_rows, n)).astype(np.float32) for n in (data.n_tasks, data.n_regressions))
    return Outputs(logits, values)


def test_any_models_outputs_are_scored():
    """Scores, labels, values and domain are of the outputs as they are, whatever made them."""
    data = OWN.training_set
    test, validation = (outputs_of(data, fold, fold) for fold in (data.test_fold, data.validation_fold))
    model = evaluate_outputs(OWN, PREPARATION, test, validation)
    for scores, outputs, fold in (
        (model.test, test, data.test_fold),
        (model.validation, validation, data.validation_fold),
    ):
        rows = data.rows_of(fold)
        expected = score_tasks(data.y[rows], outputs.logits)
        np.testing.assert_array_equal(scores.tasks.average_precision, expected.average_precision)
        labels = data.y[rows].tocoo()
        np.testing.assert_array_equal(scores.labels.probability, outputs.probabilities[labels.row, labels.col])
    domain = evaluate_domain(data, validation, test)
    np.testing.assert_array_equal(model.domain.efficiency, domain.efficiency)
    np.testing.assert_array_equal(model.domain.width, domain.width)


def test_outputs_of_other_rows_are_refused():
    """Outputs that lack a compound of the fold do not fit its labels."""
    data = OWN.training_set
    test, validation = (outputs_of(data, fold, fold) for fold in (data.test_fold, data.validation_fold))
    with pytest.raises(BadLengths, match="expected"):
        evaluate_outputs(OWN, PREPARATION, Outputs(test.logits[1:], test.values[1:]), validation)


def test_a_task_below_the_preparations_quorum_is_not_scored():
    """The smaller of the two quorums of classification counts, and the exact values of regression."""
    strict = Preparation(
        activities=replace(Activities(), evaluation_min_active=1000, evaluation_min_inactive=2000),
        regression=replace(Regression(), evaluation_min_exact=1000),
    )
    scores = evaluated(1, strict).test
    assert np.isnan(scores.tasks.roc_auc).all()
    assert np.isnan(scores.regression_tasks.r2).all()
    assert np.isfinite(evaluated(1).test.tasks.roc_auc).all()


def test_without_a_compound_on_the_test_fold_nothing_is_scored():
    """An empty fold raises BadFolds, as in every evaluation."""
    data = OWN.training_set
    folding = np.where(data.folding == data.test_fold, 3, data.folding)
    own = replace(OWN, training_set=replace(data, folding=folding))
    test, validation = (outputs_of(own.training_set, fold, fold) for fold in (data.test_fold, data.validation_fold))
    with pytest.raises(BadFolds):
        evaluate_outputs(own, PREPARATION, test, validation)


def test_the_gate_compares_average_precision_by_assay():
    """The gate uses the validation fold without the auxiliary task, and draws the thresholds of an assay together."""
    local, federated = evaluated(1), evaluated(2)
    settings = GateSettings(keep="better")
    result = pass_gate(PREPARED, OWN, settings, local=local, federated=federated)
    before, after = (model.validation.tasks.average_precision[:13] for model in (local, federated))
    assays = np.array([int(task.input_assay_id[1:]) for task in PREPARED.tasks[:13]])
    assert PREPARED.tasks[13].is_auxiliary
    assert result == decide_gate(before, after, settings, np.random.default_rng(TRAINING.seed), assays)
    assert result.n_tasks == 13
    assert np.isfinite(result.interval).all()


def test_calibration_is_over_the_scored_tasks_of_the_test_fold():
    """Every label and exact value of a scored task is in one bin; values are in deviations from the training mean."""
    model, data = evaluated(1), OWN.training_set
    is_scored = np.arange(data.n_tasks) < 3
    curve = probability_calibration(model, is_scored)
    labels = model.test.labels
    assert curve.n_entries.sum() == is_scored[labels.task].sum()
    assert (curve.n_entries * curve.observed).sum() == pytest.approx(labels.active[is_scored[labels.task]].sum())
    is_scored = np.arange(data.n_regressions) == 0
    curve, values = value_calibration(model, is_scored, data), model.test.values
    column = data.y_regr[data.training_rows].tocsc()[:, [0]].data.astype(np.float64)
    expected = (values.measured[values.task == 0] - column.mean()) / column.std()
    assert (curve.n_entries * curve.observed).sum() == pytest.approx(expected.sum(), abs=1e-4)
    assert curve.n_tasks.max() == 1
