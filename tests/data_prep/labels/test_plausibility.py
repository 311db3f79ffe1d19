"""Assays in wrong units are refused whole, whatever their values; real assays pass."""

from functools import cache
from pathlib import Path
from statistics import NormalDist

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.plausibility import implausible_assays, plausible
from data_prep.settings import Activities, OwnTables
from data_prep.tables.tables import REJECTED_COLUMNS, Table, read_activities, read_assays
from data_prep.tables.units import UNIT, UNSTATED
from tests.support.data_prep.activity_tables import assay, measured

P = pl.col("standard_value")
WRONG = {
    "nM": 10 ** (9 - P),
    "uM": 10 ** (6 - P),
    "M": 10 ** (-P),
    "log10 nM": 9 - P,
    "log10 M": -P,
    "%": 100 / (1 + 10 ** (6 - P)),
}
"""How a pXC50 is written in a wrong unit; percent: inhibition at 1 uM."""


def odd(assays, values, unit=UNSTATED, **settings: object):
    rows = measured([(q, v, 0) for q, v in values]).with_columns(pl.lit(unit, UNIT).alias("unit"))
    return [found.input_assay_id for found in implausible_assays(assays, rows, Activities(), **settings)]


def exactly(values):
    return [("=", value) for value in values]


def bell(n, median, std, low=4.0, high=10.5):
    """Return n pXC50 of normal distribution, without chance, cut as real assays are."""
    normal = NormalDist(median, std)
    return [round(min(max(normal.inv_cdf((i + 0.5) / n), low), high), 2) for i in range(n)]


def written(values, unit):
    """The values in a wrong unit, with three digits, as they stand in a table."""
    table = pl.DataFrame({"standard_value": values}).select(WRONG[unit].alias("v"))
    return [float(f"{value:.3g}") for value in table["v"]]


bells = st.builds(bell, st.integers(12, 120), st.floats(5.2, 8.0), st.floats(0.4, 1.3))


@given(values=bells)
def test_random_assays_pass_as_they_are(values):
    """Nothing that looks like a dose-response assay is refused."""
    assert odd(assay(), exactly(values)) == []


@given(values=bells, unit=st.sampled_from(sorted(WRONG)))
def test_random_assays_in_wrong_units_are_refused(values, unit):
    """All values are in nM, uM, M, percent or the logarithm of a concentration."""
    assert odd(assay(), exactly(written(values, unit))) == ["a"]


@given(values=bells, unit=st.sampled_from(["nM", "M", "%", "log10 M"]))
def test_random_assays_of_two_units_are_refused(values, unit):
    """Every other value; in uM and log10 nM the numbers of a weak assay overlap with its pXC50."""
    wrong = written(values, unit)
    wrong[::2] = values[::2]
    assert odd(assay(), exactly(wrong)) == ["a"]


@settings(max_examples=25)
@given(values=bells, unit=st.sampled_from(["nM", "uM", "M", "log10 nM", "log10 M"]))
def test_the_stated_unit_makes_them_plausible(values, unit):
    """The same values with their unit are converted and pass."""
    rows = measured([("=", v, 0) for v in written(values, unit)]).with_columns(pl.lit(unit, UNIT).alias("unit"))
    result = plausible(assay(), Table(rows, pl.DataFrame(schema=REJECTED_COLUMNS)), Activities(), OwnTables())
    assert result.implausible == ()
    assert result.accepted["standard_value"].to_list() == pytest.approx(values, rel=0.006)


def test_a_few_typing_errors_refuse_no_assay():
    """One value in twenty that is a factor of a hundred off is a row to be rejected, not an assay."""
    values = bell(60, 6.5, 1.0)
    assert odd(assay(), exactly([*values[:57], 650.0, 7200.0, -6.0])) == []
    assert odd(assay(), exactly([*values[:50], *[650.0] * 10])) == ["a"]


def test_censored_values_at_a_low_cut_off_are_no_reason():
    """Most compounds of a panel may be inactive below a cut-off of 3.5."""
    assert odd(assay("PANEL"), [("<", 3.5)] * 80 + exactly(bell(20, 5.5, 0.8))) == []


@pytest.mark.parametrize(
    ("assays", "values"),
    [
        (assay(is_binary=True), [1, -1] * 20),
        (assay("AUX_PL"), [0, 1] * 20),
        (assay("ADME"), [0, 1, 2, 3] * 10),
        (assay("ADME"), [-1.2 + 0.11 * i for i in range(40)]),
        (assay("AUX_HTS"), [0.3 * (i - 20) for i in range(50)]),
        (assay(), [5.0] * 40),
    ],
    ids=["binary", "pseudo-labels", "classes", "logarithms", "z-scores", "constant"],
)
def test_values_that_are_no_pxc50_by_nature(assays, values):
    """Classes, z-scores and logarithms of other quantities pass."""
    assert odd(assays, exactly(values)) == []


