"""Thresholds and labels."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.activities import aggregate, credible
from data_prep.settings import Activities
from data_prep.thresholds import candidate_tasks, label, label_all
from tests.data_prep.test_activities import assay, measured


def _labels(values, qualifiers, threshold, side):
    rows = pl.DataFrame({"v": [float(v) for v in values], "q": list(qualifiers)})
    return rows.select(label(pl.col("v"), pl.col("q"), pl.lit(threshold), pl.lit(side)).alias("label"))[
        "label"
    ].to_list()


def _thresholds(assays, values, settings=None):
    settings = settings or Activities()
    rows = measured([(q, v, i) for i, (q, v) in enumerate(values)])
    merged = aggregate(credible(assays, rows, settings).accepted, settings).accepted
    found = candidate_tasks(assays, merged, settings)
    return found.select("threshold", "threshold_method", "is_auxiliary").rows()


def _exact(*values):
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
        assert _labels([5, 6, 7], qualifier * 3, 6.0, side) == labels


def test_hts_labels_without_direction():
    """A screen without direction looks at the size of the value; direction low at its negative."""
    assert _labels([-4, -3, 0, 3, 4], "=====", 3.0, "hts-size") == [1, 1, -1, 1, 1]
    assert _labels([-4, -3, 0, 3, 4], "=====", -3.0, "hts-low") == [1, 1, -1, -1, -1]


@given(st.floats(3, 10), st.sampled_from("<=>"), st.floats(3, 10))
def test_low_is_the_mirror_image_of_high(value, qualifier, threshold):
    """Turning value, threshold and qualifier round and looking for low gives the same label."""
    turned = {"<": ">", ">": "<", "=": "="}[qualifier]
    assert _labels([value], qualifier, threshold, "high") == _labels([-value], turned, -threshold, "low")


def test_expert_thresholds_and_their_neighbours():
    """One to three expert thresholds get an auxiliary one below and above, more get none."""
    values = _exact(5, 6, 7)
    assert _thresholds(assay(experts=[6.0, 7.0]), values) == [
        (5.5, "aux_low", True),
        (6.0, "expert", False),
        (7.0, "expert", False),
        (7.5, "aux_high", True),
    ]
    four = [5.0, 6.0, 7.0, 8.0]
    assert _thresholds(assay(experts=four), values) == [(t, "expert", False) for t in four]


def test_adaptive_threshold_takes_the_first_with_enough():
    """With 25 values above 7 and 25 below, and a fifth of them active, 7 is taken; one active less and it is 6."""
    enough = _exact(*[7.5] * 25, *[6.5] * 25)
    assert _thresholds(assay(), enough)[1] == (7.0, "fixed_adaptive", False)
    one_less = _exact(*[7.5] * 24, *[6.5] * 26, *[5.5] * 25)
    assert _thresholds(assay(), one_less)[1] == (6.0, "fixed_adaptive", False)
    rare = _exact(*[8.5] * 25, *[6.5] * 101)
    assert _thresholds(assay(), rare)[1][1] == "median"


def test_adaptive_threshold_of_direction_low_is_mirrored():
    """For direction low the most demanding threshold is the lowest."""
    values = _exact(*[4.5] * 25, *[6.5] * 25)
    assert _thresholds(assay(direction="low"), values)[1] == (4.7, "fixed_adaptive", False)


def test_median_shifts_censored_values():
    """Without enough of either class the median is taken, censored values counting as twice beyond their bound."""
    values = [("<", 5.0), ("=", 6.0), (">", 7.0)]
    assert _thresholds(assay(), values)[1] == (6.0, "median", False)
    shifted = _thresholds(assay(), [("<", 5.0), ("=", 4.0)])
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
    """ADME takes the median of exact values and, with a direction, the quartile beyond; censored values do not count."""
    values = [*_exact(1, 2, 3, 4, 5), ("<", 100.0)]
    found = _thresholds(assay("ADME", direction), values)
    assert [(t, m) for t, m, _ in found] == expected


def test_adme_without_spread_or_values():
    """A quartile equal to the median is one task, a single exact value gives none, experts get no neighbours."""
    assert len(_thresholds(assay("ADME", "high"), _exact(3, 3, 3))) == 1
    assert _thresholds(assay("ADME", "high"), _exact(3)) == []
    assert _thresholds(assay("ADME", experts=[2.0]), _exact(3)) == [(2.0, "expert", False)]


def test_fixed_thresholds():
    """Screens are cut at 3 (-3 for direction low), binary assays at 0; screens are auxiliary."""
    assert _thresholds(assay("AUX_HTS", experts=[6.0]), _exact(4)) == [(3.0, "fixed", True)]
    assert _thresholds(assay("AUX_HTS", "low"), _exact(4)) == [(-3.0, "fixed", True)]
    assert _thresholds(assay(is_binary=True, experts=[6.0]), _exact(1)) == [(0.0, "binary", False)]
    assert _thresholds(assay("AUX_PL", is_binary=True), _exact(1)) == [(0.0, "binary", True)]


def test_binary_labels_are_the_values():
    """A binary assay's labels are its values, whatever direction T0 says."""
    assays = assay(direction="low", is_binary=True)
    rows = measured([("=", 1, 0), ("=", -1, 1)])
    values = aggregate(credible(assays, rows, Activities()).accepted, Activities()).accepted
    labels = label_all(candidate_tasks(assays, values, Activities()), values)
    assert labels.rows() == [(0, 0, 1), (0, 1, -1)]


def test_assays_without_values_give_no_task():
    """An assay nobody measured has no candidate task."""
    assert _thresholds(assay(experts=[6.0]), []) == []
