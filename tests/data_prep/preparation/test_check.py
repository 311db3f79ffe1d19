"""The check reports all findings about the tables at once."""

import gzip

import polars as pl
import pytest

from data_prep.preparation.check import check
from data_prep.preparation.prepare import prepare
from data_prep.preparation.structure_check import StructureCheck
from data_prep.prepared import read_summary
from data_prep.settings import OwnTables, Preparation
from tests.support.data_prep.small_tables import FAST, SEED, T0, t0_rows, t1_rows, t2_rows, write_tables


def findings_of(*tables: object):
    return [str(finding) for finding in check(*tables, FAST).findings]


def test_good_tables_give_nothing_to_say(tmp_path):
    """Clean tables give no findings."""
    assert findings_of(*write_tables(tmp_path, t0=t0_rows(), t1=t1_rows(), t2=t2_rows())) == []


def assert_findings(findings, *expected: tuple[str, str]):
    """Each finding, in order, begins with its table and rows and says its term: a reason, a type or a column."""
    assert len(findings) == len(expected), findings
    for finding, (rows, term) in zip(findings, expected, strict=True):
        assert finding.startswith(f"{rows} ")
        assert term in finding.removeprefix(rows)


def test_all_findings_come_at_once(tmp_path):
    """Every kind of problem appears with its table, number of rows and first rows."""
    t0 = ["A1,OTHER,true,false,6,high\n", "A2,MAGIC,,,,\n", "A3,ADME,,,,\n", "A4,OTHER,,,11,\n", "A5,OTHER,,true,6,\n"]
    t0 += ["A6,CATALOG-PANEL,,,,\n", "A7,AUX_HTS,,,3,\n", "A1,OTHER,true,false,6,high\n"]
    t1 = ["C0,A1,=,5\n", "C0,A1,=,abc\n", "C0,A2,=,5\n", "C0,A1,=,250\n", "nobody,A1,=,5\n", "C0,A1,=,nan\n"]
    t1 += ["C0,A1,=,-inf\n", "C0,A1,?,5\n", "C0,A5,=,0.5\n", "C0,A4,=,-6.5\n", "C0,A7,=,-6.5\n", "C0,A6,,6\n"]
    t2 = ["C0,CC\n", "C0,CCC\n", ",C\n", "C1,C\n", "C1,C\n"]
    assert_findings(
        findings_of(*write_tables(tmp_path, t0, t1, t2)),
        ("T0: 1 row (2)", "rejected: unknown_assay_type"),
        ("T0: assay_type:", "found 'MAGIC', expected one of ADME"),
        ("T1: 1 row (2)", "rejected: not_a_number"),
        ("T1: 1 row (6)", "rejected: missing_value"),
        ("T1: 1 row (7)", "rejected: not_finite"),
        ("T1: 1 row (8)", "rejected: unknown_qualifier"),
        ("T1: standard_qualifier:", "found '?', expected one of <"),
        ("T2: 1 row (3)", "rejected: missing_id"),
        ("T0: 1 row (4)", "expert threshold outside"),
        ("T0: remark: 2 rows (5, 7)", "AUX_HTS"),
        ("T0: remark: 1 row (6)", "NON-CATALOG-PANEL"),
        ("T0: remark: 1 row (8)", "repeat"),
        ("T2: 2 rows (1, 2)", "several SMILES"),
        ("T2: remark: 1 row (5)", "repeat"),
        ("T1: 4 rows (1, 4, 5, 10)", "rejected: implausible_assay"),
        ("T1: 1 row (3)", "rejected: rejected_assay"),
        ("T1: 1 row (9)", "rejected: not_binary"),
        ("T1: assay A1:", "1 to 12"),
        ("T1: assay A4:", "1 to 12"),
        ("T0: remark: 1 row (3)", "without an activity"),
        ("T2: remark: 2 rows (4, 5)", "without an activity"),
        ("T1: no task", "0 candidate tasks"),
        ("T1: remark: add", "[preparation.activities]"),
    )


@pytest.mark.parametrize(
    ("tables", "serious"),
    [
        ({}, False),
        ({"t0": [*t0_rows(), "A3,ADME,,,,\n"]}, False),
        ({"t2": [*t2_rows(), "C99,C\n"]}, False),
        ({"t1": [*t1_rows(), "C1,A1,=,99\n"]}, True),
        ({"t1": []}, True),
    ],
)
def test_what_costs_no_row_is_a_remark(tmp_path, tables, serious):
    """Only findings about lost or misread rows are serious."""
    findings = check(*write_tables(tmp_path, **tables), FAST).findings
    assert any(finding.serious for finding in findings) == serious
    assert bool(findings) == bool(tables)


