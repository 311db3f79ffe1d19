"""What `hocket extend` added and refused, as tables on a terminal; private to the partner."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.numbers import number, signed
from pipeline.runs.extend import ExtensionReport
from pipeline.runtime.printable import printable

_WIDTH = 112  # columns where stdout is no terminal
_TITLE = "New assays: average precision out of fold"
_COLUMNS = ("assay", "threshold", "compounds", "active", "kept", "without trunk", "gain", "kept model")
_NUMBERS = range(1, 7)  # of the columns


def show_extension(report: ExtensionReport) -> None:
    """Print which assays were added, how good their models are, and which were refused."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    for table in (_added(report), _refused(report)):
        if table.row_count:
            console.print(table)
    if report.results:
        console.print(f"reasons: {report.file}", markup=False, soft_wrap=True)


def _added(report: ExtensionReport) -> Table:
    table = Table(title=_TITLE, title_justify="left")
    for i, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if i in _NUMBERS else "left", overflow="fold")
    for result in report.results:
        name, model = result["input_assay_id"], result["kept"]
        if not result["tasks"]:
            table.add_row(_id(name), "-", str(result["n_compounds"]), "-", "-", "-", "-", model)
        for task in result["tasks"]:
            kept, without = task["kept"], task["without_trunk"]
            gain = "-" if kept is None or without is None else signed(kept - without)
            counts = (str(task["n_labels"]), str(task["n_active"]))
            table.add_row(_id(name), f"{task['threshold']:.10g}", *counts, _text(kept), _text(without), gain, model)
            name = ""
    return table


def _refused(report: ExtensionReport) -> Table:
    table = Table(title="Refused", title_justify="left")
    for column in ("assay", "compounds", "reason"):
        table.add_column(column, justify="right" if column == "compounds" else "left", overflow="fold")
    for one in report.refused:
        table.add_row(_id(one.input_assay_id), str(one.n_compounds), _id(one.reason))
    return table


def _id(text: str) -> Text:
    """An assay's id, which a plain text would let the table read as markup."""
    return Text(printable(text))


def _text(score: float | None) -> str:
    return "-" if score is None else number(score)
