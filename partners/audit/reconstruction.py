"""Fingerprints from the change of the trunk: columns that changed alike belong to the same compounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

_ALIKE = 0.999  # cosine of the changes of two columns; rounding of an update costs less (16 bits of its bound)
_FEWEST_BITS = 3  # of a group: two columns are alike too often
_PRECISION = 0.9  # share of a group's bits that a recovered compound must set
_BLOCK = 1024  # columns at a time


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What groups of equal columns give away of a partner's compounds."""

    n_changed: int  # columns that changed at all
    n_groups: int  # of three or more columns that changed alike
    n_recovered: int  # own compounds that alone set nine tenths of a group's bits
    n_bits: int  # bits of them that these groups reveal
    n_compounds: int


def reconstruct(change: NDArray[np.float32], x: sparse.csr_matrix) -> Reconstruction:
    """Look for own compounds in the change of the input weight from the first trunk to the last.

    change : (n_columns, hidden[0]); x : (n_compounds, n_columns) of the partner's training compounds
    After Marchand et al., "SRATTA: Sample Re-ATTribution Attack of Secure Aggregation in Federated Learning", ICML
    2023: the gradient of a column is the sum over the compounds that set it, so columns of the same compounds change
    alike, with any optimiser that works element by element.
    """
    changed = np.flatnonzero(np.abs(change).max(axis=1, initial=0) > 0)
    bits = sparse.csc_matrix(x > 0)
    recovered: dict[int, set[int]] = {}
    groups = _groups(change[changed])
    for group in groups:
        columns = changed[group]
        n_set = np.asarray(bits[:, columns].sum(axis=1)).ravel()
        owners = np.flatnonzero(n_set >= _PRECISION * columns.size)
        if owners.size == 1:
            compound = int(owners[0])
            recovered.setdefault(compound, set()).update(int(column) for column in columns if bits[compound, column])
    n_bits = sum(len(columns) for columns in recovered.values())
    return Reconstruction(changed.size, len(groups), len(recovered), n_bits, x.shape[0])


def _groups(change: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Positions of the rows of each group of rows that point the same way."""
    unit = change / np.maximum(np.linalg.norm(change, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    pairs = [np.empty((2, 0), dtype=np.int64)]
    for start in range(0, unit.shape[0], _BLOCK):
        row, column = np.nonzero(unit[start : start + _BLOCK] @ unit.T > _ALIKE)
        pairs.append(np.stack([row + start, column]))
    row, column = np.concatenate(pairs, axis=1)
    graph = sparse.coo_matrix((np.ones(row.size, dtype=np.bool_), (row, column)), shape=(unit.shape[0],) * 2)
    n_groups, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.searchsorted(group[order], np.arange(1, n_groups)))
    return [positions for positions in members if positions.size >= _FEWEST_BITS]