@pytest.mark.parametrize(
    ("kind", "values", "unit"),
    [
        ("ADME", [3.0 * i for i in range(1, 40)], "%"),
        ("ADME", [1e-6 * i for i in range(1, 40)], "M"),
        ("ADME", [37.5 * i for i in range(1, 40)], "nM"),
        ("AUX_HTS", [2.5 * (i - 20) for i in range(40)], "z-score"),
    ],
)
def test_other_types_are_judged_by_what_no_logarithm_can_be(kind, values, unit):
    """ADME in percent or as a concentration, and screens far beyond z-scores; a stated unit says that it is meant."""
    assert odd(assay(kind), exactly(values)) == ["a"]
    if unit in {"%", "z-score"}:
        assert odd(assay(kind), exactly(values), unit) == []


def test_an_accepted_assay_is_not_judged():
    """The partner knows better."""
    values = exactly(written(bell(30, 6.5, 1.0), "nM"))
    assert odd(assay(), values, accept=["a"]) == []
    assert odd(assay(), values, accept=["b"]) == ["a"]


# ------------------------------------------------------------------------------------------------------------ real data


@cache
def tables_of(folder: Path):
    """T0 and T1 of a partner, for reading only."""
    return settle_catalogue(read_assays(folder / "T0.csv.gz").accepted), read_activities(folder / "T1.csv.gz")


def judged(folder: Path, value=P, unit: str = ""):
    """The real activities with another expression as value."""
    assays, activities = tables_of(folder)
    rows = Table(activities.accepted.with_columns(value.alias("standard_value")), activities.rejected)
    return plausible(assays, rows, Activities(), OwnTables(unit=unit))


@pytest.mark.parametrize("partner", ["dev_p5/P05", "dev_sparse_p5/P05", "admet_p4/P04"])
def test_real_tables_pass_untouched(shared, partner):
    """Nothing is converted or refused."""
    result = judged(shared / "data" / partner)
    _, activities = tables_of(shared / "data" / partner)
    assert result.implausible == ()
    assert result.accepted.equals(activities.accepted.drop("unit"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dev_p3", "dev_p5", "dev_p10", "dev_sparse_p5", "admet_p4"])
def test_all_real_tables_pass_untouched(shared, name):
    """Every partner of every federation of real data."""
    folders = sorted((shared / "data" / name).glob("P*"))
    assert folders
    for folder in folders:
        result = judged(folder)
        assert (folder.name, result.implausible, result.rejected.height) == (folder.name, (), 0)


@pytest.mark.parametrize(
    ("unit", "least"), [("nM", 1), ("uM", 1), ("M", 1), ("log10 M", 1), ("%", 1), ("log10 nM", 0.9)]
)
def test_real_assays_in_wrong_units_are_refused(shared, unit, least):
    """All assays, but for one in ten in log10 nM: 3 to 5 are also the pXC50 of weak compounds."""
    assays, _ = tables_of(shared / "data/dev_p5/P05")
    result = judged(shared / "data/dev_p5/P05", WRONG[unit])
    assert len(result.implausible) >= least * assays.height
    assert unit in result.likely_unit.split(" or ")


@pytest.mark.parametrize("unit", ["nM", "uM", "M", "log10 nM", "log10 M"])
def test_real_assays_with_their_unit_are_converted_back(shared, unit):
    """[data] unit gives the values of the original table."""
    _, activities = tables_of(shared / "data/dev_p5/P05")
    result = judged(shared / "data/dev_p5/P05", WRONG[unit], unit)
    assert result.implausible == ()
    difference = result.accepted["standard_value"] - activities.accepted["standard_value"]
    assert difference.abs().max() < 1e-8


@pytest.mark.parametrize("unit", ["nM", "uM", "M", "%"])
def test_half_a_table_in_a_wrong_unit_is_found(shared, unit):
    """Every other row: nearly all assays; every other assay: just these."""
    assays, _ = tables_of(shared / "data/dev_p5/P05")
    by_row = judged(shared / "data/dev_p5/P05", pl.when(pl.int_range(pl.len()) % 2 == 0).then(WRONG[unit]).otherwise(P))
    assert len(by_row.implausible) >= 0.98 * assays.height
    chosen = sorted(assays["input_assay_id"].cast(pl.String))[::2]
    half = pl.when(pl.col("input_assay_id").cast(pl.String).is_in(chosen)).then(WRONG[unit]).otherwise(P)
    assert [a.input_assay_id for a in judged(shared / "data/dev_p5/P05", half).implausible] == chosen
