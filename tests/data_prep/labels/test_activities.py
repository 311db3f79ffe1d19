"""Credible values and merged replicates: equal to the peer's row sets, and by laws."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels.activities import credible
from data_prep.labels.replicates import aggregate
from data_prep.settings import Activities
from data_prep.tables.tables import read_activities, read_assays
from tests.support.data_prep.activity_tables import assay, measured

PEERS = Activities(credible_adme_min=-1e12, credible_adme_max=1e12)  # the limits of its unit test


def merge(assays, values):
    """Return (qualifier, value) that the replicates of one structure become, or None."""
    rows = measured([(q, v, 0) for q, v in values])
    result = aggregate(credible(assays, rows, Activities()).accepted, Activities())
    merged = result.accepted.select("standard_qualifier", "standard_value").rows()
    assert len(merged) + (result.rejected.height == len(values)) == 1
    return merged[0] if merged else None


@pytest.fixture
def peer(shared):
    folder = shared / "golden/tuner/aggregation"
    assays, activities = read_assays(folder / "T0.csv"), read_activities(folder / "T1.csv")
    rows = pl.read_csv(folder / "T5.csv").select(
        pl.col("input_compound_id").cast(pl.Int64).cast(pl.String).cast(pl.Categorical),
        pl.col("descriptor_vector_id").cast(pl.UInt32).alias("row"),
    )
    joined = activities.accepted.join(rows, on="input_compound_id", how="left")
    return folder, activities, credible(assays.accepted, joined, PEERS)


def _row_set(*files: Path) -> set[tuple]:
    sets = [
        pl.read_csv(file).select(
            pl.col("input_assay_id").cast(pl.String),
            pl.col("descriptor_vector_id"),
            "standard_qualifier",
            pl.col("standard_value").cast(pl.Float64).round(9),
        )
        for file in files
    ]
    return set(pl.concat(sets).iter_rows())


def test_golden_aggregated_values(peer):
    """The merged rows are the peer's and those that it drops because one of their folds is near-constant."""
    folder, _, believed = peer
    values = aggregate(believed.accepted, PEERS).accepted
    table = values.select("input_assay_id", "row", "standard_qualifier", pl.col("standard_value").round(9))
    assert set(table.iter_rows()) == _row_set(folder / "expected_T4r.csv", folder / "expected_failed_std_T1.csv")


def test_golden_rejected_values(peer):
    """Rejected missing, infinite and incredible values are exactly the peer's."""
    folder, activities, believed = peer
    rejected = pl.concat([activities.rejected, believed.rejected]).filter(pl.col("reason") != "unknown_compound")
    expected = pl.read_csv(folder / "expected_failed_range_T1.csv", infer_schema=False)
    assert sorted(rejected.select("input_compound_id", "input_assay_id").iter_rows()) == sorted(
        expected.select("input_compound_id", "input_assay_id").iter_rows()
    )


def test_golden_duplicates_and_conflicts(peer):
    """The replicates, and the one group that cannot be merged, equal the peer's."""
    folder, _, believed = peer
    groups = believed.accepted.filter(pl.len().over("input_assay_id", "row") > 1)
    expected = pl.read_csv(folder / "expected_duplicates_T1.csv", infer_schema=False)
    assert sorted(groups.select("input_assay_id", "input_compound_id").iter_rows()) == sorted(
        expected.select("input_assay_id", "input_compound_id").iter_rows()
    )
    conflicts = aggregate(believed.accepted, PEERS).rejected
    assert set(conflicts["reason"]) == {"conflicting_qualifiers"}
    assert set(conflicts["input_assay_id"]) == {"3"}
    assert set(conflicts["input_compound_id"]) == {"7", "8"}


