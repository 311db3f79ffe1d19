"""Input tables: a file that is no table is refused, an invalid row is rejected with its number and a reason."""

import gzip
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import TableError
from data_prep.tables.tables import read_activities, read_assays, read_structures
from tests.support.data_prep.small_tables import T0, T1, T2, t2_rows


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def reasons_of(table):
    return dict(table.rejected.select("input_row", "reason").iter_rows())


CUT_GZIP = gzip.compress((T2 + "1,CCCCCC\n" * 99).encode(), mtime=0)[:-20]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("T2.csv", "compound,smiles\n1,C\n", r"T2\.csv: .*\b2 columns, .*compound, smiles"),
        ("T2.csv", "", r"T2\.csv: .*empty"),
        ("T2.csv", T2.encode("utf-16"), r"T2\.csv: header .*UTF-8"),
        ("T2.csv", 'input_compound_id,"smiles\n1,C\n', r"T2\.csv: header .*UTF-8"),
        ("T2.csv", "input_compound_id,smiles,smiles\n1,C,C\n", r"T2\.csv: .*\bsmiles\b.* once"),
        ("T2.csv", "input_compound_id, smiles,smiles \n1,C,C\n", r"T2\.csv: .*\bsmiles\b.* once"),
        ("T2.csv", "\n\n", r"T2\.csv: .*empty"),
        ("T2.csv", T2, r"T2\.csv: .*no rows"),
        ("T2.csv", b"input_compound_id,smiles\n1,\xff\xfe\n", r"T2\.csv: row 1 .*no readable row"),
        ("T2.csv", T2 + "1,C,extra\n", r"T2\.csv: row 1 .*no readable row"),
        ("T2.csv.gz", CUT_GZIP, r"T2\.csv\.gz: .*gzip"),
        ("T2.csv.gz", b"\x1f\x8b\x08\x00garbage garbage garbage", r"T2\.csv\.gz: .*gzip"),
        ("T2.parquet", b"PAR1 no parquet", r"T2\.parquet: .*Parquet"),
        ("T2.xlsx", b"PK no Excel file", r"T2\.xlsx: .*Excel"),
        ("T2.xlsx", T2 + "1,C\n", r"T2\.xlsx: .*Excel"),
        ("T2.csv", b"PK\x03\x04\x14\x00\x06\x00", r"T2\.csv: found an Excel file"),
        ("T2.csv", "COMPOUND_ID;smiles\n1;C\n", r"input_compound_id \(nearest: COMPOUND_ID\); found 2 columns"),
        ("T2.csv", "input_compound_id,Smiles,SMILES\n1,C,C\n", r"T2\.csv: .*\bSmiles\b.* once"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
    """A file that cannot be a table raises TableError naming the file and what was found."""
    with pytest.raises(TableError, match=message):
        read_structures(write(tmp_path / name, content))


@pytest.mark.parametrize("content", ["C-17,CCOc1ccccc1CCN\nC-18,CCO\n", "smiles;CCOc1ccccc1CCN\n"])
def test_a_file_without_header_shows_no_structure(tmp_path, content):
    """Without a header the first line is data, so the message names only known columns and counts the others."""
    with pytest.raises(TableError, match=r"input_compound_id.*; found 2 columns, ") as caught:
        read_structures(write(tmp_path / "T2.csv", content))
    assert "CCO" not in "".join([str(caught.value), *caught.value.__notes__])
    with pytest.raises(TableError, match=r"\(nearest: Compound_ID\); .*\b3 columns.* SMILES, Compound_ID\n"):
        read_structures(write(tmp_path / "T2.csv", "SMILES,CCOc1ccccc1CCN,Compound_ID\n"))


def test_columns_nobody_needs_may_have_any_name(tmp_path):
    """Unnamed and repeated other columns are ignored."""
    table = read_structures(write(tmp_path / "T2.csv", ",x,smiles,x,,input_compound_id,0\n9,9,C,9,9,a,9\n"))
    assert table.accepted.rows() == [(1, "a", "C")]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([b"CCO\xff", b"C"], "Binary"), ([["CCO"], ["C"]], "List"), ([{"CCO": "C"}, {"CCO": "N"}], "Struct")],
)
def test_parquet_columns_that_are_no_text_are_refused(tmp_path, values, kind):
    """A binary, list or struct column is refused by name and kind, without its content."""
    pl.DataFrame({"input_compound_id": ["a", "b"], "smiles": values}).write_parquet(tmp_path / "T2.parquet")
    with pytest.raises(TableError, match=rf"T2\.parquet: .*\bsmiles: .*\b{kind}\b"):
        read_structures(tmp_path / "T2.parquet")


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["C", "CC"])])
def test_parquet_columns_of_categories_are_text(tmp_path, dtype):
    """Text stored as categories is the same text."""
    frame = pl.DataFrame({"input_compound_id": ["a", "b"], "smiles": ["C", "CC"]})
    frame.with_columns(pl.col("smiles").cast(dtype)).write_parquet(tmp_path / "T2.parquet")
    assert read_structures(tmp_path / "T2.parquet").accepted["smiles"].to_list() == ["C", "CC"]


