"""Columns are found in a header by their own names or others, in any case and order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import TableError
from data_prep.tables.header import Wanted, match_columns, misspelled_columns, wanted_columns

FILE = Path("T.csv")
WANTED = Wanted(("smiles", "input_compound_id"), ("direction",))


@given(st.permutations([*WANTED.columns, "mw", "note"]), st.data())
def test_any_order_and_case(names: list[str], data: st.DataObject) -> None:
    """Every wanted column is found at its place, however its letters are written."""
    header = [name.title() if data.draw(st.booleans()) else name.upper() for name in names]
    found = match_columns(FILE, header, WANTED)
    assert {column: names[index] for column, index in found.items()} == {column: column for column in WANTED.columns}


@given(st.permutations(["smiles", "SMILES", "input_compound_id"]))
def test_the_exact_name_goes_first(header: list[str]) -> None:
    """A column whose name differs only in case is another column if the exact one is there."""
    assert header[match_columns(FILE, header, WANTED)["smiles"]] == "smiles"


def test_names_of_the_partner_go_before_ours() -> None:
    """The first of several names that a file has is taken, then the column's own name."""
    renamed = {"smiles": ("STRUCTURE", "mol")}
    wanted = wanted_columns(("smiles", "input_compound_id"), ("direction",), renamed)
    for header, place in (
        (["smiles", "input_compound_id", "Mol"], 2),
        (["mol", "input_compound_id", "structure"], 2),
        (["smiles", "input_compound_id"], 0),
    ):
        assert match_columns(FILE, header, wanted)["smiles"] == place


def test_a_renamed_optional_column_must_be_there() -> None:
    """A mistyped name in the configuration is an error, not an ignored column."""
    wanted = wanted_columns(("smiles",), ("direction",), {"direction": ("Sense",)})
    with pytest.raises(TableError, match=r"^T\.csv: missing column direction \(named Sense\)"):
        match_columns(FILE, ["smiles", "Sence"], wanted)
    assert match_columns(FILE, ["smiles", "sense"], wanted) == {"smiles": 0, "direction": 1}


def test_nearly_the_name_of_an_optional_column() -> None:
    """It is reported if that column is missing; columns that are read, and unlike ones, are not."""
    wanted = Wanted(("input_assay_id",), ("direction", "is_binary"))
    assert misspelled_columns(["threshold"], Wanted((), ("expert_threshold_1",))) == {"threshold": "expert_threshold_1"}
    assert misspelled_columns(["input_assay_id", "directions", "IS_BINARY", "binary?", "note"], wanted) == {
        "directions": "direction"
    }


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("directions", "direction"),
        ("Activity_Direction", "direction"),
        ("is_binnary", "is_binary"),
        ("standard_units", "standard_unit"),
        ("UNIT", "standard_unit"),
        ("units", "standard_unit"),
        ("uom", "standard_unit"),
    ],
)
def test_a_column_that_decides_what_values_mean_is_not_overlooked(name: str, column: str) -> None:
    """It is refused with what to do, unless the column itself is there or the configuration names it."""
    with pytest.raises(TableError, match=rf"^T\.csv: found column {name}, .*expected {column}") as caught:
        match_columns(FILE, [name, "x"], Wanted((), (column,)))
    assert "[data.columns]" in caught.value.__notes__[0]
    assert match_columns(FILE, [name, column], Wanted((), (column,))) == {column: 1}
    assert match_columns(FILE, [name], wanted_columns((), (column,), {column: (name,)})) == {column: 0}


@pytest.mark.parametrize("name", ["standard_type", "standard_relation", "standard_id", "is_primary", "description", ""])
def test_other_columns_are_not_taken_for_these(name: str) -> None:
    """Columns of ChEMBL and the like are ignored as before."""
    assert match_columns(FILE, [name], Wanted((), ("direction", "is_binary", "standard_unit"))) == {}
