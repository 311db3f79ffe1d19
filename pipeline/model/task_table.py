"""`hocket predict --list-tasks`: the tasks of a finished model, as a table on a terminal and as CSV elsewhere."""

import csv
import io
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.model.description import ClassTask, Description, RegrTask, Selection, Which
from pipeline.runtime.printable import printable

_COLUMNS = (
    "task",
    "input_assay_id",
    "threshold",
    "direction",
    "assay_type",
    "n_active",
    "n_inactive",
    "n_values",
    "model",
    "is_auxiliary",
)
_SHOWN = {  # on a terminal, with their titles
    "task": "task",
    "assay_type": "type",
    "n_active": "actives",
    "n_inactive": "inactives",
    "n_values": "values",
    "model": "model",
}
_NUMBERS = {"n_active", "n_inactive", "n_values"}
Row = dict[str, str]


def listed_tasks(description: Description, names: tuple[str, ...] | None, which: Which | None) -> Iterator[Row]:
    """Yield a row for each task, classification tasks first; a number that a kind of task does not have is empty.

    names : as for Selection; None: all tasks, auxiliary ones too
    which : whose kinds of model are named; None: those of the model that the gate keeps
    """
    every: list[ClassTask | RegrTask] = [*description.tasks, *description.regression_tasks]
    if names is not None:
        selection = Selection(description, names)
        every = [*selection.class_tasks, *selection.regression_tasks]
    is_federated = (which or description.kept) == "federated"
    for task in every:
        fields = {"task": task.name, "model": task.kept if is_federated else task.strongest, **task.model_dump()}
        yield {name: _text(fields.get(name)) for name in _COLUMNS}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def print_tasks(rows: Iterator[Row], console: Console) -> None:
    """Print the rows; on a terminal the columns that a person chooses by."""
    if not console.is_terminal:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        console.file.write(text.getvalue())
        return
    table = Table(box=None, pad_edge=False)
    for name, title in _SHOWN.items():
        table.add_column(title, justify="right" if name in _NUMBERS else "left", overflow="fold")
    for row in rows:
        model = row["model"] + (", auxiliary" if row["is_auxiliary"] == "yes" else "")
        table.add_row(*(Text(printable(cell)) for name, cell in (row | {"model": model}).items() if name in _SHOWN))
    console.print(table)
