"""The summary of `hocket prepare` as tables on a terminal; private to the partner."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.runs.preparation_summary import PreparationSummary, PreparedTables
from pipeline.runtime.printable import printable

_WIDTH = 80  # columns where stdout is no terminal
_OF_ASSAYS = {
    "all": "accepted",
    "measured": "measured",
    "with_tasks": "in classification",
    "in_regression": "in regression",
    "near_constant": "near-constant",
}
_OF_TASKS = ("candidates", "evaluated", "auxiliary")


def show_prepared(prepared: PreparedTables, console: Console | None = None) -> None:
    """Print what is in the prepared tables, 80 columns wide at least."""
    summary = prepared.summary
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console = Console(file=console.file, highlight=False, width=_WIDTH)
    for make in (_inputs, _rejected, _classification, _regression, _folds):
        table = make(summary)
        if table.row_count:
            console.print(table)
    console.print(_facts(summary))
    for warning in summary.warnings:
        console.print(printable(f"warning: {warning}"), markup=False)
    console.print(f"consistency: {prepared.consistency}", markup=False, soft_wrap=True)  # compared with the others'
    console.print(f"folder: {prepared.folder}", markup=False, soft_wrap=True)  # whole, to be copied


def _inputs(summary: PreparationSummary) -> Table:
    return _table("Tables", ("table", "rows", "accepted", "rejected"), [
        (name, table.rows, table.accepted, sum(table.rejected.values()))
        for name, table in summary.tables.items()
    ])  # fmt: skip


def _rejected(summary: PreparationSummary) -> Table:
    return _table("Rejected rows", ("table", "reason", "rows"), [
        (name, reason, n) for name, table in summary.tables.items() for reason, n in table.rejected.items()
    ], n_words=2)  # fmt: skip


def _classification(summary: PreparationSummary) -> Table:
    return _table("Classification tasks", ("assay type", "tasks", "scored", "labels", "active"), [
        (kind, n.tasks, n.evaluated, n.active + n.inactive, _share(n.active, n.inactive))
        for kind, n in summary.classification.by_type.items()
    ])  # fmt: skip


def _regression(summary: PreparationSummary) -> Table:
    return _table("Regression tasks", ("assay type", "tasks", "scored", "values", "censored"), [
        (kind, n.tasks, n.evaluated, n.values, _share(n.values - n.exact, n.exact))
        for kind, n in summary.regression.by_type.items()
    ])  # fmt: skip


def _folds(summary: PreparationSummary) -> Table:
    return _table(
        "Folds",
        ("fold", "compounds", "share", "labels", "regression values"),
        [
            (n.fold, n.compounds, _share(n.compounds, summary.compounds.rows - n.compounds), n.labels, n.values)
            for n in summary.folds
        ],
    )


def _facts(summary: PreparationSummary) -> Table:
    compounds, assays = summary.compounds, summary.assays
    labels, values = summary.classification, summary.regression
    facts: dict[str, Mapping[str, float]] = {
        "compounds": {"rows": compounds.rows, "ids": compounds.ids, "ids merged": compounds.merged_ids},
        "assays": {words: getattr(assays, key) for key, words in _OF_ASSAYS.items()},
        "left out": {"% of T1's rows": 100 * summary.rejected_share, "assays whole": len(summary.lost_assays)},
        "catalogue": {_words(note): n for note, n in assays.catalogue_notes.items()},
        "classification": {_words(key): getattr(labels, key) for key in ("tasks", *_OF_TASKS, "catalogue")},
        "labels": {"active": labels.labels.active, "inactive": labels.labels.inactive},
        "thresholds": {_words(method): n for method, n in labels.thresholds.items()},
        "regression": {_words(key): getattr(values, key) for key in ("tasks", *_OF_TASKS)},
        "values": {"exact": values.exact, "censored": values.values - values.exact},
    }
    grid = Table.grid(padding=(0, 2))
    for name, counts in facts.items():
        if counts:
            grid.add_row(name, ", ".join(f"{_number(n)} {key}" for key, n in counts.items()))
    return grid


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], n_words: int = 1) -> Table:
    """A table with text in its first `n_words` columns and numbers in the others."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < n_words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_number(cell) if isinstance(cell, int) else Text(printable(str(cell))) for cell in row))
    return table


def _words(key: str) -> str:
    return key.replace("_", " ")


def _number(n: float) -> str:
    return f"{n:,}" if isinstance(n, int) else f"{n:g}"


def _share(part: int, rest: int) -> str:
    return f"{100 * part / (part + rest):.0f} %" if part + rest else ""