@pytest.mark.parametrize(
    ("assays", "values", "merged"),
    [
        (assay("OTHER"), [("=", 6), ("=", 7), ("<", 9)], ("=", 7)),
        (assay("OTHER"), [("=", 6), (">", 7)], (">", 7)),
        (assay("OTHER"), [("<", 6), ("<", 5)], ("<", 6)),
        (assay("OTHER"), [("=", 7), (">", 7)], ("=", 7)),
        (assay("OTHER", "low"), [("=", 6), ("=", 7), (">", 4)], ("=", 6)),
        (assay("OTHER", "low"), [(">", 6), (">", 5)], (">", 5)),
        (assay("NON-CATALOG-PANEL"), [("=", 6), ("<", 8)], ("=", 6)),
        (assay("PANEL", "high"), [("=", 6), ("<", 8)], ("=", 6)),
        (assay("PANEL", "low"), [("<", 6), (">", 4)], ("<", 6)),
        (assay("AUX_HTS"), [("=", -4), ("=", 3)], ("=", -4)),
        (assay("AUX_HTS"), [("=", -4), ("=", 4)], ("=", 4)),
        (assay("AUX_HTS", "low"), [("=", -4), ("=", 9)], ("=", -4)),
        (assay("ADME"), [("=", 1), ("=", 2), ("=", 40)], ("=", 2)),
        (assay("ADME"), [("<", 1), ("=", 2)], ("=", 1.5)),
        (assay("ADME"), [("<", 1), ("<", 2), ("=", 3)], ("<", 2)),
        (assay("ADME"), [("<", 1), (">", 2), ("=", 3)], ("=", 2)),
        (assay("ADME"), [("<", 1), (">", 2)], None),
        (assay("ADME"), [("<", 1), (">", 2), ("<", 1), (">", 2), ("=", 2)], None),
        (assay(is_binary=True), [("=", 1), ("=", -1)], ("=", 1)),
        (assay(is_binary=True), [("=", 1), ("=", -1), ("=", -1)], ("=", -1)),
        (assay("OTHER"), [("=", 6.005)], ("=", 6.0)),
        (assay("PANEL"), [("=", 6.005)], ("=", 6.005)),
    ],
)
def test_replicate_rules(assays, values, merged):
    """Each assay type merges replicates by its rule, in any order of rows."""
    assert merge(assays, values) == merge(assays, values[::-1]) == merged


_VALUES = st.lists(st.tuples(st.sampled_from("<=>"), st.sampled_from([3, 4.5, 6, 7.25, 10])), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(_VALUES, st.sampled_from(["OTHER", "PANEL", "ADME", "NON-CATALOG-PANEL"]), st.randoms())
def test_replicates_in_any_order(values, assay_type, random):
    """Shuffling the rows changes nothing."""
    shuffled = list(values)
    random.shuffle(shuffled)
    assert merge(assay(assay_type), values) == merge(assay(assay_type), shuffled)


@settings(max_examples=40, deadline=None)
@given(_VALUES)
def test_direction_low_mirrors_direction_high(values):
    """Mirroring values at 6.5 and reversing qualifiers mirrors the merged value."""
    turned = {"<": ">", ">": "<", "=": "="}
    high = merge(assay("PANEL", "high"), values)
    low = merge(assay("PANEL", "low"), [(turned[q], 13 - v) for q, v in values])
    assert low == (turned[high[0]], 13 - high[1])


@pytest.mark.parametrize(
    ("assays", "value", "reason"),
    [
        (assay("OTHER"), 10.1, "out_of_range"),
        (assay("OTHER"), 2.9, "out_of_range"),
        (assay("OTHER"), 10, None),
        (assay("PANEL"), 11, "out_of_range"),
        (assay("AUX_HTS"), -10, None),
        (assay("AUX_HTS"), -10.5, "out_of_range"),
        (assay("ADME"), 1e30, None),
        (assay(is_binary=True), 0.5, "not_binary"),
        (assay(is_binary=True), -1, None),
        (assay(assay_id="b"), 5, "unknown_assay"),
    ],
)
def test_credible_ranges(assays, value, reason):
    """A value is credible within its assay type's range, limits included."""
    table = credible(assays, measured([("=", value, 0)]), Activities())
    assert table.rejected["reason"].to_list() == ([reason] if reason else [])
    assert table.accepted.height + table.rejected.height == 1


def test_activities_without_structure_are_set_aside():
    """An activity whose compound has no row is rejected."""
    table = credible(assay(), measured([("=", 5, None)]), Activities())
    assert table.rejected["reason"].to_list() == ["unknown_compound"]
