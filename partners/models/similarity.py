"""Tanimoto similarity of new compounds to the nearest of many known ones, exactly, on sparse fingerprints.

Few bits are set in a large share of the compounds, and most in very few. The rare ones that compounds have in common
are counted from lists of the compounds that set each bit. The compound that shares most of them is near; only known
compounds of a size that could be nearer, and among these only those whose rare bits leave it possible, have their
frequent bits, packed into words, compared too. Nothing is left out that could be the nearest.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import FeatureCountMismatch

_WORDS = 2  # of 64 frequent bits; more would make bounds weaker, fewer the lists of rare bits longer (measured)
_NOBODY = np.empty(0, dtype=np.int64)


class Neighbours:
    """Known compounds, ready to be asked for the nearest.

    known : (n_known, n_bits); stored values above 0 are set bits, whatever their counts
    """

    def __init__(self, known: sparse.csr_matrix) -> None:
        rows = _binary(known)
        rows = rows[np.argsort(np.diff(rows.indptr), kind="stable")]  # by size, so that a range of sizes is a slice
        self._n_known, self._n_bits = rows.shape
        n_set = np.bincount(rows.indices, minlength=self._n_bits)
        self._place = np.full(self._n_bits, -1, dtype=np.int64)  # of a frequent bit among the packed ones
        frequent = np.argsort(-n_set, kind="stable")[: 64 * _WORDS]
        self._place[frequent] = np.arange(frequent.size)
        self._packed, rare = self._split(rows)
        by_bit = rare.T.tocsr()
        self._with_bit = np.split(by_bit.indices.astype(np.int64), by_bit.indptr[1:-1])  # known compounds, bit by bit
        self._size = np.diff(rows.indptr).astype(np.float32)  # set bits, rising
        self._n_frequent = np.bitwise_count(self._packed).sum(axis=1).astype(np.float32)

    def nearest(self, x: sparse.csr_matrix) -> NDArray[np.float32]:
        """Largest Tanimoto similarity of each row of x to a known compound, (n_rows,), in [0, 1].

        0 for a row without bits, and where no compound is known.
        Raises FeatureCountMismatch for another number of bits.
        """
        if x.shape[1] != self._n_bits:
            raise FeatureCountMismatch(f"x: found {x.shape[1]} bits, expected {self._n_bits}, as the known compounds")
        found = np.zeros(x.shape[0], dtype=np.float32)
        rows = _binary(x)
        packed, rare = self._split(rows)
        for i, size in enumerate(np.diff(rows.indptr)):
            if size and self._n_known:
                lists = [self._with_bit[bit] for bit in rare.indices[rare.indptr[i] : rare.indptr[i + 1]]]
                n_rare = np.bincount(np.concatenate([_NOBODY, *lists]), minlength=self._n_known)
                found[i] = self._nearest_of(packed[i], n_rare, float(size))
        return found

    def _nearest_of(self, packed: NDArray[np.uint64], n_rare: NDArray[np.int64], size: float) -> float:
        """`n_rare` counts the common rare bits; Tanimoto is common / (sum of both sizes - common).

        It rises with common / sum of both sizes, which is compared instead.
        """
        best = self._largest(np.array([n_rare.argmax()]), packed, n_rare, size)
        tanimoto = best / (1 - best)
        # Tanimoto is at most the smaller size over the larger; half a bit of room, for rounding
        sizes = (size * tanimoto - 0.5, size / tanimoto + 0.5 if best else np.inf)
        low, high = np.searchsorted(self._size, np.array(sizes, dtype=np.float32))
        # whatever its frequent bits, a nearer one has this many rare bits in common: a single pass leaves few
        n_frequent = int(np.bitwise_count(packed).sum())
        fewest = (self._size[low] + size) * best - n_frequent if low < high else 0.0
        left = np.flatnonzero(n_rare[low:high] >= int(np.floor(fewest))) + low
        possible = np.minimum(self._n_frequent[left], n_frequent) + n_rare[left]
        left = left[possible > (self._size[left] + size) * best]
        if left.size:
            best = max(best, self._largest(left, packed, n_rare, size))
        return best / (1 - best)

    def _largest(
        self, at: NDArray[np.int64], packed: NDArray[np.uint64], n_rare: NDArray[np.int64], size: float
    ) -> float:
        """Largest common / sum of both sizes of the known compounds at these places."""
        common = np.bitwise_count(self._packed[at] & packed).sum(axis=1, dtype=np.int64) + n_rare[at]
        return float((common / (self._size[at] + size)).max())

    def _split(self, rows: sparse.csr_matrix) -> tuple[NDArray[np.uint64], sparse.csr_matrix]:
        """Frequent bits of each row packed, (n_rows, words), and a matrix of the rest."""
        place, row = self._place[rows.indices], np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        is_rare = place < 0
        packed = np.zeros((rows.shape[0], _WORDS), dtype=np.uint64)
        word, shift = np.divmod(place[~is_rare], 64)
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
