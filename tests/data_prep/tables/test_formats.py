"""One table in every format gives the same rows: CSV with any separator, Parquet, Excel, SD."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from xlsxwriter import Workbook

from data_prep.errors import TableError
from data_prep.preparation.prepare import prepare
from data_prep.prepared import read_prepared, read_summary
from data_prep.settings import OwnTables
from data_prep.tables.header import Wanted
from data_prep.tables.table_files import read_blocks
from data_prep.tables.tables import column_notes, misspelled, read_activities, read_assays, read_structures
from tests.support.data_prep.small_tables import FAST, SEED, STRUCTURES, write_tables

T1 = pl.DataFrame(
    {
        "Compound": ["007", "8", "9, or 10", "007"],
        "input_assay_id": ["a;b", "a;b", "c", "c"],
        "STANDARD_QUALIFIER": ["<", None, ">", "="],
        "standard_value": [5.5, 7.0, 6.25, 1e-9],
        "comment": ["x\ty", None, '"quoted"', None],
    }
)
RENAMED = {"input_compound_id": ("Compound",)}


def written(folder: Path, name: str, table: pl.DataFrame = T1) -> Path:
    """The table as a file of the format that its name tells."""
    path = folder / name
    if name.endswith(".xlsx"):
        table.write_excel(path)
    elif name.endswith(".parquet"):
        table.write_parquet(path)
    else:
        table.write_csv(path, separator={"s": ";", "t": "\t"}.get(name[0], ","))
    return path


@pytest.mark.parametrize("name", ["semicolon.csv", "tab.csv", "tab.tsv", "T1.parquet", "T1.xlsx"])
def test_every_format_gives_the_same_activities(tmp_path: Path, name: str) -> None:
    """Ids keep their zeros, separators within quotes stay, numbers keep their value."""
    expected = read_activities(written(tmp_path, "comma.csv"), RENAMED)
    assert expected.accepted["input_compound_id"].to_list() == T1["Compound"].to_list()
    assert expected.accepted["standard_value"].to_list() == T1["standard_value"].to_list()
    assert read_activities(written(tmp_path, name), RENAMED).accepted.equals(expected.accepted)


CELL = st.text(alphabet=' ,;\t"aé\n1', max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), separator=st.sampled_from(",;\t"))
def test_any_cell_passes_any_separator(tmp_path: Path, rows: list[tuple[str, str]], separator: str) -> None:
    """What polars writes is read back, for separators, quotes, blanks and line ends within cells."""
    table = pl.DataFrame([("first", "first"), *rows, ("last", "last")], schema=["id", "value"], orient="row")
    table.write_csv(tmp_path / "t.csv", separator=separator, quote_style="always")
    found = pl.concat(read_blocks(tmp_path / "t.csv", Wanted(("id", "value"))))
    assert not found["unreadable"].any()
    assert found.select("id", "value").rows() == [tuple(c.strip() or None for c in row) for row in table.rows()]


def test_excel_reads_what_a_person_sees(tmp_path: Path) -> None:
    """Whole numbers are ids without a point; rows behind the last filled one are none, empty ones between are."""
    ids, smiles = [7, None, 8, None, None], ["C", None, "CC", None, None]
    pl.DataFrame({"Input_Compound_ID": ids, "SMILES": smiles}).write_excel(tmp_path / "T2.xlsx")
    table = read_structures(tmp_path / "T2.xlsx")
    assert table.accepted.rows() == [(1, "7", "C"), (3, "8", "CC")]
    assert table.rejected.select("input_row", "reason").rows() == [(2, "missing_id")]


@pytest.mark.parametrize("header", [["smiles", "smiles "], ["SMILES", "SMILES"]])
def test_a_column_of_excel_is_there_once(tmp_path: Path, header: list[str]) -> None:
    """Twice is refused as in CSV, also if a blank makes the names differ; other columns may be there twice."""
    path = tmp_path / "T2.xlsx"
    with Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["input_compound_id", "note", "note", *header])
        sheet.write_row(1, 0, ["8", "x", "y", "C", "CC"])
    with pytest.raises(TableError, match=rf"^T2\.xlsx: found column {header[0]} more than once"):
        read_structures(path)
    with Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["input_compound_id", "note", "note ", "note", header[0]])
        sheet.write_row(1, 0, ["8", "x", "y", "z", "C"])
    assert read_structures(path).accepted.rows() == [(1, "8", "C")]


def test_all_tables_may_be_sheets_of_one_workbook(tmp_path: Path) -> None:
    """The sheet that has most of a table's columns is taken, whatever it is called."""
    path = tmp_path / "all.xlsx"
    t0 = pl.DataFrame({"input_assay_id": ["c"], "assay_type": ["ADME"]})
    t2 = pl.DataFrame({"input_compound_id": ["8"], "smiles": ["CCO"]})
    with Workbook(path, {"strings_to_formulas": False}) as book:
        for name, table in (("notes", pl.DataFrame({"a": [1]})), ("x", t2), ("y", T1), ("z", t0)):
            table.write_excel(book, name)
    assert read_assays(path).accepted["input_assay_id"].to_list() == ["c"]
    assert read_activities(path, RENAMED).accepted.height == 4
    assert read_structures(path).accepted["smiles"].to_list() == ["CCO"]
    with pytest.raises(TableError, match=r"^all\.xlsx: missing column input_compound_id"):
        read_activities(path)


def sd_file(folder: Path, structures: dict[str, str], id_field: str = "") -> Path:
    """An SD file with ids as titles, or in a field."""
    records = []
    for name, smiles in structures.items():
        block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))
        title, fields = ("", f"> <{id_field}>\n{name}\n\n") if id_field else (name, "")
        records.append(f"{title}{block}{fields}$$$$\n")
    path = folder / "T2.sdf"
    path.write_text("".join(records))
    return path


@pytest.mark.parametrize("id_field", ["", "input_compound_id", "CMPD"])
def test_t2_as_an_sd_file_prepares_the_same_matrices(tmp_path: Path, id_field: str) -> None:
    """x, y and folds equal those of the table of SMILES; the id is the title, or a field."""
    t0, t1, t2 = write_tables(tmp_path)
    sd = sd_file(tmp_path, {f"C{i}": smiles for i, smiles in enumerate(STRUCTURES)}, id_field)
    own = OwnTables(columns={"input_compound_id": ("CMPD",)} if id_field == "CMPD" else {})
    expected = read_prepared(prepare(t0, t1, t2, FAST, SEED, tmp_path / "a"))
    found = read_prepared(prepare(t0, t1, sd, FAST, SEED, tmp_path / "b", own=own))
    for mine, other in ((found.x, expected.x), (found.y, expected.y)):
        assert (mine != other).nnz == 0
    np.testing.assert_array_equal(found.folding, expected.folding)


def test_bad_records_of_t2_as_an_sd_file(tmp_path: Path) -> None:
    """A record without id, and one that is no UTF-8, are rejected with their numbers; a mol block is kept as it is."""
    path = sd_file(tmp_path, {"a": "CCO", "": "CCN"})
    path.write_bytes(path.read_bytes() + b"\xff\n$$$$\n")
    table = read_structures(path)
    assert table.accepted["smiles"].str.contains("M  END").to_list() == [True]
    assert table.rejected.select("input_row", "reason").rows() == [(2, "missing_id"), (3, "unreadable")]


def test_columns_of_the_partners_own_names(tmp_path: Path) -> None:
    """They change nothing in what is prepared; another naming is another input."""
    t0, t1, t2 = write_tables(tmp_path)
    expected = read_prepared(prepare(t0, t1, t2, FAST, SEED, tmp_path / "out"))
    for file in (t1, t2):
        file.write_text(file.read_text().replace("input_compound_id", "CMPD", 1))
    with pytest.raises(TableError, match="missing column input_compound_id"):
        prepare(t0, t1, t2, FAST, SEED, tmp_path / "out")
    own = OwnTables(columns={"input_compound_id": ("CMPD",)})
    found = read_prepared(prepare(t0, t1, t2, FAST, SEED, tmp_path / "out", own=own))
    assert (found.y != expected.y).nnz == 0
    assert found.manifest["digest"] != expected.manifest["digest"]


def test_a_misspelled_optional_column_is_found(tmp_path: Path) -> None:
    """In every format but SD, which has no columns."""
    table = pl.DataFrame({"input_assay_id": ["a"], "assay_type": ["ADME"], "use_regression": [True], "note": ["x"]})
    for name in ("comma.csv", "semicolon.csv", "T0.xlsx", "T0.parquet"):
        assert misspelled(written(tmp_path, name, table), "T0") == {"use_regression": "use_in_regression"}
    assert misspelled(sd_file(tmp_path, {"a": "C"}), "T2") == {}


def test_columns_that_are_not_read_are_warnings_of_the_preparation(tmp_path: Path) -> None:
    """A misspelled optional column of T0, and a field that no record of an SD file has."""
    t0, t1, t2 = write_tables(tmp_path)
    t0.write_text(t0.read_text().replace("use_in_regression", "use_regression"))
    own = OwnTables(columns={"input_compound_id": ("CMPDD",)})
    sd = sd_file(tmp_path, {f"C{i}": smiles for i, smiles in enumerate(STRUCTURES)})
    misspelled_one, field = read_summary(prepare(t0, t1, sd, FAST, SEED, tmp_path / "out", own=own))["warnings"][-2:]
    assert misspelled_one.startswith("T0: column use_regression is not known")
    assert field.startswith("T2: no record has the field CMPDD")
    plain = read_summary(prepare(t0, t1, t2, FAST, SEED, tmp_path / "out", own=own))["warnings"]
    assert not any("CMPDD" in warning for warning in plain)


@pytest.mark.parametrize(("field", "n_notes"), [("cmpd", 0), ("", 1)])
def test_a_field_that_some_record_has_is_no_warning(tmp_path: Path, field: str, n_notes: int) -> None:
    """The name's letters may have any case."""
    path = sd_file(tmp_path, {"a": "CCO", "b": "CCN"}, field)
    assert len(column_notes(path, "T2", {"input_compound_id": ("CMPD",)})) == n_notes


def test_unknown_words_are_counted(tmp_path: Path) -> None:
    """The most common first, as they were written; over all blocks of a file."""
    (tmp_path / "T0.csv").write_text("input_assay_id,assay_type\na,IC50\nb,ic\nc,IC50\nd,\ne,ADME\n")
    table = read_assays(tmp_path / "T0.csv")
    assert table.unknown_words("unknown_assay_type") == ["IC50", "", "ic"]
    assert table.unknown_words("bad_direction") == []
