"""Results for all tasks at once equal those of numpy and scipy for each task."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from partners.scores.by_task import average_ranks, count_by_task, is_constant, is_first, max_by_task, sum_by_task

_N_TASKS = 4
_ENTRIES = st.lists(st.tuples(st.integers(0, _N_TASKS - 1), st.integers(-2, 2) | st.just(np.inf)), max_size=30)


def _columns(entries: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([e[0] for e in entries], dtype=np.int64), np.array([e[1] for e in entries], dtype=np.float64)


@settings(deadline=None)
@given(_ENTRIES)
def test_sums_and_counts(entries: list[tuple[int, float]]):
    """Each task's sum and count are those of its entries, 0 without any."""
    task, value = _columns(entries)
    sums, counts = sum_by_task(task, value, _N_TASKS), count_by_task(task, _N_TASKS)
    for number in range(_N_TASKS):
        assert (sums[number], counts[number]) == (value[task == number].sum(), (task == number).sum())


@settings(deadline=None)
@given(_ENTRIES.map(lambda entries: sorted(entries, key=lambda entry: entry[0])))
def test_extremes_and_constancy(entries: list[tuple[int, float]]):
    """Each task's maximum is that of its entries, NaN without any; constant means one distinct value at most."""
    task, value = _columns(entries)
    largest, constant = max_by_task(task, value, _N_TASKS), is_constant(task, value, _N_TASKS)
    for number in range(_N_TASKS):
        own = value[task == number]
        np.testing.assert_equal(largest[number], own.max() if own.size else np.nan)
        assert constant[number] == (np.unique(own).size <= 1)


@settings(deadline=None)
@given(_ENTRIES)
def test_ranks_are_scipys(entries: list[tuple[int, float]]):
    """Ranks within each task are scipy's average ranks, ties and infinities included."""
    task, value = _columns(entries)
    ranks = average_ranks(task, value, _N_TASKS)
    for number in range(_N_TASKS):
        np.testing.assert_array_equal(ranks[task == number], rankdata(value[task == number]))


def test_runs_of_equal_keys():
    """A run begins where any key changes; two infinities are the same key; no entry has no run."""
    first = is_first(np.array([0, 0, 0, 1, 1]), np.array([np.inf, np.inf, 1, 1, 1]))
    assert first.tolist() == [True, False, True, True, False]
    assert is_first(np.empty(0)).size == 0
