"""The bootstrap interval of a mean over tasks equals its definition."""

import numpy as np
import pytest

from partners.scores.bootstrap import interval_of_mean

N_RESAMPLES = 2000


def by_definition(groups: list[np.ndarray], rng: np.random.Generator) -> list[float]:
    """Resampled means over tasks, with as many groups as there are, drawn with replacement."""
    drawn = rng.integers(0, len(groups), (N_RESAMPLES, len(groups)))
    return [float(np.concatenate([groups[i] for i in row]).mean()) for row in drawn]


@pytest.mark.parametrize("tail", [0.025, 0.05, 0.2])
def test_the_interval_is_that_of_resampled_groups(tail: float):
    """Groups of 1 to 6 tasks are drawn whole; the same share of means lies below and above."""
    rng = np.random.default_rng(5)
    groups = [rng.normal(0.1, 0.3, size) for size in (1, 2, 6, 3, 4)]
    total, count = np.array([group.sum() for group in groups]), np.array([float(group.size) for group in groups])
    means = by_definition(groups, np.random.default_rng(9))
    interval = interval_of_mean(total, count, np.random.default_rng(9), tail)
    np.testing.assert_allclose(interval, np.percentile(means, [100 * tail, 100 * (1 - tail)]), atol=1e-12)


def test_by_default_it_is_the_95_percent_interval():
    """The bounds are numpy's percentiles 2.5 and 97.5, to the last bit."""
    rng = np.random.default_rng(1)
    total, count = rng.normal(size=50), rng.integers(1, 9, 50).astype(np.float64)
    drawn = np.random.default_rng(3).integers(0, 50, (N_RESAMPLES, 50))
    expected = np.percentile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), [2.5, 97.5])
    assert interval_of_mean(total, count, np.random.default_rng(3)) == tuple(expected)
