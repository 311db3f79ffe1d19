"""Replicates of many groups merged at once equal a plain implementation of the rules."""

import statistics
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels import replicates
from data_prep.labels.activities import credible
from data_prep.labels.replicates import aggregate
from data_prep.settings import Activities
from tests.support.data_prep.activity_tables import assay, measured

KINDS = {
    "binary": {"is_binary": True},
    "adme": {"assay_type": "ADME"},
    "other": {"assay_type": "OTHER"},
    "low": {"assay_type": "PANEL", "direction": "low"},
    "high": {"assay_type": "CATALOG-PANEL", "direction": "high"},
    "size": {"assay_type": "AUX_HTS"},
}
PRECISION = {"=": 2, ">": 1, "<": 0}


def plainly(kind, group):
    """Return (qualifier, value) of one group's (qualifier, value) pairs, or None: the rules in a few lines."""
    values = [v for _, v in group]
    if kind == "binary":
        return "=", 1.0 if sum(values) >= 0 else -1.0
    if kind == "adme":
        counts = {q: sum(p == q for p, _ in group) for q in "=<>"}
        most = [q for q in "=<>" if counts[q] == max(counts.values())]
        return None if most == ["<", ">"] else (most[0], statistics.median(values))
    if kind == "low":
        group = [p for p in group if p[0] != ">"] or group
        best = min(group, key=lambda p: (p[1], -PRECISION[p[0]]))
    elif kind == "size":
        best = max(group, key=lambda p: (abs(p[1]), p[1], PRECISION[p[0]]))
    else:
        group = [p for p in group if p[0] != "<"] or group
        best = max(group, key=lambda p: (p[1], PRECISION[p[0]]))
    return best[0], round(best[1], 2) if kind == "other" else best[1]


VALUES = {
    kind: st.sampled_from([-1.0, 1.0]) if kind == "binary" else st.sampled_from([3.0, 4.25, 6.0, 9.5]) for kind in KINDS
}
VALUES["size"] = st.sampled_from([-9.0, -3.5, 0.0, 3.5, 9.0])


@st.composite
def tables(draw):
    """Draw up to three assays of any kind, and rows of them."""
    kinds = dict(zip("abc", draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3)), strict=False))
    rows = []
    for name, kind in kinds.items():
        row = st.tuples(st.just(name), st.sampled_from("<=>"), VALUES[kind], st.integers(0, 4))
        rows += draw(st.lists(row, max_size=25))
    return kinds, draw(st.permutations(rows))


@pytest.mark.parametrize("limit", [None, 0])
@settings(max_examples=100, deadline=None)
@given(tables())
def test_many_groups_follow_the_rules(limit, table):
    """For all kinds, rows and orders, each group is merged as by the plain rules, or rejected."""
    kinds, rows = table
    assays = pl.concat(assay(assay_id=name, **KINDS[kind]) for name, kind in kinds.items())
    parts = [measured([(q, v, row) for a, q, v, row in rows if a == name], name) for name in kinds]
    believed = credible(assays, pl.concat(parts), Activities())
    assert believed.rejected.is_empty()
    with pytest.MonkeyPatch.context() as patch:
        if limit is not None:  # as if the numbers of groups and rows were too large to be packed together
            patch.setattr(replicates, "_PACKED_BITS", limit)
        table = aggregate(believed.accepted, Activities())
    groups = defaultdict(list)
    for name, qualifier, value, row in rows:
        groups[name, row].append((qualifier, value))
    expected = {key: plainly(kinds[key[0]], group) for key, group in groups.items()}
    columns = ("input_assay_id", "row", "standard_qualifier", "standard_value")
    merged = table.accepted.select(columns).rows()
    assert merged == [(*key, *value) for key, value in sorted(expected.items()) if value is not None]
    lost = sum(len(groups[key]) for key, value in expected.items() if value is None)
    assert table.rejected.height == lost


def test_medians_are_numpys():
    """Odd and even numbers of replicates give numpy's median."""
    rng = np.random.default_rng(0)
    rows = [("=", float(rng.normal(6, 1)), int(rng.integers(0, 40))) for _ in range(400)]
    table = aggregate(credible(assay("ADME"), measured(rows), Activities()).accepted, Activities()).accepted
    for row, value in table.select("row", "standard_value").rows():
        assert value == np.median([v for _, v, r in rows if r == row])


def test_no_rows_give_no_values():
    """An empty table gives an empty table with the same columns."""
    table = aggregate(credible(assay(), measured([]), Activities()).accepted, Activities())
    assert table.accepted.columns == ["input_assay_id", "row", "assay_type", "standard_qualifier", "standard_value"]
    assert (table.accepted.height, table.rejected.height) == (0, 0)


def test_values_beyond_float32_are_not_credible():
    """ADME values are limited only by the range of float32."""
    rows = measured([("=", 3e38, 0), ("=", 1e39, 1), ("=", -1e300, 2)])
    table = credible(assay("ADME"), rows, Activities())
    assert table.accepted["row"].to_list() == [0]
    assert set(table.rejected["reason"]) == {"out_of_range"}


def test_direction_low_keeps_the_most_active_replicate():
    """Of 5 and 7 the smaller, as low is active; MELLODDY-TUNER keeps 7 in assays of these types (see README)."""
    for assay_type in ("OTHER", "NON-CATALOG-PANEL"):
        for direction, kept in (("low", 5.0), ("high", 7.0), ("", 7.0)):
            assays = assay(assay_id="a", assay_type=assay_type, direction=direction)
            rows = credible(assays, measured([("=", 5.0, 0), ("=", 7.0, 0)], "a"), Activities()).accepted
            assert aggregate(rows, Activities()).accepted["standard_value"].to_list() == [kept]
