"""Merge replicates into one value per assay and compound.

The rules are MELLODDY-TUNER's, except that none depends on the order of rows (the peer takes the first of equals) and
that direction low is the exact mirror image of direction high: the peer forgets the qualifiers when it looks for
minima, and takes the largest of OTHER and NON-CATALOG-PANEL assays whatever their direction, the least active value.
Tables have tens of millions of rows, so rows are sorted once, by group number, and each group is a run of rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.labels.activities import DOSE_RESPONSE, RULE
from data_prep.settings import Activities
from data_prep.tables.tables import QUALIFIER, Table, reject

Floats = NDArray[np.float64]

_KEPT = ("input_assay_id", "row", "assay_type", "standard_qualifier", "standard_value")
_QUALIFIERS = tuple(QUALIFIER.categories)
_BELOW, _ABOVE, _EXACT = (_QUALIFIERS.index(qualifier) for qualifier in "<>=")
_PACKED_BITS = 64
_NEITHER = len(_QUALIFIERS)  # if < and > are equally common
_BY_PRECISION = (_EXACT, _ABOVE, _BELOW)  # which of equal values with different qualifiers is chosen
_RULES = tuple(RULE.categories)
_MAJORITY, _LOWEST, _HIGHEST, _LARGEST = (_RULES.index(r) for r in ("majority", "lowest", "highest", "largest"))


def aggregate(activities: pl.DataFrame, settings: Activities) -> Table:
    """Merge replicates: one `standard_qualifier` and `standard_value` per assay and compound, sorted by both.

    activities : credible's rows. All rows of a group that cannot be merged are rejected as `conflicting_qualifiers`.

    * binary: the majority, a tie is active
    * ADME: median, with the most common qualifier (a tie with = is =, a tie of < and > cannot be merged)
    * else one of the measurements. OTHER, NON-CATALOG-PANEL and direction high: the largest that is not <, else the
      largest; direction low: the smallest that is not >, else the smallest; other types without direction: the
      largest absolute value. Among equals = goes before > before <.
    """
    averaged = pl.col("rule").is_in(["majority", "median"])
    rows = activities.select(*_KEPT, "rule")
    merged = pl.concat([_merge(rows.filter(~averaged), _chosen), _merge(rows.filter(averaged), _averaged)])
    tied = merged.filter(pl.col("standard_qualifier").is_null())
    refused = activities.join(tied, on=["input_assay_id", "row"], how="semi") if tied.height else activities.clear()
    values = merged.drop_nulls("standard_qualifier").sort("input_assay_id", maintain_order=True)
    rejected = reject("T1", refused, pl.lit("conflicting_qualifiers")).rejected
    return Table(_rounded(values, settings.decimals), rejected)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows sorted by group and, for the median, within it by value."""

    values: Floats  # (n_rows,)
    qualifiers: NDArray[np.uint8]  # (n_rows,), codes
    starts: NDArray[np.int64]  # (n_groups,): the first row of each group
    rules: NDArray[np.uint8]  # (n_groups,), codes

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.starts, append=len(self.values))


_Merged = tuple[NDArray[np.integer[Any]], Floats]  # codes of qualifiers and values, (n_groups,) each


def _merge(activities: pl.DataFrame, merge: Callable[[_Groups], _Merged]) -> pl.DataFrame:
    """Return the columns _KEPT of every group, sorted by assay and row; null as qualifier if it cannot be merged."""
    rows = activities.sort("standard_value") if merge is _averaged else activities
    assay, row = (rows[name].to_physical().to_numpy().astype(np.uint64) for name in _KEPT[:2])
    group, order = _sorted(assay * (row.max(initial=0) + np.uint64(1)) + row)
    starts = np.flatnonzero(np.diff(group, prepend=~group[:1]))
    first_rows = rows.select(*_KEPT[:3], "rule")[order[starts]]
    qualifiers, values = rows["standard_qualifier"].to_physical().to_numpy()[order], rows["standard_value"].to_numpy()
    codes, value = merge(_Groups(values[order], qualifiers, starts, first_rows["rule"].to_physical().to_numpy()))
    qualifier_names = pl.Series([*_QUALIFIERS, None], dtype=QUALIFIER).gather(codes.astype(np.uint32))
    return first_rows.drop("rule").with_columns(
        qualifier_names.alias("standard_qualifier"), pl.Series("standard_value", value)
    )


