"""What may be shown of a few tasks among many: groups of at least five, and no count below five.

A small count is also hidden where it could be found by subtracting what is shown from a sum.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

FEWEST = 5  # counts below this are small
HIDDEN: Literal["< 5"] = "< 5"  # stands for a small count
WITHHELD: Literal["withheld"] = "withheld"  # stands for a count that would give a small one away

Floats = NDArray[np.float64]
Key = TypeVar("Key")


def shown(counts: Mapping[Key, int]) -> dict[Key, int | str]:
    """Counts whose sum is known: small ones hidden, and as many others that what is hidden sums to five or more."""
    by_size = sorted(counts, key=lambda key: counts[key])
    small = [key for key in by_size if counts[key] < FEWEST]
    public: dict[Key, int | str] = {key: HIDDEN if key in small else counts[key] for key in counts}
    hidden = sum(counts[key] for key in small)
    for key in by_size[len(small) :]:
        if not small or hidden >= FEWEST:
            break
        public[key], hidden = WITHHELD, hidden + counts[key]
    return public


def apart(counts: Mapping[Key, int]) -> dict[Key, int]:
    """Counts of overlapping sets, no two of which differ by fewer than five: each becomes the fewest near it."""
    public: dict[Key, int] = {}
    fewest = -FEWEST
    for key in sorted(counts, key=lambda key: counts[key]):
        fewest = counts[key] if counts[key] - fewest >= FEWEST else fewest
        public[key] = fewest
    return public


def pooled(counts: Mapping[str, int], rest: str) -> dict[str, list[str]]:
    """Names to be shown together, by the name of their group: `rest` for small ones, with the next larger if need be.

    Every group counts five or more; empty where all together are fewer.
    """
    by_size = sorted((name for name in counts if counts[name]), key=lambda name: (counts[name], name))
    large = [name for name in by_size if counts[name] >= FEWEST]
    left = [name for name in by_size if counts[name] < FEWEST]
    while large and 0 < sum(counts[name] for name in left) < FEWEST:
        left.append(large.pop(0))
    groups = {name: [name] for name in sorted(large)}
    return groups | ({rest: sorted(left)} if sum(counts[name] for name in left) >= FEWEST else {})


def neighbours(members: Sequence[NDArray[np.int64]]) -> list[tuple[int, int]]:
    """Runs [first, last] of bins in order that hold five members or more each; empty for fewer than five in all.

    Members of a bin with fewer are joined to the next ones; what is left at the end to those before.
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
    """Mean of each of up to `n_groups` equal parts of the sorted values, lowest first: no single value is shown.

    Fewer parts where one would have fewer than five values; empty for fewer than five in all.
    """
    n_parts = min(n_groups, values.size // FEWEST)
    return [float(part.mean()) for part in np.array_split(np.sort(values), n_parts)] if n_parts else []


def cells(x: Floats, y: Floats, edges: Floats) -> list[tuple[int, int, int]]:
    """Two-dimensional histogram as (column, row, count) of the cells that may be shown, by column and row.

    Cells with fewer than five are left out; where those left out sum to fewer than five, the smallest others too.
    """
    counts = np.histogram2d(x, y, bins=(edges, edges))[0].astype(np.int64)
    public = shown({(int(i), int(j)): int(counts[i, j]) for i, j in np.argwhere(counts)})
    return [(i, j, count) for (i, j), count in sorted(public.items()) if isinstance(count, int)]


def rounded(tree: object, digits: int = 4) -> object:
    """The same with every float rounded: fewer digits give away less of what went into a mean."""
    if isinstance(tree, float):
        return round(tree, digits)
    if isinstance(tree, Mapping):
        return {key: rounded(value, digits) for key, value in tree.items()}
    return [rounded(value, digits) for value in tree] if isinstance(tree, list | tuple) else tree