def test_missing_files_and_folders_are_refused(tmp_path):
    """A missing file and a folder raise TableError."""
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(TableError, match=f"^{re.escape(path.name)}: "):
            read_structures(path)


def test_a_column_without_numbers_is_refused(tmp_path):
    """A standard_value column without any number is refused; one bad cell rejects only its row."""
    with pytest.raises(TableError, match=r"standard_value: .*\b2 rows"):
        read_activities(write(tmp_path / "T1.csv", T1 + "c,a,=,high\nd,a,=,low\n"))
    table = read_activities(write(tmp_path / "T1.csv", T1 + "c,a,=,high\nd,a,=,5\n"))
    assert reasons_of(table) == {1: "not_a_number"}


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_byte_order_mark_and_mixed_line_ends(tmp_path, wrap):
    """A UTF-8 mark, LF, CRLF or CR, blank last lines and blanks around fields change nothing."""
    content = b"\xef\xbb\xbfinput_compound_id, smiles \r\n1,C\n 2 ,CC\r3,CCC\r\n\r\n"
    table = read_structures(write(tmp_path / "T2.csv", wrap(content)))
    assert table.accepted.rows() == [(1, "1", "C"), (2, "2", "CC"), (3, "3", "CCC")]


def test_parquet_with_integer_ids(tmp_path):
    """Whole-number ids become text; a table is the same from CSV, gzip and Parquet; float ids are refused."""
    rows = {
        "input_compound_id": [7, 8],
        "input_assay_id": [1, 1],
        "standard_qualifier": ["<", None],
        "standard_value": [5.5, 6.0],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "T1.parquet")
    csv_file = write(tmp_path / "T1.csv", T1 + "7,1,<,5.5\n8,1,,6.0\n")
    from_parquet, from_csv = read_activities(tmp_path / "T1.parquet"), read_activities(csv_file)
    assert from_parquet.accepted.equals(from_csv.accepted)
    assert from_parquet.accepted["input_compound_id"].to_list() == ["7", "8"]
    pl.DataFrame({**rows, "input_assay_id": [1.0, 2.0]}).write_parquet(tmp_path / "T1.parquet")
    with pytest.raises(TableError, match="input_assay_id: found Float64"):
        read_activities(tmp_path / "T1.parquet")


def test_bad_activities_have_a_row_and_a_reason(tmp_path):
    """Every bad activity is rejected with its row number; the others keep theirs."""
    lines = [
        "c,a,=,6",
        "c,a,=,",
        "c,a,=,NaN",
        "c,a,=,inf",
        "c,a,=,5,5"[:-2] + "x",
        ",a,=,5",
        "c,,=,5",
        "c,a,?,5",
        "c,a,>>,1e1",
        "c,a,~,n/a",
    ]
    table = read_activities(write(tmp_path / "T1.csv", T1 + "\n".join(lines) + "\n"))
    assert reasons_of(table) == {
        2: "missing_value",
        3: "missing_value",
        4: "not_finite",
        5: "not_a_number",
        6: "missing_id",
        7: "missing_id",
        8: "unknown_qualifier",
        10: "missing_value",
    }
    assert table.accepted.select("input_row", "standard_qualifier", "standard_value").rows() == [
        (1, "=", 6),
        (9, ">", 10),
    ]


@pytest.mark.parametrize(
    ("qualifiers", "normal"), [(("<", "<=", "<<"), "<"), ((">", ">=", ">>"), ">"), (("=", "~", ""), "=")]
)
def test_qualifiers_become_three(tmp_path, qualifiers, normal):
    """The nine ways to write a qualifier become <, > and =."""
    table = read_activities(write(tmp_path / "T1.csv", T1 + "".join(f"c,a,{q},5\n" for q in qualifiers)))
    assert table.accepted["standard_qualifier"].to_list() == [normal] * 3


