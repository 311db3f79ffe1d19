"""The nearest known compound is that of plain numpy, which compares every pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import FeatureCountMismatch
from partners.models.similarity import Neighbours


def compounds(rng: np.random.Generator, n: int, n_bits: int, heavy: float) -> sparse.csr_matrix:
    """Fingerprints whose bits are set as unevenly as those of real compounds: few often, most hardly ever."""
    share = np.minimum(0.9, heavy / np.arange(1, n_bits + 1) ** 0.8)
    return sparse.csr_matrix((rng.random((n, n_bits)) < share[rng.permutation(n_bits)]).astype(np.float32))


def nearest_of_all(x: sparse.csr_matrix, known: sparse.csr_matrix) -> NDArray[np.float64]:
    """Tanimoto of every pair, the largest of each row."""
    new_bits, known_bits = (x > 0).toarray().astype(float), (known > 0).toarray().astype(float)
    common = new_bits @ known_bits.T
    union = new_bits.sum(axis=1)[:, None] + known_bits.sum(axis=1)[None] - common
    return np.where(union > 0, common / np.maximum(union, 1), 0).max(axis=1, initial=0)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 80), st.sampled_from([40, 300, 2000]), st.sampled_from([0.3, 2.0, 20.0]))
def test_the_nearest_is_the_nearest_of_all_pairs(seed: int, n_known: int, n_bits: int, heavy: float) -> None:
    """With pruning, the largest similarity is found, to float32."""
    rng = np.random.default_rng(seed)
    known, x = compounds(rng, n_known, n_bits, heavy), compounds(rng, 12, n_bits, heavy)
    np.testing.assert_allclose(Neighbours(known).nearest(x), nearest_of_all(x, known), rtol=1e-6)


def test_a_known_compound_is_its_own_nearest() -> None:
    """A known compound has similarity 1, alone and among others."""
    known = compounds(np.random.default_rng(3), 200, 800, 5.0)
    neighbours = Neighbours(known)
    assert (neighbours.nearest(known) == 1).all()
    assert [neighbours.nearest(known[i])[0] for i in range(20)] == [1] * 20


def test_one_by_one_equals_in_bulk() -> None:
    """A compound gets the same bits alone and among others."""
    rng = np.random.default_rng(4)
    neighbours, x = Neighbours(compounds(rng, 300, 900, 4.0)), compounds(rng, 50, 900, 4.0)
    bulk = neighbours.nearest(x)
    np.testing.assert_array_equal(np.concatenate([neighbours.nearest(x[i]) for i in range(50)]), bulk)
    np.testing.assert_array_equal(neighbours.nearest(x[::-1]), bulk[::-1])


def test_counts_and_stored_zeros_are_set_bits_or_none() -> None:
    """A count is a set bit, a stored zero is none."""
    known, counted = sparse.csr_matrix([[1.0, 1, 0, 1]]), sparse.csr_matrix([[3.0, 7, 0, 0]])
    counted[0, 3] = 0
    assert Neighbours(known).nearest(counted)[0] == np.float32(2 / 3)
    assert Neighbours(counted).nearest(known)[0] == np.float32(2 / 3)


def test_nothing_is_similar_to_nothing() -> None:
    """Similarity is 0 for a compound without bits, without known compounds, and without a common bit."""
    known, x = sparse.csr_matrix([[1.0, 1, 0, 0]]), sparse.csr_matrix([[0.0, 0, 0, 0], [0, 0, 1, 1]])
    assert Neighbours(known).nearest(x).tolist() == [0, 0]
    assert Neighbours(known[:0]).nearest(x).tolist() == [0, 0]
    assert Neighbours(sparse.csr_matrix((3, 4))).nearest(x).tolist() == [0, 0]
    assert Neighbours(known).nearest(x[:0]).shape == (0,)


def test_another_number_of_bits_is_refused() -> None:
    """Fingerprints of another length cannot be compared."""
    with pytest.raises(FeatureCountMismatch, match="found 5 bits, expected 4"):
        Neighbours(sparse.csr_matrix((2, 4))).nearest(sparse.csr_matrix((1, 5)))
