"""Inputs of assay models: fingerprint bits, the trunk's hidden layer and descriptors of the same compounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


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
        """Make inputs of fingerprints, whose counts become ones, and of what else there is."""
        bits = sparse.csr_matrix(x > 0, dtype=np.float32)  # without stored zeros
        none = np.zeros((x.shape[0], 0), np.float32)
        return cls(
            bits,
            none if hidden is None else np.maximum(hidden, np.float32(0)),
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
        """All inputs side by side, (n, n_bits + n_units + n_descriptors)."""
        return np.hstack([self.bits.toarray(), self.hidden, self.descriptors])


def kernel(some: Inputs, others: Inputs) -> NDArray[np.float32]:
    """Tanimoto similarity of fingerprints, plus that of hidden layers if they are used, (n_some, n_others).

    Tanimoto of two vectors is <a, b> / (|a|^2 + |b|^2 - <a, b>), a kernel for bits and for real vectors (Ralaivola et
    al., Neural Networks 2005, 18, 1093); 0 for two vectors of zeros.
    """
    common = np.asarray((some.bits @ others.bits.T).todense(), dtype=np.float32)
    total = _tanimoto(common, _row_sums(some.bits), _row_sums(others.bits))
    if some.hidden.shape[1]:
        squares = ((some.hidden**2).sum(axis=1), (others.hidden**2).sum(axis=1))
        total += _tanimoto(some.hidden @ others.hidden.T, *squares)
    return total


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
