"""Linear heads fitted to a trunk that stays as it is, on chosen compounds, and how well they fit other compounds.

A trunk alone has no loss of a compound: heads give it one. They are fitted on other compounds than those attacked, so
that only the trunk can have seen these.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from partners.network.inference import predict_hidden
from partners.network.normalisation import normalisation_of, normalised
from partners.network.trunk import TrunkLayout
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

Floats = NDArray[np.float64]

_LEAST_PROBABILITY = 1e-3
_PENALTY = 1.0  # times the mean squared length of the inputs
_BLOCK = 65_536  # labels at a time


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How well a model fits each of n compounds: the mean over its labels and measured values."""

    confidence: Floats  # (n,) mean logit of the right label, minus half the squared error of a value
    likelihood: Floats  # (n,) geometric mean of the probabilities of the labels and (unscaled normal) of the values


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """A linear output for each classification task, then for each regression task; 0 is undecided."""

    weight: Floats  # (n_outputs, hidden[-1])
    bias: Floats  # (n_outputs,)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTasks:
    """Labels of +-1 and normalised values of compounds, one column for each task."""

    values: sparse.csr_matrix  # (n, n_tasks + n_regressions)
    n_tasks: int  # columns with labels

    @classmethod
    def of(cls, data: TrainingSet, rows: NDArray[np.int64]) -> "MeasuredTasks":
        """Take those of some rows of a training set; bounds count as values."""
        values = normalised(data.y_regr[rows], normalisation_of(data, normalise=True))
        joined = sparse.hstack([data.y[rows], values], format="csr").astype(np.float64)
        return cls(sparse.csr_matrix(joined), data.n_tasks)


def hidden_inputs(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Floats:
    """The trunk's output after the classification head's non-linearity, (n, hidden[-1]): the inputs of linear heads."""
    hidden = predict_hidden(x, trunk, layout, trunk_settings, training.n_threads)
    applied = np.tanh(hidden) if training.classification.non_linearity == "tanh" else np.maximum(hidden, 0)
    return applied.astype(np.float64)


def fit_heads(hidden: Floats, targets: MeasuredTasks, fitted: NDArray[np.bool_]) -> Heads:
    """Ridge regression of each task on the compounds chosen by `fitted` (n,); an unmeasured task gets zeros."""
    by_task = sparse.csc_matrix(targets.values)
    n_outputs, n_hidden = by_task.shape[1], hidden.shape[1]
    weight, bias = np.zeros((n_outputs, n_hidden)), np.zeros(n_outputs)
    penalty = _PENALTY * float((hidden**2).sum(axis=1).mean()) + np.finfo(np.float64).tiny
    for task in range(n_outputs):
        part = slice(by_task.indptr[task], by_task.indptr[task + 1])
        rows, values = by_task.indices[part], by_task.data[part]
        used = fitted[rows]
        if used.any():
            weight[task], bias[task] = _ridge(hidden[rows[used]], values[used], penalty)
    return Heads(weight, bias)


def _ridge(inputs: Floats, values: Floats, penalty: float) -> tuple[Floats, float]:
    """Weights and bias; solved in whichever of both spaces is smaller."""
    mean, middle = inputs.mean(axis=0), float(values.mean())
    centred, deviation = inputs - mean, values - middle
    n, width = centred.shape
    if n <= width:
        weight = centred.T @ linalg.solve(centred @ centred.T + penalty * np.eye(n), deviation, assume_a="pos")
    else:
        weight = linalg.solve(centred.T @ centred + penalty * np.eye(width), centred.T @ deviation, assume_a="pos")
    return weight, middle - float(mean @ weight)


def measured_outputs(heads: Heads, hidden: Floats, targets: MeasuredTasks) -> Floats:
    """The heads' outputs where something was measured, in the order of targets.values, (n_stored,)."""
    stored = targets.values.tocoo()
    outputs = np.empty(stored.nnz)
    for start in range(0, stored.nnz, _BLOCK):
        part = slice(start, start + _BLOCK)
        row, column = stored.row[part], stored.col[part]
        outputs[part] = np.einsum("ij,ij->i", hidden[row], heads.weight[column]) + heads.bias[column]
    return outputs


def fit_of(targets: MeasuredTasks, logits: Floats) -> Fit:
    """How well outputs fit; logits: (n_stored,), logits of tasks and normalised values of regression tasks."""
    stored = targets.values.tocoo()
    is_label = stored.col < targets.n_tasks
    miss = np.where(is_label, 0.0, logits - stored.data)
    confidence = np.where(is_label, stored.data * logits, -0.5 * miss**2)
    log_likelihood = np.where(is_label, -np.logaddexp(0.0, -confidence), confidence)
    n = targets.values.shape[0]
    count = np.maximum(np.bincount(stored.row, minlength=n), 1)
    return Fit(
        np.bincount(stored.row, weights=confidence, minlength=n) / count,
        np.exp(np.bincount(stored.row, weights=log_likelihood, minlength=n) / count),
    )


def trunk_fit(hidden: Floats, targets: MeasuredTasks, halves: NDArray[np.bool_]) -> Fit:
    """How well heads fitted on one half of the compounds fit the other half, (n,), for both halves."""
    return judged_fit(hidden, targets, [(fit_heads(hidden, targets, ~half), half) for half in (halves, ~halves)])


def judged_fit(hidden: Floats, targets: MeasuredTasks, heads: list[tuple[Heads, NDArray[np.bool_]]]) -> Fit:
    """How well heads fit compounds; each heads with the compounds to fit, (n,) flags.

    An output f between -1 and 1 is taken as probability (1 + f) / 2 of an active compound (Brier score of ridge).
    """
    stored = targets.values.tocoo()
    outputs = np.zeros(stored.nnz)
    for fitted, is_own in heads:
        outputs = np.where(is_own[stored.row], measured_outputs(fitted, hidden, targets), outputs)
    probability = np.clip((1 + outputs) / 2, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    logits = np.where(stored.col < targets.n_tasks, np.log(probability / (1 - probability)), outputs)
    return fit_of(targets, logits)
