"""Exact Tanimoto similarity of new compounds to the nearest of many known compounds, on sparse fingerprints.

A few bits are set in a large share of the compounds, and most bits in very few. The rare bits that compounds have in
common are counted from lists of the compounds that set each bit. The compound with most of them in common gives a lower
bound. Only known compounds that could be nearer, by their size and their rare bits, have their frequent bits, packed
into words, compared too. No compound that could be the nearest is left out.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import FeatureCountMismatch

_WORDS = 2  # of 64 frequent bits; more would make bounds weaker, fewer the lists of rare bits longer (measured)
_NO_COMPOUNDS = np.empty(0, dtype=np.int64)


class Neighbours:
    """Known compounds, indexed for a search for the nearest.

    known : (n_known, n_bits); stored values above 0 are set bits, with any count
    """

    def __init__(self, known: sparse.csr_matrix) -> None:
        rows = _binary(known)
        rows = rows[np.argsort(np.diff(rows.indptr), kind="stable")]  # by size, so that a range of sizes is a slice
        self._n_known, self._n_bits = rows.shape
        n_set = np.bincount(rows.indices, minlength=self._n_bits)
        self._position = np.full(self._n_bits, -1, dtype=np.int64)  # of a frequent bit among the packed bits
        frequent = np.argsort(-n_set, kind="stable")[: 64 * _WORDS]
        self._position[frequent] = np.arange(frequent.size)
        self._packed, rare = self._split(rows)
        by_bit = rare.T.tocsr()
        self._with_bit = np.split(by_bit.indices.astype(np.int64), by_bit.indptr[1:-1])  # known compounds, bit by bit
        self._size = np.diff(rows.indptr).astype(np.float32)  # set bits, rising
        self._n_frequent = np.bitwise_count(self._packed).sum(axis=1).astype(np.float32)

    def nearest(self, x: sparse.csr_matrix) -> NDArray[np.float32]:
        """Largest Tanimoto similarity of each row of x to a known compound, (n_rows,), in [0, 1].

        0 for a row without bits, and if no compound is known.
        Raises FeatureCountMismatch for another number of bits.
        """
        if x.shape[1] != self._n_bits:
            raise FeatureCountMismatch(f"x: found {x.shape[1]} bits, expected {self._n_bits}, as the known compounds")
        similarity = np.zeros(x.shape[0], dtype=np.float32)
        rows = _binary(x)
        packed, rare = self._split(rows)
        for i, size in enumerate(np.diff(rows.indptr)):
            if size and self._n_known:
                lists = [self._with_bit[bit] for bit in rare.indices[rare.indptr[i] : rare.indptr[i + 1]]]
                n_rare = np.bincount(np.concatenate([_NO_COMPOUNDS, *lists]), minlength=self._n_known)
                similarity[i] = self._nearest_of(packed[i], n_rare, float(size))
        return similarity

    def _nearest_of(self, packed: NDArray[np.uint64], n_rare: NDArray[np.int64], size: float) -> float:
        """Largest Tanimoto similarity of one compound; `n_rare` counts the rare bits in common with each known one.

        Tanimoto is common / (sum of both sizes - common). It rises with common / sum of both sizes, which is compared.
        """
        best = self._largest(np.array([n_rare.argmax()]), packed, n_rare, size)
        tanimoto = best / (1 - best)
        # Tanimoto is at most the smaller size over the larger; half a bit of room, for rounding
        sizes = (size * tanimoto - 0.5, size / tanimoto + 0.5 if best else np.inf)
        low, high = np.searchsorted(self._size, np.array(sizes, dtype=np.float32))
        # with all frequent bits in common, a nearer compound still needs this many rare ones: few compounds have them
        n_frequent = int(np.bitwise_count(packed).sum())
        fewest = (self._size[low] + size) * best - n_frequent if low < high else 0.0
        candidates = np.flatnonzero(n_rare[low:high] >= int(np.floor(fewest))) + low
        possible = np.minimum(self._n_frequent[candidates], n_frequent) + n_rare[candidates]
        candidates = candidates[possible > (self._size[candidates] + size) * best]
        if candidates.size:
            best = max(best, self._largest(candidates, packed, n_rare, size))
        return best / (1 - best)

    def _largest(
        self, rows: NDArray[np.int64], packed: NDArray[np.uint64], n_rare: NDArray[np.int64], size: float
    ) -> float:
        """Largest common / sum of both sizes over these rows of the known compounds."""
        common = np.bitwise_count(self._packed[rows] & packed).sum(axis=1, dtype=np.int64) + n_rare[rows]
        return float((common / (self._size[rows] + size)).max())

    def _split(self, rows: sparse.csr_matrix) -> tuple[NDArray[np.uint64], sparse.csr_matrix]:
        """Frequent bits of each row packed, (n_rows, words), and a matrix of the rare bits."""
        position, row = self._position[rows.indices], np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        is_rare = position < 0
        packed = np.zeros((rows.shape[0], _WORDS), dtype=np.uint64)
        word, shift = np.divmod(position[~is_rare], 64)
        np.bitwise_or.at(packed, (row[~is_rare], word), np.left_shift(np.uint64(1), shift.astype(np.uint64)))
        starts = np.concatenate([[0], np.cumsum(is_rare)])[rows.indptr]
        ones = np.ones(int(is_rare.sum()), dtype=np.int16)
        return packed, sparse.csr_matrix((ones, rows.indices[is_rare], starts), shape=rows.shape)


def _binary(x: sparse.csr_matrix) -> sparse.csr_matrix:
    """Set bits of each row, once each and rising."""
    rows = sparse.csr_matrix(x, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows
