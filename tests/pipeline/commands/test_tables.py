"""Tables of a partner's own making: sample tables, columns of other names, byte order marks, words that are none."""

from pathlib import Path

import polars as pl
import pytest

from data_prep.columns import columns_text
from data_prep.samples.sample_tables import sample_tables
from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from tests.support.cli_runner import hocket, refused
from tests.support.federation import Federation

MARK = b"\xef\xbb\xbf"


def test_columns_are_shown_without_a_configuration():
    """All tables of columns, on stdout."""
    shown = hocket("prepare", "--columns")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (ExitCode.DONE, columns_text(), "")


def test_sample_tables_never_replace_others(tmp_path: Path):
    """Exit code 2 if one is there, and none is written; --force replaces them."""
    assert hocket("init", "tables", tmp_path / "a").exit_code == ExitCode.DONE
    assert {file.name: file.read_text() for file in (tmp_path / "a").iterdir()} == sample_tables()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/T1.csv").write_text("mine")
    assert "T1.csv: exists" in refused(ExitCode.CONFIGURATION, "init", "tables", tmp_path / "b")
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["T1.csv"]
    assert hocket("init", "tables", tmp_path / "b", "--force").exit_code == ExitCode.DONE
    assert (tmp_path / "b/T1.csv").read_text() == sample_tables()["T1.csv"]


def own_tables(federation: Federation, name: str) -> None:
    """Turn a partner's tables into those of another house: Excel, semicolons, other names; marks in both TOML files."""
    folder = federation.folder / name
    t0, t1, t2 = (pl.read_csv(folder / f"T{i}.csv", infer_schema=False) for i in range(3))
    t0.rename(str.upper).write_excel(folder / "T0.xlsx")
    t1.rename({"input_compound_id": "CMPD"}).write_csv(folder / "T1.csv", separator=";", include_bom=True)
    t2.rename({"input_compound_id": "Compound No", "smiles": "Structure"}).write_csv(folder / "T2.tsv", separator="\t")
    config = federation.config(name)
    text = config.read_text().replace("T0.csv", "T0.xlsx").replace("T2.csv", "T2.tsv")
    columns = 'columns = {input_compound_id = ["CMPD", "Compound No"], smiles = "structure"}'
    config.write_bytes(MARK + text.replace("[data]", f"[data]\n{columns}").encode())
    federation.plan_file.write_bytes(MARK + federation.plan_file.read_bytes())


def test_tables_of_another_house_prepare_the_same_matrices(fresh: Federation):
    """Nothing to complain of, the same plan digest, and all files of the prepared folder but its manifest are equal."""
    digest = read_plan(fresh.plan_file).digest
    assert hocket("prepare", fresh.config("P01")).exit_code == ExitCode.DONE
    (before,) = fresh.home("P01").prepared.iterdir()
    own_tables(fresh, "P01")
    assert read_plan(fresh.plan_file).digest == digest
    checked = hocket("prepare", fresh.config("P01"), "--check")
    assert checked.exit_code == ExitCode.DONE, checked.output
    assert hocket("prepare", fresh.config("P01")).exit_code == ExitCode.DONE
    (after,) = (folder for folder in fresh.home("P01").prepared.iterdir() if folder != before)
    names = {file.name for file in before.iterdir()} - {"manifest.json"}
    assert {name for name in names if (before / name).read_bytes() != (after / name).read_bytes()} == set()


def test_words_that_are_none_are_reported_with_the_allowed_ones(fresh: Federation):
    """Assay types, directions, qualifiers and columns of T0 and T1, each with the nearest."""
    t0, t1 = fresh.folder / "P01/T0.csv", fresh.folder / "P01/T1.csv"
    t0.write_text(t0.read_text().replace("OTHER", "IC50", 1).replace("is_binary", "is_binnary"))
    binary = "T0: T0.csv: found column is_binnary, which is not known, expected is_binary"
    refused_check = hocket("prepare", fresh.config("P01"), "--check")
    assert refused_check.exit_code == ExitCode.DATA
    assert binary in refused_check.stdout
    t0.write_text(t0.read_text().replace("is_binnary", "is_binary").replace("use_in_regression", "use_regression"))
    t1.write_text(t1.read_text().replace(",=,", ",≤,", 1))
    shown = hocket("prepare", fresh.config("P01"), "--check").stdout
    assert "assay_type: found 'IC50'" in shown
    assert "'IC50': OTHER" in shown
    assert "nearest to '≤': <=" in shown
    assert "use_regression is not known and not read; is use_in_regression meant?" in shown


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ('{smile = "x"}', "found 'smile', expected one of input_assay_id, "),
        ('{smile = "x"}', "nearest: smiles"),
        ("{smiles = 5}", "data.columns.smiles"),
    ],
)
def test_a_column_that_is_none_is_refused(fresh: Federation, columns: str, message: str):
    """Exit code 2, before any table is read."""
    config = fresh.config("P01")
    config.write_text(config.read_text().replace("[data]", f"[data]\ncolumns = {columns}"))
    assert message in refused(ExitCode.CONFIGURATION, "prepare", config, "--check")


def test_a_name_that_no_table_has_is_refused(fresh: Federation):
    """Exit code 3 with all names that the column might have."""
    config, t2 = fresh.config("P01"), fresh.folder / "P01/T2.csv"
    config.write_text(config.read_text().replace("[data]", '[data]\ncolumns = {smiles = "Structure"}'))
    t2.write_text(t2.read_text().replace("smiles", "mol", 1))
    shown = hocket("prepare", config, "--check")
    assert shown.exit_code == ExitCode.DATA
    assert "T2.csv: missing column smiles" in shown.stdout