def test_bad_assays_have_a_row_and_a_reason(tmp_path):
    """Unknown words in T0 reject the assay; a repeated line is harmless, a contradiction rejects both lines."""
    lines = [
        "a,OTHER,true,false,6,high",
        "b,NONE,true,false,6,",
        ",OTHER,true,false,6,",
        "c,other,1,0,,LOW",
        "d,ADME,maybe,false,,",
    ]
    lines += ["e,ADME,true,false,x,", "f,ADME,true,false,,up", "a,OTHER,true,false,6,high", "g,ADME,,,,", "g,ADME,,,5,"]
    table = read_assays(write(tmp_path / "T0.csv", T0 + "\n".join(lines) + "\n"))
    assert reasons_of(table) == {
        2: "unknown_assay_type",
        3: "missing_id",
        5: "bad_flag",
        6: "bad_threshold",
        7: "bad_direction",
        9: "conflicting_assay",
        10: "conflicting_assay",
    }
    kept = table.accepted.select("input_row", "input_assay_id", "assay_type", "direction", "experts").rows()
    assert kept == [(1, "a", "OTHER", "high", [6.0]), (4, "c", "OTHER", "low", []), (8, "a", "OTHER", "high", [6.0])]


def test_optional_columns_of_t0_may_be_missing(tmp_path):
    """Only id and type are needed; expert thresholds are sorted and counted once."""
    table = read_assays(write(tmp_path / "T0.csv", "input_assay_id,assay_type\n1,PANEL\n"))
    assert table.accepted.select("is_binary", "direction", "experts").rows() == [(False, "", [])]
    many = "input_assay_id,assay_type,expert_threshold_1,expert_threshold_2,expert_threshold_5\n1,PANEL,7,6,7.0\n"
    assert read_assays(write(tmp_path / "T0.csv", many)).accepted["experts"].to_list() == [[6.0, 7.0]]


def test_a_smiles_of_ten_megabytes_is_read(tmp_path):
    """A SMILES of ten million characters is accepted here."""
    table = read_structures(write(tmp_path / "T2.csv", T2 + "big," + "C" * 10_000_000 + "\nsmall,C\n"))
    assert table.accepted["smiles"].str.len_bytes().to_list() == [10_000_000, 1]


_CELL = st.sampled_from(["", "5", "1e3", "NaN", "inf", "-inf", "text", "<", "A1", " ", "é"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(_CELL, _CELL, _CELL, _CELL), min_size=1, max_size=20))
def test_accepted_and_rejected_rows_add_up(tmp_path_factory, rows):
    """For all cell contents each row is accepted or rejected exactly once."""
    path = tmp_path_factory.mktemp("t") / "T1.csv"
    write(path, T1 + "fine,fine,=,5\n" + "".join(",".join(row) + "\n" for row in rows) + "fine,fine,=,5\n")
    table = read_activities(path)
    numbers = [*table.accepted["input_row"], *table.rejected["input_row"]]
    assert sorted(numbers) == list(range(1, len(rows) + 3))


def test_row_numbers_count_data_rows(tmp_path):
    """Row 1 is the line after the header."""
    table = read_structures(write(tmp_path / "T2.csv", T2 + "".join(t2_rows()[:3]) + ",C\n"))
    assert reasons_of(table) == {4: "missing_id"}


def test_an_unreadable_row_costs_only_itself(tmp_path):
    """A row with a comma too many, or in another encoding, is rejected with its number, in every table."""
    t0 = read_assays(write(tmp_path / "T0.csv", T0 + "a,OTHER,,,,\nb,OTHER,,,,,,\nb,OTHER,,,,\n"))
    t1 = read_activities(write(tmp_path / "T1.csv", T1 + "a,a,=,5\na,a,=,5,5\na,a,=,6\n"))
    t2 = read_structures(write(tmp_path / "T2.csv", T2.encode() + b"a,C\nb,C\xe9\nc,CC\n"))
    for table in (t0, t1, t2):
        assert reasons_of(table) == {2: "unreadable"}
        assert table.accepted["input_row"].to_list() == [1, 3]