def test_unreadable_tables_are_problems(tmp_path):
    """All three unreadable files are named, with every missing column, and no exception is raised."""
    t0, t1, _ = write_tables(tmp_path)
    t0.write_text("")
    t1.write_text("a,b\n1,2\n")
    problems = findings_of(t0, t1, tmp_path / "none.csv")
    assert [problem[:3] for problem in problems] == ["T0:", "T1:", "T2:"]
    assert "input_compound_id, input_assay_id, standard_qualifier, standard_value" in problems[1]


def test_a_bad_table_does_not_hide_the_others(tmp_path):
    """If T2 is a truncated gzip, findings about T0 and T1 are still reported."""
    t0, t1, t2 = write_tables(tmp_path, t0=["A1,MAGIC,,,,\n"], t1=["C0,A1,=,x\n", "C0,A1,=,99\n"])
    zipped = tmp_path / "T2.csv.gz"
    zipped.write_bytes(gzip.compress(t2.read_bytes())[:-9])
    problems = findings_of(t0, t1, zipped)
    assert problems[0].startswith("T2: T2.csv.gz: ")
    assert "gzip" in problems[0]
    assert "copy" in problems[0].rsplit("; ", 1)[1]  # what to do
    assert_findings(
        problems[1:],
        ("T0: 1 row (1)", "rejected: unknown_assay_type"),
        ("T0: assay_type:", "'MAGIC', expected one of ADME"),
        ("T1: 1 row (1)", "rejected: not_a_number"),
    )


def test_marks_line_ends_and_parquet_are_fine(tmp_path):
    """A UTF-8 mark, mixed line ends and Parquet give no findings."""
    t0, t1, t2 = write_tables(tmp_path)
    t0.write_bytes(b"\xef\xbb\xbf" + t0.read_bytes().replace(b"\n", b"\r\n", 2))
    pl.read_csv(t1).write_parquet(tmp_path / "T1.parquet")
    t2.write_bytes(t2.read_bytes().replace(b"\n", b"\r", 5))
    assert findings_of(t0, tmp_path / "T1.parquet", t2) == []


def test_ids_of_catalogues_on_other_types(tmp_path):
    """A catalogue id that will not be used gives a remark."""
    t0, t1, t2 = write_tables(tmp_path)
    header = T0.replace("direction", "catalog_assay_id")
    t0.write_text(header + "A1,OTHER,true,false,6,k1\nA2,CATALOG-PANEL,true,false,,k2\n")
    assert_findings(findings_of(t0, t1, t2), ("T0: remark: 1 row (1)", "catalog_assay_id"))


def test_an_empty_t1_stops_the_preparation(tmp_path):
    """A T1 without activities gives a finding, since there will be no task."""
    stops = [finding for finding in check(*write_tables(tmp_path, t1=[]), FAST).findings if finding.stops]
    assert [finding.table for finding in stops] == ["T1"]
    assert "no task" in stops[0].text


@pytest.mark.parametrize(("n_rows", "stops"), [(1, True), (49, True), (63, False)])
def test_tables_without_a_task_stop_the_preparation(tmp_path, n_rows, stops):
    """The finding says how many candidate tasks there are and what they lack; one trained task is enough."""
    checked = check(*write_tables(tmp_path, t1=t1_rows()[:n_rows]), FAST)
    texts = [finding.text for finding in checked.findings if finding.stops]
    assert (checked.stops, bool(texts)) == (stops, stops)
    assert all("candidate tasks" in text and "too few" in text for text in texts)


def test_a_molar_unit_of_the_configuration_is_not_that_of_adme(tmp_path):
    """A remark counts the rows of ADME assays without a unit of their own, and none for a unit of every type."""
    tables = write_tables(
        tmp_path, t0=["A1,OTHER,true,false,6,high\n", "A2,ADME,true,false,,\n"], t1=["C0,A1,=,50\n", "C0,A2,=,1.1\n"]
    )
    for unit, expected in (("nM", True), ("log10", False), ("", False)):
        texts = list(map(str, check(*tables, FAST, OwnTables(unit=unit)).findings))
        assert any("1 row (2) without standard_unit" in text and "[data] unit" in text for text in texts) == expected


def test_a_misspelled_direction_stops_the_preparation(tmp_path):
    """The finding has the column, the one that is meant and what to do."""
    t0, t1, t2 = write_tables(tmp_path)
    t0.write_text(t0.read_text().replace("direction", "directions"))
    (stop,) = (str(finding) for finding in check(t0, t1, t2, FAST).findings if finding.stops)
    assert all(word in stop for word in ("T0.csv", "directions", "expected direction", "rename", "[data.columns]"))


