"""Counts and standard deviations of many groups of values at once, bit for bit equal for any number of threads."""

import numpy as np
from numpy.typing import NDArray


def grouped_std(
    cell: NDArray[np.int64], values: NDArray[np.float64], n_cells: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of values of each group and their sample standard deviation, 0 for fewer than two values.

    cell : (n_values,), the group of each value, 0 to n_cells - 1
    """
    counts = np.bincount(cell, minlength=n_cells)
    means = np.bincount(cell, weights=values, minlength=n_cells) / np.maximum(counts, 1)
    squares = np.bincount(cell, weights=(values - means[cell]) ** 2, minlength=n_cells)
    return counts, np.sqrt(squares / np.maximum(counts - 1, 1))
