"""The tables of a report's page, as words and numbers ready to be shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.pages.page import PageTable
from pipeline.report.metrics import FEWEST_ASSAYS, METRICS, REGRESSION_METRICS, SHORT, SIDES

NONE = "–"  # noqa: RUF001 -- an en dash, as tables have it


def comparison_table(summary: Mapping[str, Any]) -> PageTable:
    """Local against federated over tasks, a row per metric, classification first."""
    header = ["metric", "tasks", "local", "federated", "change", "95 % interval", "better", "worse", "equal"]
    header += ["RIPtoP", "p, tasks", "p, assays"]
    rows = [[SHORT[metric], *comparison_row(part, metric, of_all=True)] for part, metric in _measured(summary)]
    return PageTable("Test fold, means over the tasks that both models could be judged on", header, rows)


def _measured(summary: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    regression = summary.get("regression")
    found = [(summary, metric) for metric in METRICS]
    return found + ([(regression, metric) for metric in REGRESSION_METRICS] if regression else [])


def comparison_row(part: Mapping[str, Any], metric: str, *, of_all: bool) -> list[str]:
    """From the number of judged tasks (`of_all`: and of all) to the tests; dashes where nothing may be told."""
    found = part[metric]
    n_tasks = count((found or part)["n_judged"]) + (f" of {count(part['n_tasks'])}" if of_all else "")
    if found is None:
        return [n_tasks] + [NONE] * 10
    return [
        n_tasks,
        *(number(found[side]) for side in SIDES),
        signed(found["change"]),
        interval(found["interval_95"] if _is_enough(found["n_assays"]) else None),
        *(count(found[f"n_{which}"]) for which in ("better", "worse", "equal")),
        signed(found["riptop"]),
        chance(found["p_tasks_holm"]),
        chance(found["p_assays_holm"]),
    ]


def _is_enough(n_assays: int | str) -> bool:
    return isinstance(n_assays, int) and n_assays >= FEWEST_ASSAYS


def median_table(summary: Mapping[str, Any]) -> PageTable:
    """Medians over tasks, a row per metric."""
    rows = [
        [
            SHORT[metric],
            *(number(part[metric][f"{side}_median"]) for side in SIDES),
            signed(part[metric]["median_change"]),
            signed(part[metric]["median_riptop"]),
        ]
        for part, metric in _measured(summary)
        if part[metric]
    ]
    return PageTable("Medians over the same tasks", ["metric", "local", "federated", "change", "RIPtoP"], rows)


def group_table(caption: str, groups: Sequence[Mapping[str, Any]], what: str) -> PageTable:
    """Mean changes of named groups."""
    rows = [
        [each["name"], count(each["n_tasks"]), signed(each["change"]), interval(each["interval_95"])] for each in groups
    ]
    return PageTable(caption, [what, "tasks", "change", "95 % interval"], rows)


def task_table(rows: Sequence[Mapping[str, Any]]) -> PageTable:
    """Every classification task that was judged, the most improved first."""
    chosen = [row for row in rows if all(row[side]["average_precision"] is not None for side in SIDES)]
    chosen.sort(key=lambda row: (_change(row, "average_precision"), row["task_id"]))
    header = ["assay", "type", "threshold", "labels", "test actives", "test inactives"]
    for metric in METRICS:
        header += [f"{SHORT[metric]} local", "federated", "change"]
    cells = [
        [
            str(row["input_assay_id"]),
            row["assay_type"],
            f"{row['threshold']:g}",
            *(count(row[name]) for name in ("n_labels", "n_active", "n_inactive")),
            *(cell for metric in METRICS for cell in _both(row, metric)),
        ]
        for row in reversed(chosen)
    ]
    return PageTable(_tasks_caption(len(cells), "classification"), header, cells, 2, folded=True)


def regression_task_table(rows: Sequence[Mapping[str, Any]]) -> PageTable:
    """Every regression task that was judged, the most improved first."""
    chosen = [row for row in rows if all(row[side]["r2"] is not None for side in SIDES)]
    chosen.sort(key=lambda row: (_change(row, "r2"), row["task_id"]))
    header = ["assay", "type", "values", "test exact", "test bounds"]
    for metric in ("r2", "rmse"):
        header += [f"{SHORT[metric]} local", "federated", "change"]
    cells = [
        [
            str(row["input_assay_id"]),
            row["assay_type"],
            *(count(row[name]) for name in ("n_labels", "n_exact", "n_censored")),
            *(cell for metric in ("r2", "rmse") for cell in _both(row, metric)),
        ]
        for row in reversed(chosen)
    ]
    return PageTable(_tasks_caption(len(cells), "regression"), header, cells, 2, folded=True)


def _tasks_caption(n_tasks: int, kind: str) -> str:
    return f"Every judged {kind} task ({n_tasks:,}), the most improved first"


def rejected_table(tables: Mapping[str, Any]) -> PageTable:
    """Rows left out, by table and reason."""
    rows = [
        [name, reason.replace("_", " "), count(n), percent(n / table["rows"], 2)]
        for name, table in tables.items()
        for reason, n in table["rejected"].items()
    ]
    return PageTable("Rows left out", ["table", "reason", "rows", "share of the table"], rows, 2)


def rejected_share_table(tables: Mapping[str, Mapping[str, float]]) -> PageTable:
    """The same in shares."""
    rows = [
        [name, reason.replace("_", " "), percent(share, 1)]
        for name, reasons in tables.items()
        for reason, share in reasons.items()
    ]
    return PageTable("Rows left out", ["table", "reason", "share of the table"], rows, 2)


def input_table(tables: Mapping[str, Any]) -> PageTable:
    """What came in and what was taken."""
    rows = [
        [name, count(table["rows"]), count(table["accepted"]), count(table["rows"] - table["accepted"])]
        for name, table in tables.items()
    ]
    return PageTable("Input tables", ["table", "rows", "accepted", "left out"], rows)


def fold_table(folds: Sequence[Mapping[str, Any]]) -> PageTable:
    """What lies in each fold."""
    names = ("compounds", "scaffolds", "labels", "values")
    rows = [[f"fold {fold['fold']}", *(count(fold[name]) for name in names)] for fold in folds]
    return PageTable("Folds", ["", "compounds", "scaffolds", "labels", "regression values"], rows)


def _both(row: Mapping[str, Any], metric: str) -> list[str]:
    if any(row[side][metric] is None for side in SIDES):
        return [NONE] * 3
    return [*(number(row[side][metric]) for side in SIDES), signed(_change(row, metric))]


def _change(row: Mapping[str, Any], metric: str) -> float:
    return float(row["federated"][metric] - row["local"][metric])


def count(n: object) -> str:
    """A count with commas; a hidden one as it stands."""
    return f"{n:,}" if isinstance(n, int) else str(n)


def percent(share: float, digits: int) -> str:
    """A share of 0 to 1; one that is too small for the digits is said to be that."""
    least = 10.0**-digits
    return f"< {least:g} %" if 100 * share < least else f"{100 * share:.{digits}f} %"


def number(value: float) -> str:
    """A score."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """A change, with its sign."""
    return f"{value:+.4f}"


def interval(found: Sequence[float] | None) -> str:
    """An interval of changes."""
    return f"{found[0]:+.4f} to {found[1]:+.4f}" if found else NONE


def chance(p: float | None) -> str:
    """A p-value; a dash where it is not told."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"  # noqa: PLR2004 -- four digits are shown
