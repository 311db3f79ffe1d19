"""Keyed bits and folds equal MELLODDY-TUNER's values for its key string "melloddy"."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import StructureSeedError
from data_prep.folds.keyed import bit_permutation, require_strong_seed, scaffold_folds

KEY = b"melloddy"


def test_golden_permutation():
    """The permutation under the peer's key starts with the published positions."""
    assert bit_permutation(KEY, 32_000)[:8].tolist() == [3727, 10959, 989, 23291, 9942, 20212, 643, 28067]


def test_golden_bits(golden, standardised):
    """All golden structures have the peer's permuted bits."""
    places = bit_permutation(KEY, 32_000)
    starts = standardised.starts
    permuted = [np.sort(places[standardised.bits[a:b]]) for a, b in pairwise(starts)]
    assert [" ".join(map(str, bits)) for bits in permuted] == golden["bits"].to_list()


def test_golden_folds(golden):
    """All golden fold scaffolds, and the named ones, get the peer's folds."""
    pairs = golden.select("fold_scaffold", "fold_id").unique()
    assert scaffold_folds(KEY, pairs["fold_scaffold"].to_list(), 5) == pairs["fold_id"].to_list()
    assert scaffold_folds(KEY, [None, "c1ccccc1", "c1ccncc1"], 5) == [3, 4, 3]


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(16, 300))
def test_a_permutation_loses_no_bit(seed, n_bits):
    """Every key gives a permutation of the bits, and the same key the same permutation."""
    places = bit_permutation(seed, n_bits)
    assert sorted(places.tolist()) == list(range(n_bits))
    np.testing.assert_array_equal(places, bit_permutation(seed, n_bits))


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1), st.one_of(st.none(), st.text("CNOcn1()=#", min_size=1, max_size=40)))
def test_folds_are_in_range(seed, scaffold):
    """Every key and scaffold gives a fold from 0 to n_folds - 1, always the same."""
    (fold,) = scaffold_folds(seed, [scaffold], 7)
    assert fold in range(7)
    assert scaffold_folds(seed, [None, scaffold], 7)[1] == fold


def test_short_seeds_are_refused_without_being_shown():
    """A seed of 31 bytes is refused, one of 32 accepted, and the message does not contain the seed."""
    with pytest.raises(StructureSeedError, match=r"\b31 bytes\b.*\b32\b") as refusal:
        require_strong_seed(b"secretsecret".ljust(31, b"x"))
    assert "secret" not in str(refusal.value)
    require_strong_seed(bytes(32))