def _sorted(group: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the group numbers in ascending order and the row of each, ascending within a group."""
    bits = len(group).bit_length()
    if (
        int(group.max(initial=0)).bit_length() + bits > _PACKED_BITS
    ):  # does not happen with 16 million compounds and rows
        order = np.argsort(group, kind="stable").astype(np.uint64)
        return group[order], order
    shift = np.uint64(bits)
    packed = np.sort(group << shift | np.arange(len(group), dtype=np.uint64))  # twice as fast as an argsort
    return packed >> shift, packed & ((np.uint64(1) << shift) - np.uint64(1))


def _averaged(groups: _Groups) -> _Merged:
    """Merge binary assays (the majority, exact) and ADME (the median, under the most common qualifier)."""
    starts, sizes = groups.starts, groups.sizes
    below, above, exact = (np.add.reduceat(groups.qualifiers == q, starts, dtype=np.int64) for q in range(_NEITHER))
    median = (groups.values[starts + (sizes - 1) // 2] + groups.values[starts + sizes // 2]) / 2
    majority = np.where(np.add.reduceat(groups.values, starts) >= 0, 1.0, -1.0)
    binary = groups.rules == _MAJORITY
    common = np.select(
        [binary | (exact >= np.maximum(below, above)), below > above, above > below],
        [_EXACT, _BELOW, _ABOVE],
        default=_NEITHER,
    )
    return common, np.where(binary, majority, median)


def _chosen(groups: _Groups) -> _Merged:
    """Choose a measurement of each group; the extremes of each qualifier are enough to decide."""
    best = [_best(groups, qualifier) for qualifier in range(_NEITHER)]  # absent: height -inf
    height = [height for _, height in best]
    for censored, rule in ((_BELOW, _HIGHEST), (_ABOVE, _LOWEST)):
        others = np.maximum(*(height[q] for q in range(_NEITHER) if q != censored))
        height[censored] = np.where((groups.rules == rule) & (others > -np.inf), -np.inf, height[censored])
    top = np.maximum.reduce(height)
    value = np.maximum.reduce([np.where(height[q] == top, best[q][0], -np.inf) for q in range(_NEITHER)])
    taken = [(height[q] == top) & (best[q][0] == value) for q in _BY_PRECISION]
    return np.select(taken, _BY_PRECISION), value


def _best(groups: _Groups, qualifier: int) -> tuple[Floats, Floats]:
    """Return the value that each group's rule prefers among those with one qualifier, and how high it ranks."""
    has_qualifier = groups.qualifiers == qualifier
    high = np.maximum.reduceat(np.where(has_qualifier, groups.values, -np.inf), groups.starts)
    low = np.minimum.reduceat(np.where(has_qualifier, groups.values, np.inf), groups.starts)
    largest = np.where(high >= -low, high, low)  # of -4 and 4 it is 4
    rules = [groups.rules == _LOWEST, groups.rules == _LARGEST]
    height = np.select(rules, [-low, np.where(high > -np.inf, np.abs(largest), -np.inf)], default=high)
    return np.select(rules, [low, largest], default=high), height


def _rounded(values: pl.DataFrame, decimals: int) -> pl.DataFrame:
    rounded = np.round(values["standard_value"].to_numpy(), decimals)  # halves to even after scaling, like the peer
    keep = ~pl.col("assay_type").is_in(DOSE_RESPONSE)
    return values.with_columns(
        pl.when(keep).then(pl.col("standard_value")).otherwise(pl.Series(rounded)).alias("standard_value")
    )
