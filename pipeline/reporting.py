"""report.json: did federation help this partner? And its table for a person.

report.json is the partner's own: it names assays. summary.json beside it holds no task-level row, no id and no
count below five, and may be shared.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.comparison import compare
from pipeline.errors import ConfigError, NotYet
from pipeline.home import Home, write_json

METRICS = ("average_precision", "roc_auc")
REGRESSION_METRICS = ("r2", "spearman", "rmse", "censored_rmse")
_ERRORS = {"rmse", "censored_rmse"}  # less is better
_SHORT = {
    "average_precision": "AP",
    "roc_auc": "AUC-ROC",
    "r2": "R2",
    "spearman": "Spearman",
    "rmse": "RMSE",
    "censored_rmse": "cRMSE",
}
_PARTS = ("local", "federated", "summary")
_PRIVATE = {"tasks", "regression_tasks", "gate"}  # never shared
_WIDTH = 100  # columns of a report that goes into a file
_SMALL = 5  # counts below this stay out of the shareable summary


def build_report(
    about: dict[str, Any], rows: Sequence[dict[str, Any]], seed: int, regression_rows: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The report from its facts and one row per task.

    about           : who, which plan, how many rounds
    rows            : task_id, input_assay_id, threshold, n_active, n_inactive, and `local` and `federated` with each
                      metric (None where a task cannot be judged)
    regression_rows : task_id, input_assay_id, n_exact, n_censored, and both sides as above; where there are any, each
                      part of the report says the same of them under `regression`
    """
    report: dict[str, Any] = dict(about)
    report |= _sides(rows, METRICS, np.random.default_rng(seed))
    report["tasks"] = list(rows)
    if regression_rows:
        parts = _sides(regression_rows, REGRESSION_METRICS, np.random.default_rng(seed))
        for part, found in parts.items():
            report[part]["regression"] = found
        report["regression_tasks"] = list(regression_rows)
    return report


def _sides(rows: Sequence[dict[str, Any]], metrics: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """Means of both sides over the rows' tasks, and how they compare."""
    parts: dict[str, dict[str, Any]] = {part: {"n_tasks": len(rows)} for part in _PARTS}
    for metric in metrics:
        local, federated = (
            np.array([_number(row[side][metric]) for row in rows], dtype=np.float64) for side in ("local", "federated")
        )
        found = compare(local, federated, rng, is_error=metric in _ERRORS)
        parts["summary"][metric] = found.to_json() if found else None
        n_judged = int((np.isfinite(local) & np.isfinite(federated)).sum())
        for side in ("local", "federated"):
            parts[side][metric] = getattr(found, side) if found else None
        for part in _PARTS:  # where metrics differ, the fewest: what may be shared depends on it
            parts[part]["n_judged"] = min(n_judged, parts[part].get("n_judged", n_judged))
    return parts


def shareable(report: dict[str, Any]) -> dict[str, Any]:
    """The report without task-level rows, and without counts below five."""
    kept: dict[str, Any] = {key: value for key, value in report.items() if key not in _PRIVATE}
    for part in _PARTS:
        if part in report:
            kept[part] = _without_few_judged(report[part], METRICS)
            if "regression" in report[part]:
                kept[part]["regression"] = _without_few_judged(report[part]["regression"], REGRESSION_METRICS)
    return dict(_without_small_counts(kept))


def _without_few_judged(part: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """A mean over very few tasks is nearly their scores."""
    return part | (dict.fromkeys(metrics) if part["n_judged"] < _SMALL else {})


def _without_small_counts(table: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            kept[key] = _without_small_counts(value)
        elif key.startswith("n_") and isinstance(value, int) and value < _SMALL:
            kept[key] = f"< {_SMALL}"
        else:
            kept[key] = value
    return kept


def write_report(home: Home, report: dict[str, Any]) -> None:
    """Write summary.json and then report.json, which says that the report is there."""
    write_json(home.report / "summary.json", shareable(report))
    write_json(report_file(home), report)


def report_file(home: Home) -> Path:
    """Where the partner's report is."""
    return home.report / "report.json"


def read_report(home: Home) -> dict[str, Any]:
    """The report that the partner's run wrote; NotYet before that."""
    path = report_file(home)
    if not path.exists():
        error = NotYet(f"{path}: there is no report yet")
        error.add_note("it is written when the plan's last round is done: `hocket partner run`")
        raise error
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: is damaged; remove it, and the next `hocket partner run` writes it anew") from error


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def print_report(reports: Sequence[dict[str, Any]]) -> None:
    """Print the table of one or several partners to stdout."""
    table = Table(title="Local only against federated, test fold, mean over tasks", title_justify="left")
    table.add_column("partner")
    for column in ("tasks", "metric", "local", "federated", "change [95 % interval]", "better", "worse"):
        table.add_column(column, justify="left" if column == "metric" else "right")
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


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """A line per metric; who it is stands on the first of all, the number of tasks on the first of each kind."""
    rows, who = [], str(report["partner"])
    for summary, metrics in ((report["summary"], METRICS), (report["summary"].get("regression"), REGRESSION_METRICS)):
        n_tasks = f"{summary['n_judged']} of {summary['n_tasks']}" if summary else ""
        for metric in metrics if summary else ():
            rows.append([who, n_tasks, _SHORT[metric], *_figures(summary[metric])])
            who = n_tasks = ""
    return rows


def _figures(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["-"] * 5
    low, high = found["interval_95"]
    change = f"{found['change']:+.4f} [{low:+.4f}, {high:+.4f}]"
    means = [f"{found['local']:.4f}", f"{found['federated']:.4f}"]
    return [*means, change, str(found["n_better"]), str(found["n_worse"])]
