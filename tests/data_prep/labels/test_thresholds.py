"""Thresholds of assays, and labels of values."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels.activities import credible
from data_prep.labels.replicates import aggregate
from data_prep.labels.thresholds import candidate_tasks, label, label_all
from data_prep.settings import Activities
from tests.support.data_prep.activity_tables import assay, measured


def labels_of(values, qualifiers, threshold, side):
    rows = pl.DataFrame({"v": [float(v) for v in values], "q": list(qualifiers)})
    return rows.select(label(pl.col("v"), pl.col("q"), pl.lit(threshold), pl.lit(side)).alias("label"))[
        "label"
    ].to_list()


def thresholds_of(assays, values, settings=None):
    settings = settings or Activities()
    rows = measured([(q, v, i) for i, (q, v) in enumerate(values)])
    merged = aggregate(credible(assays, rows, settings).accepted, settings).accepted
    candidates = candidate_tasks(assays, merged, settings)
    return candidates.select("threshold", "threshold_method", "is_auxiliary").rows()


def exact(*values: object):
    return [("=", v) for v in values]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("high", {"=": [-1, 1, 1], "<": [-1, -1, None], ">": [None, 1, 1]}),
        ("low", {"=": [1, 1, -1], "<": [1, 1, None], ">": [None, -1, -1]}),
        ("hts-high", {"=": [-1, 1, 1], "<": [-1, 1, 1], ">": [-1, 1, 1]}),
    ],
)
def test_labels_at_threshold_six(side, expected):
    """Values 5, 6, 7 under each qualifier get the labels that the peer's rules give."""
    for qualifier, labels in expected.items():
        assert labels_of([5, 6, 7], qualifier * 3, 6.0, side) == labels


def test_hts_labels_without_direction():
    """A screen without direction uses the size of the value; direction low its negative."""
    assert labels_of([-4, -3, 0, 3, 4], "=====", 3.0, "hts-size") == [1, 1, -1, 1, 1]
    assert labels_of([-4, -3, 0, 3, 4], "=====", -3.0, "hts-low") == [1, 1, -1, -1, -1]


@settings(max_examples=50, deadline=None)
@given(st.floats(3, 10), st.sampled_from("<=>"), st.floats(3, 10))
def test_low_is_the_mirror_image_of_high(value, qualifier, threshold):
    """Mirrored value, threshold and qualifier with direction low give the same label."""
    turned = {"<": ">", ">": "<", "=": "="}[qualifier]
    assert labels_of([value], qualifier, threshold, "high") == labels_of([-value], turned, -threshold, "low")


def test_expert_thresholds_and_their_neighbours():
    """One to three expert thresholds get an auxiliary one below and above, more get none."""
    values = exact(5, 6, 7)
    assert thresholds_of(assay(experts=[6.0, 7.0]), values) == [
        (5.5, "aux_low", True),
        (6.0, "expert", False),
        (7.0, "expert", False),
        (7.5, "aux_high", True),
    ]
    four = [5.0, 6.0, 7.0, 8.0]
    assert thresholds_of(assay(experts=four), values) == [(t, "expert", False) for t in four]


def test_adaptive_threshold_takes_the_first_with_enough():
    """With 25 values above 7 and 25 below, a fifth of them active, the threshold is 7; with one active less it is 6."""
    enough = exact(*[7.5] * 25, *[6.5] * 25)
    assert thresholds_of(assay(), enough)[1] == (7.0, "fixed_adaptive", False)
    one_less = exact(*[7.5] * 24, *[6.5] * 26, *[5.5] * 25)
    assert thresholds_of(assay(), one_less)[1] == (6.0, "fixed_adaptive", False)
    rare = exact(*[8.5] * 25, *[6.5] * 101)
    assert thresholds_of(assay(), rare)[1][1] == "median"


