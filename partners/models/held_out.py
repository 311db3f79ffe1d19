"""Scores of a model on the two folds that it was not trained on, and the gate between local and federated models."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared
from data_prep.settings import Preparation
from partners.models.applicability import Domain, evaluate_domain
from partners.network.inference import Outputs
from partners.network.normalisation import normalisation_of
from partners.network.state import DEVIATION, MEAN
from partners.scores.gate import GateResult, GateSettings, decide_gate
from partners.scores.regression_scores import TaskErrors
from partners.scores.reliability import Reliability, of_probabilities, of_values
from partners.scores.scores import TaskScores
from partners.training.evaluation import labelled_rows, score_outputs
from partners.training.partner_data import PartnerData
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Classification labels of a fold, and the model's predictions for them."""

    row: NDArray[np.int64]  # (n_labels,) of the training set
    task: NDArray[np.int64]  # (n_labels,)
    active: NDArray[np.bool_]  # (n_labels,)
    logit: NDArray[np.float64]  # (n_labels,) probabilities of 1 - 1e-9 would tie
    probability: NDArray[np.float64]  # (n_labels,) of being active


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Exact values measured on a fold, and the model's predictions for them."""

    task: NDArray[np.int64]  # (n_values,)
    measured: NDArray[np.float64]  # (n_values,) units of the assay
    predicted: NDArray[np.float64]  # (n_values,) the same


@dataclass(frozen=True, slots=True, eq=False)
class FoldScores:
    """Scores of one model on one fold, and its predictions where something was measured."""

    tasks: TaskScores
    regression_tasks: TaskErrors
    labels: Labels
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """Scores of one model on both folds that it was not trained on."""

    test: FoldScores
    validation: FoldScores
    domain: Domain


def evaluate_outputs(own: PartnerData, preparation: Preparation, test: Outputs, validation: Outputs) -> EvaluatedModel:
    """Scores of any model from its outputs for the labelled compounds of both folds, `TrainingSet.rows_of`.

    preparation : its quorums are the numbers of labels or values that a scored task needs in a fold
    Raises BadFolds if a fold has no labelled compound, and what scoring raises.
    """
    data = own.training_set
    return EvaluatedModel(
        _fold_scores(data, data.test_fold, test, preparation),
        _fold_scores(data, data.validation_fold, validation, preparation),
        evaluate_domain(data, validation, test),
    )


def pass_gate(
    prepared: Prepared, own: PartnerData, settings: GateSettings, *, local: EvaluatedModel, federated: EvaluatedModel
) -> GateResult:
    """Decide on the validation fold whether federation helped this partner.

    local, federated : the strongest local models and the take-home models
    """
    columns = [task.task_id for task in prepared.tasks if not task.is_auxiliary]
    assays = np.unique([prepared.tasks[column].input_assay_id for column in columns], return_inverse=True)[1]
    before, after = (model.validation.tasks.average_precision[columns] for model in (local, federated))
    return decide_gate(before, after, settings, np.random.default_rng(own.training.seed), assays)


def probability_calibration(model: EvaluatedModel, is_scored: NDArray[np.bool_]) -> Reliability:
    """How often a fold's labels are active by predicted probability: the test fold, over the scored tasks.

    is_scored : (n_tasks,)
    """
    labels = model.test.labels
    kept = is_scored[labels.task]
    return of_probabilities(labels.task[kept], labels.active[kept], labels.probability[kept])


def value_calibration(model: EvaluatedModel, is_scored: NDArray[np.bool_], data: TrainingSet) -> Reliability:
    """Measured against predicted values of the test fold, in deviations from each task's mean over the training folds.

    is_scored : (n_regressions,)
    """
    values, scale = model.test.values, normalisation_of(data, normalise=True)
    kept = is_scored[values.task]
    task = values.task[kept]
    measured, predicted = (
        (numbers[kept] - scale[MEAN][task]) / scale[DEVIATION][task] for numbers in (values.measured, values.predicted)
    )
    return of_values(task, measured, predicted)


def fewest_per_class(preparation: Preparation) -> int:
    """Actives, and inactives, that a scored task needs in a fold."""
    quorum = preparation.activities
    return max(1, min(quorum.evaluation_min_active, quorum.evaluation_min_inactive))


def _fold_scores(data: TrainingSet, fold: int, outputs: Outputs, preparation: Preparation) -> FoldScores:
    rows = labelled_rows(data, fold)
    tasks, errors = score_outputs(
        data,
        rows,
        outputs,
        min_per_class=fewest_per_class(preparation),
        min_measured=max(2, preparation.regression.evaluation_min_exact),
    )
    return FoldScores(tasks, errors, _labels(data, rows, outputs), _values(data, rows, outputs))


def _labels(data: TrainingSet, rows: NDArray[np.int64], outputs: Outputs) -> Labels:
    labels = data.y[rows].tocoo()
    logit, probability = (
        values[labels.row, labels.col].astype(np.float64) for values in (outputs.logits, outputs.probabilities)
    )
    return Labels(rows[labels.row], labels.col.astype(np.int64), labels.data > 0, logit, probability)


def _values(data: TrainingSet, rows: NDArray[np.int64], outputs: Outputs) -> Values:
    values, exact = data.y_regr[rows].tocoo(), data.y_censor[rows].data == 0
    row, column = values.row[exact], values.col[exact]
    return Values(
        column.astype(np.int64),
        values.data[exact].astype(np.float64),
        outputs.values[row, column].astype(np.float64),
    )
