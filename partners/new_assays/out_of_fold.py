"""Predictions of each kind of model for compounds that it was not fitted to, by cross-validation over folds."""

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.assays import Assay
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.settings import LocalKind

_FEWEST_TO_FIT = 10  # compounds outside a fold; with fewer, nothing is learned for it
_N_SHUFFLED = 5

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def cross_validation_folds(folding: Ints, seed: int) -> tuple[Ints, str]:
    """The fold of each compound, (n,), and what the folds are.

    folding : (n,) of the prepared folds; they are taken if each of them leaves at least 10 compounds to be fitted to,
              else the compounds are shuffled over five folds, which flatters every model
    """
    sizes = np.bincount(folding)
    if np.count_nonzero(sizes) > 1 and folding.size - sizes.max() >= _FEWEST_TO_FIT:
        return folding, "prepared folds"
    shuffled = np.random.default_rng(seed).permutation(folding.size) % _N_SHUFFLED
    return shuffled.astype(np.int64), "shuffled folds, as too few compounds are outside the largest fold"


def predicted_out_of_fold(assay: Assay, inputs: Inputs, folding: Ints, seed: int) -> dict[LocalKind, Floats]:
    """Predictions for each fold from the others, by kind of model, (n,) each, units of the assay.

    inputs, folding : of the assay's compounds. Above 5,000 compounds the forest stands alone.
    """
    if assay.rows.size > MOST_ROWS:
        return {"forest": _of_forest(assay, inputs, folding, seed)}
    process, forest = np.zeros(assay.rows.size), np.zeros(assay.rows.size)
    similarity = kernel(inputs, inputs)
    for fold in np.unique(folding):
        rest, out = np.flatnonzero(folding != fold), np.flatnonzero(folding == fold)
        inner = similarity[np.ix_(rest, rest)]
        values = expected_values(inner, assay.values[rest], assay.marks[rest], inputs.n_kernels)
        process[out] = fit_gaussian_process(inner, values, inputs.n_kernels).predict(similarity[np.ix_(out, rest)])
        forest[out] = fit_forest(inputs[rest], values, seed).predict(inputs[out].dense())
    return {"gaussian process": process, "forest": forest, "mean": (process + forest) / 2}


def _of_forest(assay: Assay, inputs: Inputs, folding: Ints, seed: int) -> Floats:
    forest = np.zeros(assay.rows.size)
    for fold in np.unique(folding):
        rest, out = np.flatnonzero(folding != fold), np.flatnonzero(folding == fold)
        forest[out] = fit_forest(inputs[rest], assay.values[rest], seed).predict(inputs[out].dense())
    return forest
