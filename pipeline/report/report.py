"""report.json, which says whether federation helped this partner.

report.json is the partner's own: it names assays. What may be shared of it is in `pipeline.report.shareable`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partners.scores.comparison import compare, holm, numbered
from pipeline.errors import DamagedReport, NotYet
from pipeline.home.paths import Home
from pipeline.report.metrics import ERRORS, FORMAT, METRICS, REGRESSION_METRICS, SIDES
from pipeline.report.rows import domain_summary, scores_of
from pipeline.report.verdict import give_verdict

_PARTS = ("local", "federated", "summary")


def build_report(
    about: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    seed: int,
    regression_rows: Sequence[dict[str, Any]] = (),
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report from its facts and one row per task.

    about           : who, which plan, how many rounds
    rows            : task_id, input_assay_id, threshold, n_active, n_inactive, and `local` and `federated` with each
                      metric (None where a task cannot be judged)
    regression_rows : task_id, input_assay_id, n_exact, n_censored, and both sides as above; where there are any, each
                      part of the report says the same of them under `regression`
    details         : what else the page shows: learning, calibration, data
    """
    report: dict[str, Any] = {"format": FORMAT, **about, "seed": seed}
    report |= _sides(rows, METRICS, np.random.default_rng(seed))
    report["summary"]["domain"] = domain_summary(rows, "efficiency", np.random.default_rng(seed))
    report["tasks"] = list(rows)
    if regression_rows:
        parts = _sides(regression_rows, REGRESSION_METRICS, np.random.default_rng(seed))
        for part, found in parts.items():
            report[part]["regression"] = found
        widths = domain_summary(regression_rows, "width", np.random.default_rng(seed))
        report["summary"]["regression"]["domain"] = widths
        report["regression_tasks"] = list(regression_rows)
    _correct(report["summary"])
    report["verdict"] = give_verdict(report["summary"], str(report["partner"]))
    return report | dict(details or {})


def _sides(rows: Sequence[dict[str, Any]], metrics: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """Means of both sides over the rows' tasks, and how they compare."""
    parts: dict[str, dict[str, Any]] = {part: {"n_tasks": len(rows)} for part in _PARTS}
    assays = numbered([row["input_assay_id"] for row in rows])
    for metric in metrics:
        local, federated = (scores_of(rows, side, metric) for side in SIDES)
        found = compare(local, federated, rng, is_error=metric in ERRORS, groups=assays)
        parts["summary"][metric] = found.to_json() if found else None
        n_judged = int((np.isfinite(local) & np.isfinite(federated)).sum())
        for side in SIDES:
            parts[side][metric] = getattr(found, side) if found else None
        for part in _PARTS:  # where metrics differ, the fewest: what may be shared depends on it
            parts[part]["n_judged"] = min(n_judged, parts[part].get("n_judged", n_judged))
    return parts


def _correct(summary: dict[str, Any]) -> None:
    """Add to every comparison its p corrected for all metrics of the report being tested."""
    tables = {"": summary, "regression ": summary.get("regression", {})}
    found = {
        prefix + metric: part[metric]
        for prefix, part in tables.items()
        for metric in (*METRICS, *REGRESSION_METRICS)
        if part.get(metric)
    }
    for p in ("p_tasks", "p_assays"):
        for name, corrected in holm({name: table[p] for name, table in found.items()}).items():
            found[name][f"{p}_holm"] = corrected


def report_file(home: Home) -> Path:
    """Where the partner's report is."""
    return home.report / "report.json"


def read_report(home: Home) -> dict[str, Any]:
    """The report that the partner's run wrote; NotYet before that, DamagedReport for what is none."""
    path = report_file(home)
    if not path.exists():
        error = NotYet(f"{path}: there is no report yet")
        error.add_note("it is written when the plan's last round is done: `hocket partner run`")
        raise error
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found.keys() >= {"tasks", "summary", "partner", "plan"}:
        damaged = DamagedReport(f"{path}: is damaged, expected the JSON object that a partner's run writes")
        damaged.add_note("remove it; then `hocket report` makes it anew from the models in the home")
        raise damaged
    return dict(found)
