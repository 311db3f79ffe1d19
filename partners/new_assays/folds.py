"""The folds of a new assay's cross-validation."""

import numpy as np
from numpy.typing import NDArray

_FEWEST_TO_FIT = 10  # compounds outside a fold; with fewer, nothing is learned for it
_N_SHUFFLED = 5

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
