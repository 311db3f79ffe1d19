"""Loss and scores of a trunk with its heads on one fold, for tracking by round and for reports."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadFolds
from partners.network.batches import loss_weights
from partners.network.inference import Outputs, predict
from partners.network.state import DEVIATION, Arrays, PartnerState
from partners.network.trunk import TrunkLayout
from partners.scores.regression_scores import RegressionMetrics, TaskErrors, mean_errors, score_regression
from partners.scores.scores import MeanScores, TaskScores, mean_scores, score_tasks
from partners.scores.task_means import TaskMean
from partners.settings import Training, TrunkSettings
from partners.training.training import check_fit
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Loss, scores and predictions on one fold."""

    loss: float  # weighted sum over observed labels and values per compound, as in training, without dropout
    mean: MeanScores  # of classification, by aggregation weight
    tasks: TaskScores  # of classification, by task
    regression_mean: RegressionMetrics[TaskMean]  # by aggregation weight
    regression_tasks: TaskErrors  # in original units
    outputs: Outputs  # (n_rows, n_tasks) and (n_rows, n_regressions)
    rows: NDArray[np.int64]  # (n_rows,) rows of the training set

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probabilities of being active, (n_rows, n_tasks)."""
        return self.outputs.probabilities

    @property
    def values(self) -> NDArray[np.float32]:
        """Predicted values in original units, (n_rows, n_regressions)."""
        return self.outputs.values


def evaluate(
    training_set: TrainingSet,
    fold: int,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Evaluation:
    """Evaluate on the labelled or measured compounds of one fold.

    Raises BadFolds if the fold has no such compound, and what `predict` raises.
    """
    check_fit(training_set, trunk, layout, trunk_settings)
    rows = labelled_rows(training_set, fold)
    outputs = predict(training_set.x[rows], trunk, state, layout, trunk_settings, training)
    tasks, errors = score_outputs(training_set, rows, outputs)
    return Evaluation(
        loss=_loss(training_set, rows, outputs, training, state.normalisation),
        mean=mean_scores(tasks, training_set.aggregation_weight),
        tasks=tasks,
        regression_mean=mean_errors(errors, training_set.regr_aggregation_weight),
        regression_tasks=errors,
        outputs=outputs,
        rows=rows,
    )


def labelled_rows(training_set: TrainingSet, fold: int) -> NDArray[np.int64]:
    """Rows of the labelled or measured compounds of one fold; raises BadFolds if it has none."""
    rows = training_set.rows_of(fold)
    if rows.size == 0:
        raise BadFolds(f"fold {fold}: found no labelled compound, expected at least one to evaluate on")
    return rows


def score_outputs(
    training_set: TrainingSet,
    rows: NDArray[np.int64],
    outputs: Outputs,
    *,
    min_per_class: int = 1,
    min_measured: int = 2,
) -> tuple[TaskScores, TaskErrors]:
    """Scores by task of any model's outputs, for classification and for regression.

    rows          : (n_rows,) of the training set
    outputs       : (n_rows, n_tasks) and (n_rows, n_regressions), of these rows
    min_per_class : actives, and inactives, that a scored classification task needs
    min_measured  : exact values that a scored regression task needs
    """
    # from logits: probabilities of 1 - 1e-9 would tie
    tasks = score_tasks(training_set.y[rows], outputs.logits, min_per_class)
    measured, censor = training_set.y_regr[rows], training_set.y_censor[rows]
    return tasks, score_regression(outputs.values, measured, censor, min_measured=min_measured)


def _loss(
    training_set: TrainingSet, rows: NDArray[np.int64], outputs: Outputs, training: Training, normalisation: Arrays
) -> float:
    class_weight, regr_weight = loss_weights(training_set, training)
    labels = training_set.y[rows].tocoo()
    margin = labels.data * outputs.logits[labels.row, labels.col].astype(np.float64)
    total = (class_weight[labels.col].astype(np.float64) * np.logaddexp(0.0, -margin)).sum()
    if training_set.n_regressions:
        total += _squares(training_set, rows, outputs.values, regr_weight, normalisation[DEVIATION])
    return float(total / rows.size)


def _squares(
    training_set: TrainingSet,
    rows: NDArray[np.int64],
    predicted: NDArray[np.float32],
    weight: NDArray[np.float32],
    deviation: NDArray[np.float32],
) -> float:
    """Sum of weighted censored squared errors, in units of each task's deviation, as in training."""
    values: sparse.coo_matrix = training_set.y_regr[rows].tocoo()
    mark, column = training_set.y_censor[rows].data, values.col
    miss = (values.data.astype(np.float64) - predicted[values.row, column]) / deviation[column]
    miss = np.where(mark == 0, miss, np.maximum(mark * miss, 0))
    factor = np.where(mark == 0, 1, training_set.censored_weight[column])
    return float((weight[column].astype(np.float64) * factor * miss**2).sum())