def test_a_field_that_merged_rows_is_reported(tmp_path):
    """A quote that closes rows later hides the rows between, in any column, and gives a remark."""
    t0, t1, t2 = write_tables(tmp_path)
    header, *rows = t2.read_text().splitlines()
    rows = [f"{row},fine" for row in rows]
    rows[3] += "!"
    rows.insert(3, 'C0x,CCC,"5 mM\nC0y,CCN,x"')
    t2.write_text("\n".join([f"{header},comment", *rows]))
    assert_findings(
        findings_of(t0, t1, t2),
        ("T2: remark: 1 row (4)", "stray quote"),
        ("T2: remark: 1 row (4)", "without an activity"),
    )


def test_a_table_in_nanomolar_stops(tmp_path):
    """The assay, what was seen, the likely unit, the share and what to do; the stated unit makes it usable."""
    t1 = [f"C{i},A1,=,{10 ** (4 - (i * 7 % 20) / 10):.3g}\n" for i in range(60)]
    tables = write_tables(tmp_path, t1=t1)
    checked = check(*tables, FAST, OwnTables(most_rejected=0.1))
    text = "\n".join(map(str, checked.findings))
    assert all(word in text for word in ("assay A1: 100%", "nM", "60 of 60 rows", "at most 10 %", "accept"))
    assert (checked.stops, checked.losses.share, checked.losses.lost_assays) == (True, 1.0, ("A1",))
    (stop,) = (finding.text for finding in check(*tables, FAST).findings if finding.stops)
    assert "no task" in stop  # any share is allowed
    converted = check(*tables, FAST, OwnTables(most_rejected=0.1, unit="nM"))
    assert (converted.stops, converted.losses.share, converted.forecast.classification.trained) == (False, 0.0, 1)


def test_unknown_units_are_named(tmp_path):
    """Each text once, with the units there are; a long one, which is no unit, is cut."""
    t0, t1, t2 = write_tables(tmp_path)
    header, *rows = t1.read_text().splitlines()
    units = ["ug/ml", "ug/ml", "x" * 90, *["nM"] * (len(rows) - 3)]
    t1.write_text("\n".join([f"{header},standard_unit", *map(",".join, zip(rows, units, strict=True))]))
    (named,) = [text for text in findings_of(t0, t1, t2) if "standard_unit" in text]
    assert named.count("ug/ml") == 1
    assert all(word in named for word in ("nM", "log10 M", "z-score"))
    assert "x" * 30 not in named


