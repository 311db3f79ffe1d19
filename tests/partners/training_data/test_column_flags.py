"""Which input columns a partner flags."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partners.training_data.column_flags import column_flags, compounds_by_column, share_that_sets
from tests.support.partners.synthetic import N_INPUTS, small_set

COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=30)


def test_compounds_of_the_training_folds_are_counted():
    """By a dense oracle: labelled compounds of other folds than validation and test."""
    data = small_set()
    expected = (data.x.toarray()[data.training_rows] > 0).sum(axis=0)
    np.testing.assert_array_equal(compounds_by_column(data), expected)
    assert 0 < data.training_rows.size < data.n_compounds


@given(COUNTS, st.integers(1, 4), st.floats(0, 0.99), st.integers(0, 9))
def test_every_held_column_is_flagged_or_withheld(counts: list[int], least: int, withhold: float, seed: int):
    """Flagged only with enough compounds and by chance; of the others those that a compound sets are withheld."""
    chance = np.random.default_rng(seed).random(len(counts))
    flags = column_flags(np.array(counts), least, withhold, chance)
    expected = [n >= least and luck >= withhold for n, luck in zip(counts, chance, strict=True)]
    assert flags.flagged.tolist() == np.flatnonzero(expected).tolist()
    held = set(np.flatnonzero(counts).tolist())
    assert set(flags.withheld.tolist()) == held - set(flags.flagged.tolist())


def test_about_the_share_is_withheld():
    """Of 100,000 columns that all are held."""
    counts, chance = np.ones(100_000, dtype=np.int64), np.random.default_rng(0).random(100_000)
    assert abs(column_flags(counts, 1, 0.1, chance).withheld.size - 10_000) < 500
    assert column_flags(counts, 1, 0.0, chance).withheld.size == 0


def test_the_share_of_compounds_that_set_a_column():
    """By a dense oracle."""
    data = small_set()
    dense = data.x.toarray()[data.training_rows] > 0
    for columns in ([], [3], [3, 7, 50], range(N_INPUTS)):
        expected = dense[:, list(columns)].any(axis=1).mean() if columns else 0.0
        assert share_that_sets(data, np.array(columns, dtype=np.int64)) == expected
