"""Bootstrap intervals of a mean over tasks; tasks of one group are drawn together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_N_RESAMPLES = 2000


def interval_of_mean(
    total: NDArray[np.float64],
    count: NDArray[np.float64],
    rng: np.random.Generator,
    tail: float = 0.025,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over tasks; whole groups are drawn.

    total, count : (n_groups,) sum of the values and number of the tasks of each group, at least one group
    tail         : share of the resampled means below the interval, and as many above it: 0.025 is the 95 % interval
    """
    totals, counts = resampled_sums((total, count), rng)
    low, high = np.quantile(totals / counts, [tail, 1 - tail])
    return float(low), float(high)


def resampled_sums(values: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Sums over groups that are drawn with replacement, as many as there are, (n_resamples,) for each of the values.

    values : (n_groups,) each, at least one group
    """
    n_groups = len(values[0])
    drawn = rng.integers(0, n_groups, (_N_RESAMPLES, n_groups))
    return [each[drawn].sum(axis=1) for each in values]
