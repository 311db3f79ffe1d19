"""The columns of the input tables: README says what the code reads, examples and samples are valid."""

from pathlib import Path

import pytest

from data_prep.columns import COLUMN_NAMES, TABLES, columns_text, expected_words, nearest, words_of
from data_prep.preparation.check import check
from data_prep.samples.sample_tables import sample_tables
from data_prep.settings import ASSAY_TYPES, Preparation
from data_prep.tables.tables import read_activities, read_assays, read_structures
from data_prep.tables.units import UNITS

README = Path(__file__).resolve().parents[2] / "data_prep" / "README.md"


def test_the_readme_has_the_tables_of_columns() -> None:
    """What `hocket prepare --columns` prints stands in data_prep/README.md."""
    assert columns_text().strip() in README.read_text()


def test_every_example_is_valid(tmp_path: Path) -> None:
    """A file of the columns' examples alone is accepted by the table's reader."""
    for table, read in (("T0", read_assays), ("T1", read_activities), ("T2", read_structures)):
        columns, path = TABLES[table], tmp_path / f"{table}.csv"
        lines = (",".join(column.name for column in columns), ",".join(column.example for column in columns))
        path.write_text("\n".join(lines) + "\n")
        assert read(path).rejected.is_empty(), table


def test_every_allowed_word_is_read(tmp_path: Path) -> None:
    """Each type, direction, qualifier and unit of the tables is accepted."""
    types = "".join(f"{i},{word},high\n{i}b,{word},low\n" for i, word in enumerate(words_of("assay_type")))
    (tmp_path / "T0.csv").write_text(f"input_assay_id,assay_type,direction\n{types}")
    qualifiers = "".join(f"c,a,{word},5\n" for word in words_of("standard_qualifier"))
    header = "input_compound_id,input_assay_id,standard_qualifier,standard_value\n"
    (tmp_path / "T1.csv").write_text(header + qualifiers)
    assert words_of("standard_unit") == tuple(UNITS)
    assert read_assays(tmp_path / "T0.csv").rejected.is_empty()
    assert read_activities(tmp_path / "T1.csv").rejected.is_empty()


def test_the_sample_tables_are_valid(tmp_path: Path) -> None:
    """Nothing is wrong with what `hocket init tables` writes, and it has rows enough for tasks of both kinds."""
    tables = sample_tables()
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    checked = check(*(tmp_path / name for name in tables), Preparation())
    assert checked.findings == []
    assert checked.losses is not None
    assert checked.losses.n_rejected == 0
    assert checked.forecast is not None
    assert checked.forecast.classification.scored >= 1
    assert checked.forecast.regression.scored == 1


@pytest.mark.parametrize(
    ("word", "words", "expected"),
    [
        ("IC50", ASSAY_TYPES, "OTHER"),
        ("AUX-HTS", ASSAY_TYPES, "AUX_HTS"),
        ("non catalog panel", ASSAY_TYPES, "NON-CATALOG-PANEL"),
        ("adme/tox", ASSAY_TYPES, "ADME"),
        ("≤", words_of("standard_qualifier"), "<="),
        ("==", words_of("standard_qualifier"), "="),
        ("hihg", ("high", "low"), "high"),
        ("input_compound", COLUMN_NAMES, "input_compound_id"),
        ("Smile", COLUMN_NAMES, "smiles"),
        ("q", ASSAY_TYPES, None),
        ("IC50", ("high", "low"), None),
    ],
)
def test_the_nearest_word(word: str, words: tuple[str, ...], expected: str | None) -> None:
    """By letters in any case, or by meaning; nothing is guessed without likeness."""
    assert nearest(word, words) == expected


def test_unknown_words_are_named_with_the_allowed_ones() -> None:
    """At most three of them, none in full length."""
    text = expected_words(["IC50", "", "z" * 90, "more"], ASSAY_TYPES)
    assert all(word in text for word in ("'IC50'", "nothing", *ASSAY_TYPES))
    assert "more" not in text
    assert "z" * 21 not in text
    assert text.endswith("; nearest to 'IC50': OTHER")