@pytest.mark.parametrize(
    ("encoding", "found"),
    [("utf-16", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-16-le", "UTF-16"), ("latin-1", "text that is not UTF-8")],
)
def test_a_header_in_another_encoding_is_named(tmp_path, encoding, found):
    """With or without a mark; and what to do."""
    t0, t1, t2 = write_tables(tmp_path)
    t1.write_bytes(t1.read_text().replace("standard_value", "standard_value,für").encode(encoding))
    (stop,) = (finding.text for finding in check(t0, t1, t2, FAST).findings if finding.stops)
    assert f"header line: found {found}, expected" in stop
    assert "UTF-8" in stop


def test_rows_in_another_encoding_are_named(tmp_path):
    """Some rows by their numbers; if no row can be read, the file's finding says so."""
    t0, t1, t2 = write_tables(tmp_path, t0=[*t0_rows(), "Prüfung,OTHER,true,false,,\n"])
    t0.write_bytes(t0.read_text().encode("latin-1"))
    assert_findings(
        findings_of(t0, t1, t2), ("T0: 1 row (3)", "unreadable"), ("T0: remark: 1 row (3)", "save the table as UTF-8")
    )
    t0.write_bytes(f"{T0}Prüfung,OTHER,true,false,,\n".encode("latin-1"))
    (stop,) = (finding.text for finding in check(t0, t1, t2, FAST).findings if finding.stops)
    assert "no readable row in 1" in stop
    assert "UTF-8" in stop


def test_values_that_are_nearly_numbers_are_explained(tmp_path):
    """A qualifier in the value and a decimal comma, each with the rows and what to write; other words with neither."""
    t1 = [*t1_rows(), "C0,A1,=,>5\n", "C1,A1,=,≤ 5.5\n", 'C2,A1,=,"5,5"\n', "C3,A1,=,n.d.\n"]
    tables = write_tables(tmp_path, t1=t1)
    assert_findings(
        findings_of(*tables),
        ("T1: 4 rows (64, 65, 66, 67)", "not_a_number"),
        ("T1: remark: 2 rows (64, 65)", "standard_qualifier"),
        ("T1: remark: 1 row (66)", "decimal point"),
    )


def test_repeated_measurements_are_counted(tmp_path):
    """The same compound, assay and value again is a remark; another value is a replicate without one."""
    tables = write_tables(tmp_path, t1=[*t1_rows(), t1_rows()[0], t1_rows()[0], "C0,A1,=,5.55\n"])
    assert_findings(findings_of(*tables), ("T1: remark: 2 rows (64, 65)", "repeat compound, assay and value"))


def test_ids_in_other_capitals_are_counted(tmp_path):
    """How many ids of T1 the other table lacks, and how many it has in other capitals; nothing about units."""
    t0, t1, t2 = write_tables(tmp_path)
    t2.write_text(t2.read_text().replace("C", "c", 50))
    checked = check(t0, t1, t2, FAST, OwnTables(most_rejected=0.1))
    text = "\n".join(map(str, checked.findings))
    assert "in other capitals" in text
    assert "capitals included" in text
    assert "unit" not in text
    t1.write_text(t1.read_text().replace(",A2,", ",B,"))
    assert any("1 assay of T1 is not in T0" in text for text in findings_of(t0, t1, t2))


@pytest.mark.parametrize(("value", "advice"), [("", "without a value"), ("n.d.", "decimal point"), ("99", "the unit")])
def test_advice_is_about_the_reason(tmp_path, value, advice):
    """A few rows out of range do not turn the advice about another reason into one about units."""
    rows = [f"C{i},A1,=,{value}\n" if i < 20 else row for i, row in enumerate(t1_rows()[:60])]
    checked = check(*write_tables(tmp_path, t1=[*rows, "C1,A1,=,11\n"]), FAST, OwnTables(most_rejected=0.1))
    assert checked.stops
    remarks = "\n".join(finding.text for finding in checked.findings if not finding.serious)
    assert advice in remarks
    assert ("the unit" in remarks) == (advice == "the unit")


@pytest.mark.parametrize(("n_bad", "stops"), [(0, False), (3, False), (30, True)])
def test_a_sample_of_the_structures_is_standardised(tmp_path, n_bad, stops):
    """Refused ones are named as part of a sample; only if surely too many are refused does it stop."""
    bad = [f"C{i},xxx\n" for i in range(n_bad)]
    tables = write_tables(tmp_path, t2=[*bad, *t2_rows()[n_bad:]])
    checked = check(*tables, FAST, OwnTables(most_rejected=0.2), StructureCheck(sample=40))
    of_sample = [finding.text for finding in checked.findings if "sample of 40" in finding.text]
    assert (checked.stops, bool(of_sample)) == (stops, n_bad > 0)
    assert (checked.forecast is None) == stops  # what is refused gives no task
    assert stops or checked.forecast.even_folds
    assert any("correct the structures" in finding.text for finding in checked.findings) == stops


def test_all_structures_give_the_losses_and_folds_of_the_preparation(tmp_path):
    """With all of them the share and the tasks are those that prepare counts, whatever the group's seed."""
    tables = write_tables(tmp_path, t2=[f"C{i},xxx\n" for i in range(4)] + t2_rows()[4:])
    checked = check(*tables, FAST, structures=StructureCheck(sample=None))
    summary = read_summary(prepare(*tables, FAST, SEED, tmp_path))
    assert checked.losses.share == summary["rejected_share"] > 0
    assert checked.losses.reasons == summary["tables"]["T1"]["rejected"]
    assert checked.forecast.classification.trained == summary["classification"]["tasks"]
    assert checked.forecast.regression.trained == summary["regression"]["tasks"]
    assert not checked.forecast.even_folds


def test_the_forecast_adds_up(tmp_path):
    """Every candidate is trained or has a reason, every trained task is scored or has one."""
    t1 = [*t1_rows(), *(f"C{i},A3,=,{5 + i % 2}\n" for i in range(60))]
    tables = write_tables(tmp_path, t0=[*t0_rows(), "A3,OTHER,true,false,,\n"], t1=t1)
    result = check(*tables, FAST).forecast
    assert (result.assays, result.measured) == (3, 3)
    for kind in (result.classification, result.regression):
        assert kind.candidates == kind.trained + sum(kind.not_trained.values()) > 0
        assert kind.trained == kind.scored + sum(kind.not_scored.values())
    assert 0 < result.training_labels < 60 * result.classification.trained
    assert 0 < result.training_values < 120
    assert 0 < result.training_compounds <= result.measured_compounds < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dev_p3", "dev_p5", "dev_p10", "dev_sparse_p5", "admet_p4"])
def test_real_tables_are_usable(shared, name):
    """With a partner's default settings no federation of real data loses a tenth of T1, or an assay."""
    folders = sorted((shared / "data" / name).glob("P*"))
    assert folders
    for folder in folders:
        tables = (folder / f"T{number}.csv.gz" for number in range(3))
        checked = check(*tables, Preparation(), OwnTables(most_rejected=0.1))
        assert (folder.name, checked.stops, checked.losses.lost_assays) == (folder.name, False, ())
        assert checked.forecast.classification.trained > 0
