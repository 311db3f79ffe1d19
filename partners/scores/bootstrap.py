"""Bootstrap intervals of a mean over tasks; tasks of one group are drawn together."""

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
    n_groups = len(total)
    drawn = rng.integers(0, n_groups, (_N_RESAMPLES, n_groups))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
