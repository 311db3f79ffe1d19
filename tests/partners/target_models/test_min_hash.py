"""Min-hashes: features of fingerprints whose inner product estimates Tanimoto similarity."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from partners.assay_models.inputs import kernel
from partners.target_models.min_hash import MinHashes
from partners.target_models.own_part import features_of
from tests.support.partners.made_up_assays import random_inputs

HASHES = MinHashes(n_hashes=1024, n_buckets=32, seed=1)


def test_the_inner_product_estimates_tanimoto():
    """Two compounds share a bucket with probability T + (1 - T) / 32; 1,024 hashes come within their chance of it."""
    bits = random_inputs(0, 60, n_bits=300)
    features = features_of(HASHES, HASHES.buckets(bits.bits))
    similarity = kernel(bits, bits).astype(np.float64)
    expected = similarity + (1 - similarity) / 32
    found = (features @ features.T).toarray()
    deviation = np.sqrt(expected * (1 - expected) / 1024)
    off = ~np.eye(60, dtype=bool)
    assert np.abs(found - expected)[off].max() < 6 * deviation[off].max()
    assert abs((found - expected)[off].mean()) < 0.01
    np.testing.assert_allclose(np.diag(found), 1)


@given(st.integers(0, 5), st.permutations(range(12)))
@settings(max_examples=10)
def test_a_compound_has_the_same_buckets_among_any_others(seed: int, order: list[int]):
    """Buckets depend on the compound's bits and the seed alone."""
    hashes, bits = MinHashes(70, 16, seed), random_inputs(1, 12).bits
    np.testing.assert_array_equal(hashes.buckets(bits[order]), hashes.buckets(bits)[order])


def test_another_seed_gives_other_buckets():
    """The seed is all that the hashes depend on, so equal seeds give equal features at all partners."""
    bits = random_inputs(2, 20).bits
    one, same, other = (MinHashes(64, 16, seed).buckets(bits) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.8


def test_buckets_are_used_evenly():
    """No bucket is much fuller than others over many different compounds."""
    buckets = HASHES.buckets(random_inputs(3, 100, n_bits=200).bits)
    share = np.bincount(buckets.ravel(), minlength=32) / buckets.size
    assert share.min() > 0.02
    assert share.max() < 0.045


def test_the_words_never_change():
    """Pinned: other words would be other features, and partners with different versions could not add up."""
    bits = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    assert MinHashes(6, 32, 20).buckets(bits).tolist() == [
        [26, 11, 30, 21, 17, 18],
        [26, 14, 10, 20, 9, 31],
        [19, 6, 21, 12, 18, 10],
        [23, 17, 3, 1, 2, 23],
    ]


def test_a_compound_without_bits_is_in_the_first_buckets():
    """It has features too, all alike."""
    assert not MinHashes(10, 8, 0).buckets(sparse.csr_matrix((2, 30), dtype=np.float32)).any()
