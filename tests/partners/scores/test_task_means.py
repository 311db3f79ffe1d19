"""Weighted means over tasks, and the number of tasks without a value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from partners.errors import BadLengths, BadWeights
from partners.scores.task_means import mean_over_tasks

_VALUES = st.floats(-100, 100) | st.just(float("nan"))


@settings(deadline=None)
@given(st.lists(st.tuples(_VALUES, st.sampled_from([0.0, 0.5, 1.0, 3.0])), max_size=12))
def test_mean_over_the_tasks_with_a_value(tasks: list[tuple[float, float]]):
    """The mean is over tasks of positive weight with a value; both counts add up to all of positive weight."""
    values, weight = (np.array([task[place] for task in tasks], dtype=float) for place in (0, 1))
    mean = mean_over_tasks(values, weight)
    kept = [(value, heavy) for value, heavy in tasks if heavy > 0 and value == value]  # noqa: PLR0124 -- not NaN
    assert mean.n_scored == len(kept)
    assert mean.n_scored + mean.n_unscored == int((weight > 0).sum())
    if kept:
        total = sum(heavy for _, heavy in kept)
        assert mean.value == pytest.approx(sum(value * heavy for value, heavy in kept) / total, abs=1e-9)
    else:
        assert np.isnan(mean.value)


@settings(deadline=None)
@given(some.arrays(np.float64, st.integers(0, 9), elements=st.floats(-9, 9)))
def test_without_weights_all_count_alike(values: np.ndarray):
    """None for the weights is a weight of 1 for every task."""
    mean, alike = mean_over_tasks(values), mean_over_tasks(values, np.ones(values.size))
    np.testing.assert_equal((mean.value, mean.n_scored), (alike.value, alike.n_scored))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_wrong_weights_are_refused(weight: float):
    """A weight below 0 or not finite is refused, and so is another number of weights."""
    with pytest.raises(BadWeights, match="for task 1, expected"):
        mean_over_tasks(np.zeros(2), np.array([1.0, weight]))
    with pytest.raises(BadLengths, match=r"^aggregation_weight: .*\(1,\), .*\(2,\)"):
        mean_over_tasks(np.zeros(2), np.array([weight]))
