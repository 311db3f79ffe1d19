"""Leave out those columns of a shared table that are mostly withheld, with one note for the page."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.pages.page import PageTable
from pipeline.report.disclosure import HIDDEN, WITHHELD
from pipeline.report.numbers import NONE, p_value

_MAY_GO = ("better", "worse", "equal", "p")  # the columns whose cells disclosure rules hide
_EMPTY = {HIDDEN, WITHHELD, NONE, p_value(None)}


def without_hidden_columns(tables: Sequence[PageTable]) -> tuple[list[PageTable], list[str]]:
    """The tables without columns of which more than half is hidden, and the notes about them, one or none."""
    gone = {name: [_is_hidden(table, name) for table in tables] for name in _MAY_GO}
    shown = [_without(table, {name for name in _MAY_GO if gone[name][i]}) for i, table in enumerate(tables)]
    names = [name for name in _MAY_GO if any(gone[name])]
    if not names:
        return shown, []
    listed = ", ".join(f'"{name}"' for name in names)
    return shown, [f"Left out where most of it is hidden: {listed}. Its numbers are in the JSON file."]


def _is_hidden(table: PageTable, name: str) -> bool:
    if name not in table.header:
        return False
    column = table.header.index(name)
    return 2 * sum(row[column] in _EMPTY for row in table.rows) > len(table.rows)


def _without(table: PageTable, names: set[str]) -> PageTable:
    kept = [column for column, name in enumerate(table.header) if name not in names]
    return replace(
        table,
        header=[table.header[column] for column in kept],
        rows=[[row[column] for column in kept] for row in table.rows],
    )
