"""A column of days in T1 or T0: which texts are days, what is rejected, and which day a compound gets."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import PreparedError, TableError
from data_prep.preparation.check import check
from data_prep.preparation.prepare import prepare
from data_prep.prepared import DAYS_FILE, read_prepared, read_summary
from data_prep.settings import OwnTables
from data_prep.tables.tables import read_activities
from tests.support.data_prep.small_tables import FAST, SEED, write_tables

DATED = OwnTables(date_column="Measured On")
FIRST = dt.date(2020, 1, 1)


def add_days(table: Path, days: dict[str, str], column: str = "measured on") -> None:
    """Add a column to a CSV table, by the text of the row's first cell; other rows get an empty one."""
    header, *rows = table.read_text().splitlines()
    lines = [f"{header},{column}", *(f"{row},{days.get(row.split(',')[0], '')}" for row in rows)]
    table.write_text("\n".join(lines) + "\n")


def day_of(i: int) -> str:
    """A day for each compound, in no order."""
    return (FIRST + dt.timedelta(days=i * 37 % 60)).isoformat()


@given(st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)), st.sampled_from(["", "T10:20:30Z", " 00:00:00", "T"]))
def test_iso_days_are_read(tmp_path_factory: pytest.TempPathFactory, day: dt.date, time: str):
    """With a time behind them too."""
    path = tmp_path_factory.mktemp("days") / "T1.csv"
    path.write_text(
        "input_compound_id,input_assay_id,standard_qualifier,standard_value,day of it\n"
        f"C,A,=,5,{day.isoformat()}{time}\n"
    )
    assert read_activities(path, date_column="day of it").accepted["day"].to_list() == [day]


@pytest.mark.parametrize(
    "text", ["31.03.2024", "2024-3-31", "2024-02-30", "2024-13-01", "20240331", "45382", "today", "2024-03-31x"]
)
def test_other_texts_are_rejected(tmp_path: Path, text: str):
    """Each such row with the reason; an empty cell is no day and no fault."""
    tables = write_tables(tmp_path)
    add_days(tables[1], {"C0": text, "C1": "2024-03-31"})
    table = read_activities(tables[1], date_column="Measured On")
    assert set(table.rejected["reason"]) == {"bad_date"}
    assert set(table.rejected["input_compound_id"]) == {"C0"}
    assert table.accepted.filter(pl.col("day").is_not_null())["input_compound_id"].unique().to_list() == ["C1"]


def test_parquet_may_have_true_dates(tmp_path: Path):
    """Days and times of day, with or without a zone."""
    _, t1, _ = write_tables(tmp_path)
    rows = pl.read_csv(t1, schema_overrides={"standard_value": pl.Float64})
    for dtype in (pl.Date, pl.Datetime("ms"), pl.Datetime("us", "UTC")):
        rows.with_columns(pl.lit(FIRST).cast(dtype).alias("when")).write_parquet(tmp_path / "T1.parquet")
        table = read_activities(tmp_path / "T1.parquet", date_column="when")
        assert table.accepted["day"].unique().to_list() == [FIRST]
        assert table.rejected.is_empty()


def test_a_compound_has_the_day_of_its_first_measurement(tmp_path: Path):
    """Of several rows the earliest; the other files are the same as without days."""
    tables = write_tables(tmp_path)
    without = prepare(*tables, FAST, SEED, tmp_path / "without")
    add_days(tables[1], {f"C{i}": day_of(i) for i in range(1, 60)})
    with tables[1].open("a") as file:
        file.write("C5,A2,<,5,2019-05-05\nC6,A2,<,5,2031-01-01\n")
    folder = prepare(*tables, FAST, SEED, tmp_path / "dated", own=DATED)
    matrices = read_prepared(folder)
    rows = dict(pl.read_parquet(folder / "compounds.parquet").select("input_compound_id", "row").iter_rows())
    expected = {rows[f"C{i}"]: np.datetime64(day_of(i)) for i in range(1, 60)} | {
        rows["C5"]: np.datetime64("2019-05-05")
    }
    assert matrices.days.dtype == np.dtype("datetime64[D]")
    assert {row: matrices.days[row] for row in expected} == expected
    assert np.isnat(matrices.days[rows["C0"]])
    assert any("1 of 60 compounds have no day" in warning for warning in read_summary(folder)["warnings"])
    assert (folder / "x.npz").read_bytes() == (without / "x.npz").read_bytes()
    assert not (without / DAYS_FILE).exists()
    assert read_prepared(without).days is None


def test_the_day_may_be_that_of_the_assay(tmp_path: Path):
    """In T0: of a compound's assays the earliest; T1 goes before T0 if both have the column."""
    tables = write_tables(tmp_path)
    add_days(tables[0], {"A1": "2022-02-02", "A2": "2021-01-01"})
    folder = prepare(*tables, FAST, SEED, tmp_path / "prepared", own=DATED)
    rows = dict(pl.read_parquet(folder / "compounds.parquet").select("input_compound_id", "row").iter_rows())
    days = read_prepared(folder).days
    assert {name: str(days[rows[name]]) for name in ("C0", "C30")} == {"C0": "2021-01-01", "C30": "2022-02-02"}
    add_days(tables[1], {f"C{i}": "2018-08-08" for i in range(60)})
    both = prepare(*tables, FAST, SEED, tmp_path / "prepared", own=DATED)
    assert set(read_prepared(both).days.astype(str)) == {"2018-08-08"}
    add_days(tables[0], {"A1": "soon"}, "Measured When")
    other = replace(DATED, date_column="measured when")
    assert ("T0", "bad_date") in rejections(prepare(*tables, FAST, SEED, tmp_path / "prepared", own=other))


def rejections(folder: Path) -> set[tuple[str, str]]:
    """Tables and reasons of the rejected rows."""
    return set(pl.read_parquet(folder / "rejected.parquet").select("table", "reason").iter_rows())


def test_a_column_that_is_nowhere_is_refused(tmp_path: Path):
    """By `prepare`, which leaves no folder, and as a finding of the check."""
    tables = write_tables(tmp_path)
    with pytest.raises(TableError, match="no column Measured On"):
        prepare(*tables, FAST, SEED, tmp_path / "prepared", own=DATED)
    assert not (tmp_path / "prepared").exists()
    found = check(*tables, FAST, DATED)
    assert found.stops
    assert any("Measured On" in str(finding) for finding in found.findings)


def test_changed_days_are_refused(tmp_path: Path):
    """As any file of a prepared folder."""
    tables = write_tables(tmp_path)
    add_days(tables[1], {f"C{i}": day_of(i) for i in range(60)})
    folder = prepare(*tables, FAST, SEED, tmp_path / "prepared", own=DATED)
    np.save(folder / DAYS_FILE, np.zeros(60, "datetime64[D]"))
    with pytest.raises(PreparedError, match=DAYS_FILE):
        read_prepared(folder)
