"""Input columns (fingerprint bits) that few compounds set: what the update of such a column reveals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_CLASSES = ((0, 0), (1, 1), (2, 2), (3, 9), (10, None))  # own compounds that set a column, first and last


@dataclass(frozen=True, slots=True)
class ColumnClass:
    """Columns that a number of own compounds set."""

    first: int
    last: int | None  # None: any larger number
    n_columns: int
    n_compounds: int  # that set such a column


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """The columns of one partner, counted exactly."""

    n_columns: int
    n_compounds: int
    classes: tuple[ColumnClass, ...]
    n_alone: int | None  # shared columns that this partner sets and fewer than the fewest others; None: not counted
    n_exposed: int | None  # own compounds that set such a column


def column_table(x: sparse.csr_matrix, holders: Sequence[int] | None = None, fewest: int = 3) -> ColumnTable:
    """Count the columns of a partner's training compounds.

    x       : (n_compounds, n_columns), values above 0 are set bits
    holders : partners that set each shared column, (n_columns,), 0 for a column that is not shared; None: not counted
    fewest  : partners that a shared column should have
    """
    bits = sparse.csr_matrix(x > 0)
    n_own = np.asarray(bits.sum(axis=0)).ravel().astype(np.int64)
    classes = tuple(_column_class(bits, n_own, first, last) for first, last in _CLASSES)
    n_alone = n_exposed = None
    if holders is not None:
        counted = np.asarray(holders)
        alone = (n_own > 0) & (counted > 0) & (counted < fewest)
        n_alone, n_exposed = int(alone.sum()), _n_setting(bits, alone)
    return ColumnTable(bits.shape[1], bits.shape[0], classes, n_alone, n_exposed)


def _column_class(bits: sparse.csr_matrix, n_own: NDArray[np.int64], first: int, last: int | None) -> ColumnClass:
    chosen = (n_own >= first) & (n_own <= (n_own.max(initial=0) if last is None else last))
    return ColumnClass(first, last, int(chosen.sum()), _n_setting(bits, chosen) if first else 0)


def _n_setting(bits: sparse.csr_matrix, columns: NDArray[np.bool_]) -> int:
    """Compounds that set one of some columns."""
    return int(np.count_nonzero(bits[:, np.flatnonzero(columns)].getnnz(axis=1)))
