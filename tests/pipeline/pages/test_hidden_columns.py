"""Columns that are mostly hidden: what goes, what stays, and that the page says so once."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.pages.hidden_columns import without_hidden_columns
from pipeline.pages.page import PageTable
from pipeline.report.disclosure import HIDDEN, WITHHELD

HEADER = ["partner", "change", "better", "worse", "equal", "p"]
CELLS = st.sampled_from(["12", "7", HIDDEN, WITHHELD, "-"])
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=6)


def table(rows: list[tuple[str, ...]]) -> PageTable:
    """A table of partners whose change is never told, which is no column that may go."""
    return PageTable("caption", HEADER, [[f"P{i:02d}", "-", *row] for i, row in enumerate(rows)])


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_what_is_mostly_told_stays_as_it_is(of_tables: list[list[tuple[str, ...]]]):
    """A column goes if more than half of its cells are hidden, others keep their cells; one note names what goes."""
    given_tables = [table(rows) for rows in of_tables]
    shown, notes = without_hidden_columns(given_tables)
    gone: set[str] = set()
    for before, after in zip(given_tables, shown, strict=True):
        for column, name in enumerate(HEADER):
            cells = [row[column] for row in before.rows]
            n_hidden = sum(cell in (HIDDEN, WITHHELD, "-") for cell in cells)
            if column > 1 and n_hidden > len(cells) / 2:
                assert name not in after.header
                gone.add(name)
            else:
                assert [row[list(after.header).index(name)] for row in after.rows] == cells
    assert len(notes) == bool(gone)
    assert all(f'"{name}"' in notes[0] for name in gone)
