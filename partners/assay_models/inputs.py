"""Inputs of assay models: fingerprint bits, the trunk's hidden layer and descriptors of the same compounds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BLOCK = 128  # compounds at a time, which bounds the memory of dense inputs and kernels


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Inputs of some compounds; a kind of input that is not used has no columns."""

    bits: sparse.csr_matrix  # (n, n_bits) float32 ones
    hidden: NDArray[np.float32]  # (n, n_units) outputs of the trunk after ReLU, at least 0
    descriptors: NDArray[np.float32]  # (n, n_descriptors) from 0 to 1

    @classmethod
    def of(
        cls,
        x: sparse.csr_matrix,
        hidden: NDArray[np.float32] | None = None,
        descriptors: NDArray[np.float32] | None = None,
    ) -> "Inputs":
        """Make inputs of fingerprints, whose counts become ones, and of what else there is.

        hidden : (n, n_units) outputs of the trunk; what is below 0 becomes 0. Without any such it is not copied
        """
        bits = sparse.csr_matrix(x > 0, dtype=np.float32)  # without stored zeros
        none = np.zeros((x.shape[0], 0), np.float32)
        return cls(
            bits,
            none if hidden is None else _cut(hidden),
            none if descriptors is None else descriptors.astype(np.float32),
        )

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> "Inputs":
        """The inputs of some rows."""
        return Inputs(self.bits[rows], self.hidden[rows], self.descriptors[rows])

    def without_hidden(self) -> "Inputs":
        """The same inputs without the hidden layer."""
        return Inputs(self.bits, self.hidden[:, :0], self.descriptors)

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return int(self.bits.shape[0])

    @property
    def n_kernels(self) -> int:
        """Number of kernels in the sum that `kernel` gives: one, or two with a hidden layer."""
        return 2 if self.hidden.shape[1] else 1

    def dense(self) -> NDArray[np.float32]:
        """All inputs side by side, (n, n_bits + n_units + n_descriptors); for many compounds take `compound_blocks`."""
        n_bits, n_units = self.bits.shape[1], self.hidden.shape[1]
        filled = np.zeros((self.n_compounds, n_bits + n_units + self.descriptors.shape[1]), np.float32)
        filled[np.repeat(np.arange(self.n_compounds), np.diff(self.bits.indptr)), self.bits.indices] = 1
        filled[:, n_bits : n_bits + n_units] = self.hidden
        filled[:, n_bits + n_units :] = self.descriptors
        return filled


@dataclass(frozen=True, slots=True, eq=False)
class KnownInputs:
    """Compounds with which many others are compared: what a kernel needs of them is computed once."""

    bits: sparse.csr_matrix  # (n_bits, n) float32 ones
    n_set: NDArray[np.float32]  # (n,) bits of each compound
    hidden: NDArray[np.float32]  # (n, n_units)
    squares: NDArray[np.float32]  # (n,) squared lengths of the hidden layers

    @classmethod
    def of(cls, inputs: Inputs) -> "KnownInputs":
        """Transpose the inputs once, for repeated comparisons with new compounds."""
        turned = sparse.csr_matrix(inputs.bits.T)
        return cls(turned, _row_sums(inputs.bits), inputs.hidden, _squares(inputs.hidden))

    def kernel(self, some: Inputs) -> NDArray[np.float32]:
        """`kernel` of some compounds with these, (n_some, n)."""
        total = _tanimoto((some.bits @ self.bits).toarray(), _row_sums(some.bits), self.n_set)
        if some.hidden.shape[1]:
            total += _tanimoto(some.hidden @ self.hidden.T, _squares(some.hidden), self.squares)
        return total


def kernel(some: Inputs, others: Inputs) -> NDArray[np.float32]:
    """Tanimoto similarity of fingerprints, plus that of hidden layers if they are used, (n_some, n_others).

    Tanimoto of two vectors is <a, b> / (|a|^2 + |b|^2 - <a, b>), a kernel for bits and for real vectors (Ralaivola et
    al., Neural Networks 2005, 18, 1093); 0 for two vectors of zeros.
    """
    return KnownInputs.of(others).kernel(some)


def compound_blocks(n_compounds: int) -> Iterator[slice]:
    """All compounds in turn, 128 at a time; the last block may have fewer."""
    for start in range(0, n_compounds, BLOCK):
        yield slice(start, min(start + BLOCK, n_compounds))


def _cut(hidden: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(hidden, np.float32(0)) if hidden.min(initial=0) < 0 else hidden


def _squares(hidden: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared length of each row, (n,), without a second array of all rows."""
    squares = np.empty(hidden.shape[0], np.float32)
    for part in compound_blocks(hidden.shape[0]):
        squares[part] = (hidden[part] ** 2).sum(axis=1)
    return squares


def _row_sums(bits: sparse.csr_matrix) -> NDArray[np.float32]:
    return np.diff(bits.indptr).astype(np.float32)


def _tanimoto(
    common: NDArray[np.float32], mine: NDArray[np.float32], theirs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Tanimoto in the memory of `common`."""
    union = mine[:, None] + theirs[None, :]
    union -= common
    np.maximum(union, np.float32(1e-9), out=union)
    common /= union
    return common
