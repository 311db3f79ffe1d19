"""Min-hashes of fingerprints: features that depend on no data, and whose inner product estimates Tanimoto similarity.

A min-hash of a compound is the smallest of the random words that a hash gives to its bits. Two compounds agree in a
share T of all min-hashes, where T is the Tanimoto similarity of their bits (Broder 1997). Each min-hash is put into one
of a few buckets by its lowest bits, so two compounds are in the same bucket with probability T + (1 - T) / n_buckets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_HASHES_AT_A_TIME, _COMPOUNDS_AT_A_TIME = 64, 512  # whose words stay in the cache


@dataclass(frozen=True, slots=True)
class MinHashes:
    """Seeded hashes of fingerprint bits: the same at all partners, and the same for every data set."""

    n_hashes: int
    n_buckets: int  # of each hash; a power of two, at most 256
    seed: int

    @property
    def n_features(self) -> int:
        """A feature for each bucket of each hash."""
        return self.n_hashes * self.n_buckets

    def buckets(self, x: sparse.csr_matrix) -> NDArray[np.uint8]:
        """Bucket of every compound in each hash, (n, n_hashes).

        x : (n, n_bits) fingerprints; stored values must not be 0, counts are taken as set bits
        A compound without a bit is in bucket 0 of each hash.
        """
        found = np.zeros((x.shape[0], self.n_hashes), np.uint8)
        for first in range(0, self.n_hashes, _HASHES_AT_A_TIME):
            some = slice(first, min(first + _HASHES_AT_A_TIME, self.n_hashes))
            words = self._words(first, x.shape[1])[:, : some.stop - some.start]
            for start in range(0, x.shape[0], _COMPOUNDS_AT_A_TIME):
                rows = slice(start, start + _COMPOUNDS_AT_A_TIME)
                found[rows, some] = _smallest(words, x[rows]) & np.uint32(self.n_buckets - 1)
        return found

    def _words(self, first_hash: int, n_bits: int) -> NDArray[np.uint32]:
        """A random word for each bit from each of the next 64 hashes, (n_bits, 64)."""
        # numpy keeps SeedSequence and the raw output of PCG64 the same in all versions (NEP 19)
        raw = np.random.PCG64([self.seed, first_hash]).random_raw(n_bits * _HASHES_AT_A_TIME // 2)
        return np.asarray(raw).astype("<u8").view("<u4").reshape(n_bits, _HASHES_AT_A_TIME)


def _smallest(words: NDArray[np.uint32], x: sparse.csr_matrix) -> NDArray[np.uint32]:
    """Smallest word of each compound's bits, (n, n_hashes); 0 for a compound without a bit."""
    smallest = np.zeros((x.shape[0], words.shape[1]), np.uint32)
    has_bits = np.diff(x.indptr) > 0
    if has_bits.any():
        smallest[has_bits] = np.minimum.reduceat(words[x.indices], x.indptr[:-1][has_bits], axis=0)
    return smallest
