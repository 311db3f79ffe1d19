"""Sums, largest values and ranks within each task, for all tasks at once, in numpy.

Values are flat arrays, one entry per label, with a second array for the task of each entry; nothing loops over tasks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


def sum_by_task(task: Counts, value: NDArray[Any], n_tasks: int) -> Floats:
    """Sum of the entries of each task, (n_tasks,); 0 for a task without entries."""
    return np.bincount(task, weights=value, minlength=n_tasks).astype(np.float64)


def count_by_task(task: Counts, n_tasks: int) -> Counts:
    """Number of entries of each task, (n_tasks,)."""
    return np.bincount(task, minlength=n_tasks).astype(np.int64)


def max_by_task(task: Counts, value: Floats, n_tasks: int) -> Floats:
    """Largest entry of each task, (n_tasks,), from entries sorted by task; NaN for a task without entries."""
    largest = np.full(n_tasks, np.nan)
    if task.size:
        first = np.flatnonzero(is_first(task))
        largest[task[first]] = np.maximum.reduceat(value, first)
    return largest


def is_constant(task: Counts, value: Floats, n_tasks: int) -> Flags:
    """Whether all entries of a task are the same number, (n_tasks,), from entries sorted by task; true without any."""
    return ~(max_by_task(task, value, n_tasks) > -max_by_task(task, -value, n_tasks))


def is_first(*sorted_keys: NDArray[Any]) -> Flags:
    """Whether an entry begins a run of equal keys, (n_entries,)."""
    first = np.ones(sorted_keys[0].size, dtype=np.bool_)
    if first.size:
        first[1:] = False
        for key in sorted_keys:
            first[1:] |= key[1:] != key[:-1]  # not a difference: two infinities are equal
    return first


def average_ranks(task: Counts, value: Floats, n_tasks: int) -> Floats:
    """Rank of each entry within its task, lowest 1, equal values sharing their mean rank; (n_entries,)."""
    order = np.lexsort((value, task))
    n_before = np.cumsum(count_by_task(task, n_tasks)) - count_by_task(task, n_tasks)
    first = is_first(task[order], value[order])
    begin = np.flatnonzero(first)
    end = np.append(begin[1:], order.size)[: begin.size]
    mean_rank = (begin + 1 + end) / 2  # of ranks begin + 1 ... end, counted over all tasks
    ranks = np.empty(order.size)
    ranks[order] = mean_rank[np.cumsum(first) - 1] - n_before[task[order]]
    return ranks
