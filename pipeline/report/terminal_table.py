"""The table of one or several reports, or shareable summaries, for a person at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.pages.tables import chance
from pipeline.report.disclosure import WITHHELD
from pipeline.report.metrics import METRICS, REGRESSION_METRICS, SHORT

_WIDTH = 112  # columns of a report that goes into a file
_TITLE = "Local only against federated, test fold, mean over tasks; p: Wilcoxon over tasks, Holm"
_NONE, _HIDDEN = "-", "?"


def print_report(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of one or several partners to stdout."""
    table = Table(
        title=_TITLE,
        title_justify="left",
    )
    table.add_column("partner", no_wrap=True)
    for column in ("tasks", "metric", "local", "federated", "change [95 % interval]", "p", "better", "worse"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for report in reports:
        for row in _rows(report):
            table.add_row(*row)
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(table)
    for report in reports:
        if "gate" in report:
            console.print(f"{report['partner']}: {report['gate']['sentence']}", markup=False, highlight=False)


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    """A line per metric; who it is stands on the first of all, the number of tasks on the first of each kind."""
    rows, who = [], str(report["partner"])
    for summary, metrics in ((report["summary"], METRICS), (report["summary"].get("regression"), REGRESSION_METRICS)):
        n_tasks = f"{summary['n_judged']} of {summary['n_tasks']}" if summary else ""
        for metric in metrics if summary else ():
            rows.append([who, n_tasks, SHORT[metric], *_figures(summary[metric])])
            who = n_tasks = ""
    return rows


def _figures(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [_NONE] * 6
    change = f"{found['change']:+.4f}"
    if found["interval_95"]:
        low, high = found["interval_95"]
        change += f" [{low:+.4f}, {high:+.4f}]"
    means = [f"{found['local']:.4f}", f"{found['federated']:.4f}"]
    counts = [_HIDDEN if found[name] == WITHHELD else str(found[name]) for name in ("n_better", "n_worse")]
    return [*means, change, chance(found["p_tasks_holm"]), *counts]
