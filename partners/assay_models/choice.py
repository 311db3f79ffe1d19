"""Which model of an assay is the strongest, by cross-validation inside the training folds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.assays import Assay
from partners.assay_models.gaussian_process import MOST_ROWS
from partners.assay_models.inputs import Inputs
from partners.assay_models.out_of_fold import predicted_out_of_fold
from partners.assay_models.yardstick import Yardstick
from partners.settings import LocalKind

FEWEST_VALUES = 10  # measurements in the training folds; with fewer, the network's head is used
FEWEST_TO_TRY = 20  # measurements below which the kinds are not compared
# One kind alone is chosen if its score is higher than that of the mean by this much: with less, chance decides, and the
# mean of both was better on validation folds (tests/benchmarks/federation_gain.py).
_MARGIN = 0.02
_N_TREES = 50  # half of what is fitted in the end: enough to compare, and three forests are fitted to compare


@dataclass(frozen=True, slots=True)
class Choice:
    """The kind of model chosen for an assay, and why."""

    kind: LocalKind
    reason: str


def choose(assay: Assay, inputs: Inputs, y: sparse.csc_matrix, folding: NDArray[np.int64], seed: int) -> Choice:
    """Choose by predictions for each training fold from the other training folds; scaffolds are in one fold.

    assay   : its measurements in the training folds
    inputs  : of these compounds, without the trunk's hidden layer: its training has seen the labels
    y       : (n_compounds, n_tasks) labels of the whole training set
    folding : (n,) fold of each of the assay's compounds
    The mean of Gaussian process and forest is chosen unless one of them is clearly better.
    """
    n_values, spread = assay.rows.size, float(np.ptp(assay.values)) if assay.rows.size else 0.0
    if n_values < FEWEST_VALUES:
        return Choice("network", f"{n_values} measurements in the training folds; fewer than {FEWEST_VALUES}")
    if spread == 0:
        return Choice("network", "all measurements in the training folds are equal")
    if n_values > MOST_ROWS:
        return Choice("forest", f"{n_values} measurements; a Gaussian process takes at most {MOST_ROWS}")
    if n_values < FEWEST_TO_TRY or np.unique(folding).size < 2:  # noqa: PLR2004 -- one fold to predict, one to fit
        return Choice("mean", "too few measurements to compare Gaussian process and forest")
    predicted = predicted_out_of_fold(assay, inputs, folding, seed, _N_TREES)
    yardstick = Yardstick.of(assay, y[:, list(assay.tasks)][assay.rows])
    scores = {kind: yardstick.score_all(values) for kind, values in predicted.items()}
    best: LocalKind = max(scores, key=lambda kind: scores[kind])
    if not scores[best] > scores["mean"] + _MARGIN:
        best = "mean"
    return Choice(best, ", ".join(f"{kind} {score:.3f}" for kind, score in scores.items()))
