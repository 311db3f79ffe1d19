"""One scale for each assay: a converted bound means the same as before, and what has no such scale is rejected."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.labels.scales import on_one_scale
from data_prep.labels.thresholds import label
from data_prep.tables.units import UNIT, UNITS, UNSTATED
from tests.support.data_prep.activity_tables import assay, measured

MOLAR = [unit for unit in UNITS.values() if unit.scale == "molar"]


def in_units(values, *units: str):
    """Activities (qualifier, value) with one unit for all, or one for each."""
    each = units * len(values) if len(units) == 1 else units
    return measured([(q, v, 0) for q, v in values]).with_columns(pl.Series("unit", each, UNIT))


def rows_of(table):
    return table.accepted.select("standard_qualifier", "standard_value").rows()


def reasons_of(table):
    return table.rejected["reason"].to_list()


def active(qualifier, value, threshold, side):
    names = {"q": qualifier, "v": value, "t": threshold, "s": side}
    return pl.DataFrame([names]).select(label(*(pl.col(name) for name in "vqts"))).item()


@given(
    unit=st.sampled_from(MOLAR),
    qualifier=st.sampled_from("<=>"),
    pxc50=st.integers(20, 120),
    threshold=st.integers(20, 120),
    side=st.sampled_from(["high", "low"]),
)
def test_a_bound_means_the_same_in_every_unit(unit, qualifier, pxc50, threshold, side):
    """A value and its qualifier, written in any molar unit, give the label that they give as pXC50."""
    p, t = pxc50 / 10, threshold / 10 + 0.05  # never equal
    in_unit = p - unit.v0 if unit.sign > 0 else unit.v0 - p
    value = 10**in_unit if unit.is_concentration else in_unit
    opposite = {"<": ">", ">": "<", "=": "="}
    written = opposite[qualifier] if unit.name in {"M", "mM", "uM", "nM", "pM"} or unit.name[0] == "l" else qualifier
    ((read, converted),) = rows_of(on_one_scale(assay(), in_units([(written, value)], unit.name)))
    assert converted == pytest.approx(p, abs=1e-6)
    assert active(read, converted, t, side) == active(qualifier, p, t, side)


def test_less_than_ten_nanomolar_is_more_than_eight():
    """< 10 nM is a potent compound: > 8; > 10 uM is an inactive one: < 5; a pXC50 keeps its qualifier."""
    values = [("<", 10), (">", 10), ("<", 5), (">", 1)]
    assert rows_of(on_one_scale(assay(), in_units(values, "nM", "uM", "-log10 M", "log10 nM"))) == [
        (">", 8), ("<", 5), ("<", 5), ("<", 8)
    ]  # fmt: skip


def test_values_without_a_unit_have_the_default_one():
    """[data] unit is that of rows that state none; without it they are taken as they are."""
    rows = in_units([("=", 100), ("=", 100)], "uM", UNSTATED)
    assert rows_of(on_one_scale(assay(), rows, "nM")) == [("=", 4), ("=", 7)]
    assert rows_of(on_one_scale(assay(), rows)) == [("=", 4), ("=", 100)]


@pytest.mark.parametrize("assay_type", ["ADME", "AUX_PL", "AUX_HTS"])
@given(unit=st.sampled_from(MOLAR), qualifier=st.sampled_from("<=>"), value=st.floats(-9, 9))
def test_a_molar_default_leaves_other_types_as_they_are(assay_type, unit, qualifier, value):
    """A logD, whatever its sign, is not taken as a concentration."""
    rows = in_units([(qualifier, value)], UNSTATED)
    assert rows_of(on_one_scale(assay(assay_type), rows, unit.name)) == [(qualifier, value)]


def test_a_default_that_is_not_molar_is_that_of_every_type():
    """Percent is refused for a dose-response assay, stated or not, and kept for ADME."""
    rows = in_units([("=", 40)], UNSTATED)
    assert reasons_of(on_one_scale(assay(), rows, "%")) == ["unit_of_another_type"]
    mixed = in_units([("=", 40), ("=", 50)], "%", UNSTATED)
    assert rows_of(on_one_scale(assay("ADME"), mixed, "%")) == [("=", 40), ("=", 50)]


@pytest.mark.parametrize("value", [0.0, -0.0, -7.2])
@pytest.mark.parametrize("unit", ["M", "mM", "uM", "nM", "pM"])
def test_no_concentration_is_zero_or_negative(unit, value):
    """It is rejected with that reason; its logarithm may be negative."""
    table = on_one_scale(assay(), in_units([("=", value), ("=", 1)], unit))
    assert (reasons_of(table), table.accepted.height) == (["not_positive"], 1)
    assert on_one_scale(assay(), in_units([("=", value)], f"log10 {unit}")).rejected.is_empty()


@pytest.mark.parametrize(
    ("assay_type", "allowed"),
    [
        *((kind, {"molar"}) for kind in ("OTHER", "PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL")),
        ("ADME", {"molar", "log10", "%", "z-score"}),
        ("AUX_PL", {"molar", "log10", "%", "z-score"}),
        ("AUX_HTS", {"z-score"}),
    ],
)
def test_the_units_of_each_type(assay_type, allowed):
    """A unit that the type cannot have is a reason for rejection; no unit is always allowed."""
    for unit in UNITS.values():
        table = on_one_scale(assay(assay_type), in_units([("=", 5)], unit.name))
        assert reasons_of(table) == ([] if unit.scale in allowed else ["unit_of_another_type"])
    assert rows_of(on_one_scale(assay(assay_type), in_units([("<", 5)], UNSTATED))) == [("<", 5)]


def test_binary_assays_have_no_unit():
    """Whatever stands there, and whatever the default is, 1 stays 1 and -1 stays -1."""
    rows = in_units([("=", 1), ("=", -1), ("=", -1)], "nM", "%", UNSTATED)
    assert rows_of(on_one_scale(assay(is_binary=True), rows, "nM")) == [("=", 1), ("=", -1), ("=", -1)]


def test_two_scales_in_one_assay_are_rejected():
    """Percent and micromolar cannot be compared; nM and uM can, and so can nM and pXC50."""
    mixed = on_one_scale(assay("ADME"), in_units([("=", 50), ("=", 7)], "%", "uM"))
    assert reasons_of(mixed) == ["mixed_units"] * 2
    assert reasons_of(on_one_scale(assay("ADME"), in_units([("=", 50), ("=", 7)], "%", UNSTATED))) != []
    for units in (("nM", "uM"), ("nM", "-log10 M"), ("nM", UNSTATED)):
        assert on_one_scale(assay(), in_units([("=", 50), ("=", 7)], *units)).rejected.is_empty()
    good, bad = on_one_scale(assay(), in_units([("=", 50), ("=", 7)], "%", "uM")), ["unit_of_another_type"]
    assert (reasons_of(good), good.accepted.height) == (bad, 1)


def test_activities_of_unknown_assays_are_left_to_others():
    """They are rejected as unknown_assay later, so that this reason is not hidden."""
    rows = pl.concat([in_units([("=", 5)], "nM"), measured([("=", 5, 0)], "zz").with_columns(unit=pl.lit("%", UNIT))])
    assert on_one_scale(assay(), rows).rejected.is_empty()
