"""Disclosure rules: no small count is shown, not even by subtraction, and no single value."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report.disclosure import (
    FEWEST,
    HIDDEN,
    WITHHELD,
    cells,
    group_means,
    group_small,
    hide_small,
    join_small_bins,
    rounded,
)

NAMES = st.text("abcdef", min_size=1, max_size=3)
COUNTS = st.dictionaries(NAMES, st.integers(0, 40), max_size=8)
VALUES = st.lists(st.floats(-1, 1), max_size=120).map(lambda values: np.array(values, dtype=np.float64))


@given(COUNTS)
def test_counts_that_are_shown_are_true_and_not_small(counts: dict[str, int]):
    """A shown count is the true one, five or more; a small one is only marked as small."""
    told = hide_small(counts)
    assert told.keys() == counts.keys()
    for name, said in told.items():
        if isinstance(said, int):
            assert said == counts[name] >= FEWEST
        else:
            assert said == (HIDDEN if counts[name] < FEWEST else WITHHELD)


@given(COUNTS)
def test_no_small_count_can_be_found_by_subtraction(counts: dict[str, int]):
    """Hidden counts sum to five or more, unless none is hidden or all are."""
    told = hide_small(counts)
    hidden = [counts[name] for name, said in told.items() if not isinstance(said, int)]
    assert not hidden or sum(hidden) >= FEWEST or len(hidden) == len(counts)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"better": 49, "worse": 23, "equal": 1}, {"better": 49, "worse": WITHHELD, "equal": HIDDEN}),
        ({"better": 40, "worse": 4, "equal": 3}, {"better": 40, "worse": HIDDEN, "equal": HIDDEN}),
        ({"better": 49, "worse": 23, "equal": 6}, {"better": 49, "worse": 23, "equal": 6}),
        ({"better": 0, "worse": 0, "equal": 7}, {"better": HIDDEN, "worse": HIDDEN, "equal": WITHHELD}),
    ],
)
def test_shown_by_example(counts: dict[str, int], told: dict[str, int | str]):
    """With a single small count the smallest other one is hidden too."""
    assert hide_small(counts) == told


@given(COUNTS)
def test_pooled_groups_are_large_and_lose_nobody(counts: dict[str, int]):
    """Every group counts five or more; together they have every name with a count, or there is no group."""
    groups = group_small(counts, "the rest")
    for names in groups.values():
        assert sum(counts[name] for name in names) >= FEWEST
    told = sorted(name for names in groups.values() for name in names)
    present = sorted(name for name in counts if counts[name])
    assert told == present or sum(counts.values()) < FEWEST


@given(st.lists(st.integers(0, 12), max_size=9))
def test_neighbouring_bins_are_joined_until_they_are_large(sizes: list[int]):
    """Ranges are in order, have five members or more each, and leave none out unless all are fewer than five."""
    members = [np.arange(n) for n in sizes]
    runs = join_small_bins(members)
    assert all(sum(sizes[first : last + 1]) >= FEWEST for first, last in runs)
    if sum(sizes) >= FEWEST:
        assert runs[0][0] == 0
        assert all(after[0] == before[1] + 1 for before, after in pairwise(runs))
        assert sum(sum(sizes[first : last + 1]) for first, last in runs) == sum(sizes)
    else:
        assert runs == []


@given(VALUES)
def test_group_means_are_of_five_or_more(values: np.ndarray):
    """At most ten means in rising order, each over five values or more, between the extremes."""
    means = group_means(values)
    assert len(means) == min(10, values.size // FEWEST)
    assert means == sorted(means) or np.allclose(means, sorted(means), atol=1e-12)
    if means:
        assert values.min() - 1e-12 <= means[0]
        assert means[-1] <= values.max() + 1e-12
        parts = np.array_split(np.sort(values), len(means))
        assert min(part.size for part in parts) >= FEWEST
        np.testing.assert_allclose(means, [part.mean() for part in parts])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=200), st.sampled_from([2, 5, 10]))
def test_cells_count_what_numpy_counts(points: list[tuple[float, float]], n_bins: int):
    """Each shown cell has its true count, five or more; the others sum to five or more, or to zero."""
    x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
    edges = np.linspace(0, 1, n_bins + 1)
    counts = np.histogram2d(x, y, bins=(edges, edges))[0]
    found = cells(x, y, edges)
    assert all(count == counts[i, j] >= FEWEST for i, j, count in found)
    left = len(points) - sum(count for _, _, count in found)
    assert left == 0 or left >= FEWEST or not found


def test_rounding_reaches_every_float_and_nothing_else():
    """Integers, texts and None stay; the tree keeps its form."""
    tree = {"a": [0.123456, 7, None, "x"], "b": {"c": 1.00004}}
    assert rounded(tree) == {"a": [0.1235, 7, None, "x"], "b": {"c": 1.0}}
