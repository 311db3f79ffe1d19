"""Rules of disclosure for the shareable summary: groups of at least five tasks, and no count below five.

A count is also hidden if a small one could be found by subtracting the shown ones from their sum.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

FEWEST = 5  # counts below this are small
HIDDEN: Literal["< 5"] = "< 5"  # instead of a small count
WITHHELD: Literal["withheld"] = "withheld"  # instead of a count from which a small one could be found

Floats = NDArray[np.float64]
Key = TypeVar("Key")
ShownCount = int | Literal["< 5", "withheld"]


def hide_small(counts: Mapping[Key, int]) -> dict[Key, ShownCount]:
    """Hide small counts whose sum is known, and as many others that the hidden ones sum to five or more."""
    by_size = sorted(counts, key=lambda key: counts[key])
    small = [key for key in by_size if counts[key] < FEWEST]
    public: dict[Key, ShownCount] = {key: HIDDEN if key in small else counts[key] for key in counts}
    hidden = sum(counts[key] for key in small)
    for key in by_size[len(small) :]:
        if not small or hidden >= FEWEST:
            break
        public[key], hidden = WITHHELD, hidden + counts[key]
    return public


def spaced_counts(counts: Mapping[Key, int]) -> dict[Key, int]:
    """Lower counts of overlapping sets until no two differ by one to four, from which a small set could be found.

    Going up, each count within four of the last one that was kept is replaced by that one.
    """
    public: dict[Key, int] = {}
    kept = -FEWEST
    for key in sorted(counts, key=lambda key: counts[key]):
        kept = counts[key] if counts[key] - kept >= FEWEST else kept
        public[key] = kept
    return public


def group_small(counts: Mapping[str, int], rest: str) -> dict[str, list[str]]:
    """Names by group: small ones together as `rest`, with larger ones until that has five; the others alone.

    Every group counts five or more; empty if all together are fewer.
    """
    by_size = sorted((name for name in counts if counts[name]), key=lambda name: (counts[name], name))
    large = [name for name in by_size if counts[name] >= FEWEST]
    small = [name for name in by_size if counts[name] < FEWEST]
    while large and 0 < sum(counts[name] for name in small) < FEWEST:
        small.append(large.pop(0))
    groups = {name: [name] for name in sorted(large)}
    return groups | ({rest: sorted(small)} if sum(counts[name] for name in small) >= FEWEST else {})


def join_small_bins(members: Sequence[NDArray[np.int64]]) -> list[tuple[int, int]]:
    """Join bins in order into ranges [first, last] with five members or more; empty for fewer than five in all.

    A bin with fewer is joined to the next one, at the end to the range before.
    """
    runs: list[tuple[int, int]] = []
    first, n = 0, 0
    for i, members_here in enumerate(members):
        n += len(members_here)
        if n >= FEWEST:
            runs.append((first, i))
            first, n = i + 1, 0
    if n and runs:
        runs[-1] = (runs[-1][0], len(members) - 1)
    return runs


def group_means(values: Floats, n_groups: int = 10) -> list[float]:
    """Means of up to `n_groups` equal parts of the sorted values, lowest first, so that no single value is shown.

    Fewer parts if one would have fewer than five values; empty for fewer than five in all.
    """
    n_parts = min(n_groups, values.size // FEWEST)
    return [float(part.mean()) for part in np.array_split(np.sort(values), n_parts)] if n_parts else []


def cells(x: Floats, y: Floats, edges: Floats) -> list[tuple[int, int, int]]:
    """Cells of a two-dimensional histogram that may be shown, as (column, row, count), by column and row.

    Cells with fewer than five are left out; if these sum to fewer than five, the smallest others too.
    """
    counts = np.histogram2d(x, y, bins=(edges, edges))[0].astype(np.int64)
    public = hide_small({(int(i), int(j)): int(counts[i, j]) for i, j in np.argwhere(counts)})
    return [(i, j, count) for (i, j), count in sorted(public.items()) if isinstance(count, int)]


def rounded(tree: object, digits: int = 4) -> object:
    """Round every float in a JSON tree: fewer digits reveal less of the values behind a mean."""
    if isinstance(tree, float):
        return round(tree, digits)
    if isinstance(tree, Mapping):
        return {key: rounded(value, digits) for key, value in tree.items()}
    return [rounded(value, digits) for value in tree] if isinstance(tree, list | tuple) else tree