def test_adaptive_threshold_of_direction_low_is_mirrored():
    """For direction low the most demanding threshold is the lowest."""
    values = exact(*[4.5] * 25, *[6.5] * 25)
    assert thresholds_of(assay(direction="low"), values)[1] == (4.7, "fixed_adaptive", False)


def test_median_shifts_censored_values():
    """With too few of a class the threshold is the median, in which a censored value counts as twice its bound."""
    values = [("<", 5.0), ("=", 6.0), (">", 7.0)]
    assert thresholds_of(assay(), values)[1] == (6.0, "median", False)
    shifted = thresholds_of(assay(), [("<", 5.0), ("=", 4.0)])
    assert shifted[1][0] == pytest.approx((5 - np.log10(2) + 4) / 2)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("", [(3.0, "median")]),
        ("high", [(3.0, "median"), (4.0, "quartile")]),
        ("low", [(2.0, "quartile"), (3.0, "median")]),
    ],
)
def test_adme_thresholds(direction, expected):
    """ADME takes the median of exact values and, with a direction, the quartile beyond it."""
    values = [*exact(1, 2, 3, 4, 5), ("<", 100.0)]
    thresholds = thresholds_of(assay("ADME", direction), values)
    assert [(t, m) for t, m, _ in thresholds] == expected


def test_adme_without_spread_or_values():
    """A quartile equal to the median is one task, a single exact value gives none, experts get no neighbours."""
    assert len(thresholds_of(assay("ADME", "high"), exact(3, 3, 3))) == 1
    assert thresholds_of(assay("ADME", "high"), exact(3)) == []
    assert thresholds_of(assay("ADME", experts=[2.0]), exact(3)) == [(2.0, "expert", False)]


def test_fixed_thresholds():
    """The threshold of screens is 3 (-3 for direction low), of binary assays 0; screens are auxiliary."""
    assert thresholds_of(assay("AUX_HTS", experts=[6.0]), exact(4)) == [(3.0, "fixed", True)]
    assert thresholds_of(assay("AUX_HTS", "low"), exact(4)) == [(-3.0, "fixed", True)]
    assert thresholds_of(assay(is_binary=True, experts=[6.0]), exact(1)) == [(0.0, "binary", False)]
    assert thresholds_of(assay("AUX_PL", is_binary=True), exact(1)) == [(0.0, "binary", True)]


def test_binary_labels_are_the_values():
    """A binary assay's labels are its values, for any direction in T0."""
    assays = assay(direction="low", is_binary=True)
    rows = measured([("=", 1, 0), ("=", -1, 1)])
    values = aggregate(credible(assays, rows, Activities()).accepted, Activities()).accepted
    labels = label_all(candidate_tasks(assays, values, Activities()), values)
    assert labels.rows() == [(0, 0, 1), (0, 1, -1)]


def test_assays_without_values_give_no_task():
    """An assay without values has no candidate task."""
    assert thresholds_of(assay(experts=[6.0]), []) == []


def test_panels_and_auxiliary_values_are_treated_like_other():
    """Every dose-response type gets the same thresholds from the same values; all of AUX_PL is auxiliary."""
    values = exact(*[7.5] * 25, *[6.5] * 25)
    expected = thresholds_of(assay("OTHER"), values)
    for assay_type in ("PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL"):
        assert thresholds_of(assay(assay_type), values) == expected
    assert thresholds_of(assay("AUX_PL"), values) == [(t, method, True) for t, method, _ in expected]


def test_auxiliary_tasks_can_be_left_out():
    """Without auxiliary tasks there are no auxiliary thresholds and no AUX assays."""
    fewer = Activities(auxiliary_tasks=False)
    assert thresholds_of(assay(experts=[6.0]), exact(5, 7), fewer) == [(6.0, "expert", False)]
    assert thresholds_of(assay("AUX_HTS"), exact(4), fewer) == []
    assert thresholds_of(assay("AUX_PL", is_binary=True), exact(1), fewer) == []
