"""The tables of an audit on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipeline.report.audit.rows import (
    COLUMNS_HEADER,
    RATES_HEADER,
    columns_rows,
    groups_rows,
    sentences,
    views_rows,
)
from pipeline.report.audit.schema import Audit

_WIDTH = 190  # characters if stdout is no terminal
_MEMBERSHIP = "Who was trained on: rates of attacks on what this partner gave away"
_VIEWS = ["what is attacked", "attack", "trained on", "others", *RATES_HEADER]
_GROUPS = ["what is attacked", "compounds", "trained on", "others", *RATES_HEADER]


def print_audit(audit: Audit) -> None:
    """Print the views, their groups, the columns, and what else was found, to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    first = [view for view in audit.views[:1] if view.groups]
    for title, header, rows in (
        (_MEMBERSHIP, _VIEWS, views_rows(audit)),
        ("The first view by groups of compounds, by its first attack; the page has all", _GROUPS, groups_rows(first)),
        ("Input columns", COLUMNS_HEADER, columns_rows(audit)),
    ):
        if rows:
            console.print(_table(title, header, rows))
    for line in sentences(audit):
        console.print(line, markup=False, soft_wrap=True)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A row's first cell is left out where it repeats the one above."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i > 1 else "left", overflow="fold")
    before = ""
    for first, *rest in rows:
        table.add_row(first if first != before else "", *rest)
        before = first
    return table
