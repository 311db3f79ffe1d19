"""Predictions of each kind of model for compounds that it was not fitted to, by cross-validation over folds."""

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.assays import Assay
from partners.assay_models.forest import N_TREES, fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.settings import LocalKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def predicted_out_of_fold(
    assay: Assay, inputs: Inputs, folding: Ints, seed: int, n_trees: int = N_TREES
) -> dict[LocalKind, Floats]:
    """Predictions for each fold from the others, by kind of model, (n,) each, units of the assay.

    inputs, folding : of the assay's compounds. Above 5,000 compounds the forest stands alone.
    """
    if assay.rows.size > MOST_ROWS:
        return {"forest": _of_forest(assay, inputs, folding, seed, n_trees)}
    process, forest = np.zeros(assay.rows.size), np.zeros(assay.rows.size)
    similarity = kernel(inputs, inputs)
    for fold in np.unique(folding):
        rest, out = np.flatnonzero(folding != fold), np.flatnonzero(folding == fold)
        inner = similarity[np.ix_(rest, rest)]
        values = expected_values(inner, assay.values[rest], assay.marks[rest], inputs.n_kernels)
        process[out] = fit_gaussian_process(inner, values, inputs.n_kernels).predict(similarity[np.ix_(out, rest)])
        forest[out] = fit_forest(inputs[rest], values, seed, n_trees).values(inputs[out])
    return {"gaussian process": process, "forest": forest, "mean": (process + forest) / 2}


def _of_forest(assay: Assay, inputs: Inputs, folding: Ints, seed: int, n_trees: int) -> Floats:
    forest = np.zeros(assay.rows.size)
    for fold in np.unique(folding):
        rest, out = np.flatnonzero(folding != fold), np.flatnonzero(folding == fold)
        forest[out] = fit_forest(inputs[rest], assay.values[rest], seed, n_trees).values(inputs[out])
    return forest
