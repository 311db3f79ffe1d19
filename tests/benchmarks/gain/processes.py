"""Gaussian processes alone, on fingerprints or on the trunk too: a measure of what a trunk brings, in seconds.

The models that partners take home have forests beside them, which cost forty times as much (`assay_models.py`).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.assays import Assay
from partners.assay_models.choice import FEWEST_VALUES
from partners.assay_models.fitting import AssayData
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.scores.scores import score_labels
from tests.benchmarks.gain.assay_models import assay_data
from tests.benchmarks.gain.partners import Partner
from tests.benchmarks.gain.scores import FOLDS, Scores

Floats = NDArray[np.float64]
Hidden = Callable[[sparse.csr_matrix], NDArray[np.float32]]
"""The trunk's output for some compounds, (n, hidden[-1])."""

_METRICS = ("average_precision", "roc_auc", "n_active", "n_inactive")


def scores_of_processes(partners: Mapping[str, Partner], hidden: Mapping[str, Hidden] | None, fold: str) -> Scores:
    """Scores of every task of one fold; NaN for tasks of assays with too few or too many measurements.

    hidden : by partner; None: fingerprints alone
    """
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        found = _fold_scores(assay_data(partner), hidden[name] if hidden else None, FOLDS[fold])
        tasks |= {f"{name}/{fold}/{metric}": column for metric, column in found.items()}
    return Scores(tasks)


def _fold_scores(own: AssayData, hidden: Hidden | None, fold: int) -> dict[str, Floats]:
    data = own.data
    inputs = Inputs.of(data.x, hidden(data.x) if hidden else None)
    labels = data.y[data.rows_of(fold)].tocoo()
    row, logit, is_fitted = data.rows_of(fold)[labels.row], np.zeros(labels.nnz), np.zeros(data.n_tasks, dtype=bool)
    for tasks, signs, values in _predicted(own, inputs, fold):
        for task, sign in zip(tasks, signs, strict=True):
            chosen = labels.col == task
            logit[chosen], is_fitted[task] = sign * values[row[chosen]], True
    scores = score_labels(labels.col, labels.data > 0, logit, data.n_tasks)
    found = {metric: np.asarray(getattr(scores, metric), np.float64) for metric in _METRICS}
    return found | {metric: np.where(is_fitted, found[metric], np.nan) for metric in _METRICS[:2]}


def _predicted(own: AssayData, inputs: Inputs, fold: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Floats]]:
    """Tasks, signs and predicted values, (n_compounds,) with those of the fold's compounds set, of each assay."""
    for assay in own.assays:
        known = own.training_part(assay)
        asked = np.flatnonzero((own.data.folding == fold) & _has_label(own, assay))
        if FEWEST_VALUES <= known.rows.size <= MOST_ROWS and np.ptp(known.values) > 0 and asked.size:
            values = np.zeros(own.data.n_compounds)
            values[asked] = _process(inputs, known, asked)
            yield assay.tasks, assay.signs, values


def _has_label(own: AssayData, assay: Assay) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = np.diff(sparse.csr_matrix(own.data.y[:, list(assay.tasks)]).indptr) > 0
    return flags


def _process(inputs: Inputs, known: Assay, asked: NDArray[np.int64]) -> Floats:
    mine = inputs[known.rows]
    similarity = kernel(mine, mine)
    values = expected_values(similarity, known.values, known.marks, mine.n_kernels)
    return fit_gaussian_process(similarity, values, mine.n_kernels).predict(kernel(inputs[asked], mine))
