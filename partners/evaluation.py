"""How good a trunk and its heads are on one fold; for tracking by round and for reports."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadFolds
from partners.predict import logistic, predict_logits
from partners.scores import MeanScores, TaskScores, mean_scores, score_tasks
from partners.settings import Training, TrunkSettings
from partners.state import PartnerState
from partners.training import check_fit
from partners.training_set import TrainingSet
from partners.trunk import TrunkLayout


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Loss and scores on one fold."""

    loss: float  # weighted sum over observed labels per compound, as in training, dropout off
    mean: MeanScores
    tasks: TaskScores
    probabilities: NDArray[np.float32]  # (n_rows, n_tasks)
    rows: NDArray[np.int64]  # (n_rows,) which compounds of the training set


def evaluate(
    training_set: TrainingSet,
    fold: int,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    min_per_class: int = 1,
) -> Evaluation:
    """Evaluate on the labelled compounds of one fold.

    Raises BadFolds when the fold has none, and what `predict` raises.
    """
    check_fit(training_set, trunk, layout, trunk_settings)
    rows = training_set.rows_of(fold)
    if rows.size == 0:
        raise BadFolds(f"fold {fold}: found no labelled compound, expected at least one to evaluate on")
    logits = predict_logits(training_set.x[rows], trunk, state, layout, trunk_settings, training)
    y = training_set.y[rows]
    probabilities = logistic(logits)
    tasks = score_tasks(y, logits, min_per_class)  # logits: probabilities of 1 - 1e-9 would tie
    return Evaluation(_loss(y, logits, training_set), mean_scores(tasks), tasks, probabilities, rows)


def _loss(y: sparse.csr_matrix, logits: NDArray[np.float32], training_set: TrainingSet) -> float:
    labels = y.tocoo()
    margin = labels.data * logits[labels.row, labels.col].astype(np.float64)
    weight = training_set.training_weight[labels.col].astype(np.float64)
    return float((weight * np.logaddexp(0.0, -margin)).sum() / y.shape[0])
