"""Which input columns a partner flags in the counting round: those that enough of its training compounds set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class ColumnFlags:
    """Input columns of a partner, each ascending; no column is in both."""

    flagged: NDArray[np.int64]  # named as held
    withheld: NDArray[np.int64]  # set by a training compound, but not named: too few set it, or held back by chance


def compounds_by_column(training_set: TrainingSet) -> NDArray[np.int64]:
    """Number of compounds of the training folds that set each input column, (n_inputs,)."""
    x = training_set.x[training_set.training_rows]
    return np.bincount(x.indices[x.data != 0], minlength=x.shape[1]).astype(np.int64)


def column_flags(
    n_compounds: NDArray[np.int64], min_compounds: int, withhold: float, chance: NDArray[np.float64]
) -> ColumnFlags:
    """Flag the columns that at least `min_compounds` training compounds set, each but with probability `withhold`.

    n_compounds : `compounds_by_column`, (n_inputs,)
    chance      : (n_inputs,) uniform in [0, 1), known to this partner alone
    """
    is_flagged = (n_compounds >= min_compounds) & (chance >= withhold)
    return ColumnFlags(np.flatnonzero(is_flagged), np.flatnonzero((n_compounds > 0) & ~is_flagged))


def share_that_sets(training_set: TrainingSet, columns: NDArray[np.int64]) -> float:
    """Share of the training folds' compounds that set at least one of these input columns."""
    x = training_set.x[training_set.training_rows]
    n_set = np.zeros(x.shape[0], dtype=np.int64)
    np.add.at(n_set, np.repeat(np.arange(x.shape[0]), np.diff(x.indptr)), np.isin(x.indices, columns) & (x.data != 0))
    return float(np.mean(n_set > 0)) if n_set.size else 0.0
