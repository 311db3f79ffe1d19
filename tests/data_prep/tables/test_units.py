"""Units: names in any spelling, and what their values are in -log10 of mol/l."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.tables.tables import read_activities
from data_prep.tables.units import UNIT, UNITS, UNSTATED, converted, unit_named, units_of
from tests.support.data_prep.small_tables import T1

MOLAR = [unit for unit in UNITS.values() if unit.scale == "molar"]
MOLES = {"M": 1.0, "mM": 1e-3, "uM": 1e-6, "nM": 1e-9, "pM": 1e-12}  # mol/l


def convert(unit, *values: float):
    rows = pl.DataFrame({"v": [float(v) for v in values], "u": [unit] * len(values)}, schema_overrides={"u": UNIT})
    return rows.select(converted(pl.col("v"), pl.col("u"))).to_series().to_list()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((name, name) for name in UNITS),
        ("um", "uM"), ("\u00b5M", "uM"), ("\u03bcM", "uM"), ("NM", "nM"), ("nmol/L", "nM"), ("\u00b5mol/l", "uM"),
        ("mol/l", "M"), ("log10(nM)", "log10 nM"), ("log nM", "log10 nM"), ("-log10(M)", "-log10 M"),
        ("\u2212log10[M]", "-log10 M"), ("pIC50", "-log10 M"), ("pchembl", "-log10 M"), ("percent", "%"),
        ("log", "log10"), ("z score", "z-score"), ("Z-Score", "z-score"),
    ],
)  # fmt: skip
def test_a_unit_is_known_in_every_spelling(text, name):
    """Case, both micro signs, brackets, the typographic minus and mol/l make no difference."""
    assert unit_named(text).name == name


@pytest.mark.parametrize("text", ["", "ug/ml", "nMM", "n", "kg", "pIC", "logs", "M-1", "mol"])
def test_other_units_are_unknown(text):
    """A text that is no unit of ours has none; nothing is guessed."""
    assert unit_named(text) is None


@pytest.mark.parametrize(
    ("unit", "value", "pxc50"),
    [("nM", 1000, 6), ("nM", 1, 9), ("uM", 10, 5), ("mM", 1, 3), ("M", 1e-7, 7), ("pM", 100, 10), ("nM", 1e5, 4)],
)
def test_round_concentrations_are_exact(unit, value, pxc50):
    """1000 nM is exactly 6, so that a threshold of 6 finds it active on every machine."""
    assert convert(unit, value) == [pxc50]


@given(unit=st.sampled_from(MOLAR), pxc50=st.floats(-2, 14))
def test_every_molar_unit_comes_back(unit, pxc50):
    """A concentration or logarithm of it, by the definition of the unit, is converted to -log10 of mol/l."""
    in_unit = math.log10(10**-pxc50 / MOLES[unit.name.split()[-1]])
    value = 10**in_unit if unit.is_concentration else -in_unit if unit.name.startswith("-") else in_unit
    assert convert(unit.name, value) == [pytest.approx(pxc50, abs=2e-9)]


@pytest.mark.parametrize("unit", [UNSTATED, "log10", "%", "z-score"])
def test_other_values_stay(unit):
    """Values without a unit, and on scales that are not molar, are as they were."""
    assert convert(unit, -3.5, 0, 97.123456789012) == [-3.5, 0, 97.123456789012]


def test_unknown_units_are_rejected_and_remembered(tmp_path):
    """T1's rows keep their unit; an unknown one is a rejected row, and its text can be named."""
    assert units_of(pl.Series(["nM", None, "mg", "nM"])).to_list() == ["nM", "", None, "nM"]
    path = tmp_path / "T1.csv"
    path.write_text(T1.strip() + ",standard_unit\nc,a,=,5,nM\nc,a,=,5,\nc,a,=,5,mg\nc,a,=,5, um \n")
    table = read_activities(path)
    assert table.accepted["unit"].to_list() == ["nM", "", "uM"]
    assert table.rejected.select("input_row", "reason").rows() == [(3, "unknown_unit")]
    assert table.unknown_words("unknown_unit") == ["mg"]
