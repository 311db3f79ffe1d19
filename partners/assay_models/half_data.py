"""Scores of the strongest local models fitted on half of the partner's measurements: a step of its learning curve.

What the second half brought tells what as many measurements more would bring, and so how many the federation is worth.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.assays import Assay
from partners.assay_models.fitted import AssayModel
from partners.assay_models.fitting import AssayData, fit_assay_model
from partners.assay_models.predictor import ValuePredictor
from partners.scores.scores import score_labels
from partners.settings import LocalKind
from partners.training.evaluation import labelled_rows

Floats = NDArray[np.float64]


def half_data_precision(own: AssayData, kinds: Sequence[LocalKind], min_per_class: int) -> Floats:
    """Average precision on the test fold of each task's model fitted on half, (n_tasks,).

    kinds         : of each assay's strongest local model; those of kind "network" are not fitted again
    min_per_class : actives, and inactives, that a scored task needs
    NaN for a task without a score or a model of its assay. Half of an assay's compounds in the training folds are drawn
    by the seed. Raises BadFolds without a labelled or measured compound in the test fold.
    """
    known, test = own.data.training_rows, labelled_rows(own.data, own.data.test_fold)
    inputs = own.inputs(known)

    def fitted(number: int, assay: Assay) -> AssayModel | None:
        half = assay.only(_drawn(assay.rows.size, own.seed + number))
        return fit_assay_model(half, kinds[number], inputs[np.searchsorted(known, half.rows)], known, own.seed + number)

    models = {number: model for number, model in enumerate(own.map(fitted, None)) if model}
    if not models:
        return np.full(own.data.n_tasks, np.nan)
    predict = ValuePredictor(tuple(models.values()), inputs, own.quantiles().shape[1], own.workers)
    return _precision(own, dict(zip(models, predict(own.inputs(test)).T, strict=True)), test, min_per_class)


def _drawn(n: int, seed: int) -> NDArray[np.bool_]:
    """Half of n compounds, rounded up, (n,)."""
    drawn = np.zeros(n, np.bool_)
    drawn[np.random.default_rng(seed).permutation(n)[: (n + 1) // 2]] = True
    return drawn


def _precision(
    own: AssayData, values: dict[int, NDArray[np.float32]], rows: NDArray[np.int64], min_per_class: int
) -> Floats:
    """Average precision by task from predicted values; values : of an assay's number, (n_rows,)."""
    score, has_model = np.zeros((rows.size, own.data.n_tasks)), np.zeros(own.data.n_tasks, np.bool_)
    for number, predicted in values.items():
        assay = own.assays[number]
        for task, sign in zip(assay.tasks, assay.signs, strict=True):
            score[:, task], has_model[task] = sign * predicted, True
    labels = own.data.y[rows].tocoo()
    precision = score_labels(
        labels.col, labels.data > 0, score[labels.row, labels.col], own.data.n_tasks, min_per_class=min_per_class
    ).average_precision
    return np.where(has_model, precision, np.nan)
