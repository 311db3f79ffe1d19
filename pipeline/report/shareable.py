"""What a partner may share of its report: no task, no id, no structure, no single score, no count below five.

Only what is named here is shared. Scores are told as means over five tasks or more, sorted changes as means of tenths;
how much data a partner has in shares, not in compounds. Floats are rounded, so that what was left out cannot be found
by subtracting means.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report.breakdown import Changes, changes, size_label
from pipeline.report.disclosure import (
    FEWEST,
    HIDDEN,
    WITHHELD,
    apart,
    cells,
    group_means,
    neighbours,
    pooled,
    rounded,
    shown,
)
from pipeline.report.metrics import (
    CURVES,
    ERRORS,
    FORMAT,
    METRICS,
    REGRESSION_CURVES,
    REGRESSION_METRICS,
    SIDES,
    SUMMARY_KIND,
)
from pipeline.report.rows import domain_shares
from pipeline.report.verdict import give_verdict

OTHER_TYPES, OTHER_REASONS = "other types", "other reasons"
_ABOUT = ("partner", "federation", "plan", "trunk", "n_rounds", "local_steps")
# a median is one task's score, so there is none
_MEANS = ("local", "federated", "change", "riptop")
_CHANCES = ("p_tasks", "p_tasks_holm", "p_assays", "p_assays_holm")
_N_BINS, _N_COARSE_BINS, _MANY_TASKS = 10, 5, 500  # of a histogram, coarse where tasks are not many
_FEWEST_LABELS = 20  # of a point on a calibration curve
_SHARE_DIGITS = 3


def shareable(report: Mapping[str, Any]) -> dict[str, Any]:
    """The summary for the consortium; equal reports give equal summaries."""
    summary = _told_summary(report["summary"], METRICS)
    found: dict[str, Any] = {"kind": SUMMARY_KIND, "format": FORMAT, **{key: report[key] for key in _ABOUT}}
    found["classification"] = _views(report, report["tasks"], METRICS, "")
    if "regression" in report["summary"]:
        summary["regression"] = _told_summary(report["summary"]["regression"], REGRESSION_METRICS)
        found["regression"] = _views(report, report["regression_tasks"], REGRESSION_METRICS, "regression_")
    found["summary"] = rounded(summary)
    found["verdict"] = give_verdict(report["summary"], str(report["partner"]))  # the partner's own, word for word
    found["data"] = _told_data(report["data"]) if "data" in report else None
    return found


def _told_summary(summary: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """Counts and means over the tasks judged by each metric; none over fewer than five, which is nearly their scores.

    Metrics whose numbers of judged tasks differ by fewer than five tell the fewest of these.
    """
    n_tasks, n_judged = summary["n_tasks"], summary["n_judged"]
    told: dict[str, Any] = {"n_tasks": _told_count(n_tasks), "n_judged": _told_count(n_judged)}
    if n_judged < FEWEST:
        return told | dict.fromkeys(metrics)
    judged = apart({metric: summary[metric]["n_judged"] for metric in metrics if summary[metric]})
    if any(0 < n_tasks - n < FEWEST for n in (n_judged, *judged.values())):
        told["n_tasks"] = WITHHELD
    return told | {
        metric: _told_metric(summary[metric], judged[metric]) if summary[metric] else None for metric in metrics
    }


def _told_metric(found: Mapping[str, Any], n_judged: int) -> dict[str, Any]:
    """An interval over very few assays ends at the scores of one, a p-value tells small counts: so there is none."""
    counts = shown({name: found[name] for name in ("n_better", "n_worse", "n_equal")})
    enough = found["n_assays"] >= FEWEST
    no_small = enough and min(found["n_better"], found["n_worse"]) >= FEWEST
    return {
        **{name: found[name] for name in _MEANS},
        **{name: found[name] if no_small else None for name in _CHANCES},
        "interval_95": found["interval_95"] if enough else None,
        "n_judged": n_judged,
        "n_assays": _told_count(found["n_assays"]),
        **counts,
    }


def _told_count(n: int) -> int | str:
    return n if n >= FEWEST else HIDDEN


def _views(report: Mapping[str, Any], rows: Sequence[Any], metrics: Sequence[str], prefix: str) -> dict[str, Any]:
    """What figures of one kind of task show."""
    first = changes(rows, metrics[0])
    scores = {metric: changes(rows, metric) for metric in metrics if metric not in ERRORS}
    views = {
        "changes": {metric: group_means(found.change) for metric, found in scores.items()},
        "histograms": {metric: _told_cells(found) for metric, found in scores.items()},
        "sizes": _told_sizes(first, report["seed"]),
        "types": _told_types(first, report["seed"]),
        "learning": _told_curves(report.get("learning"), prefix),
        "calibration": _told_calibration(report.get(f"{prefix}calibration")),
        "domain": _told_domain(report["summary"]["regression"] if prefix else report["summary"], rows),
    }
    return {name: rounded(view) for name, view in views.items()}


def _told_cells(found: Changes) -> dict[str, Any]:
    """[local, federated, tasks] by even bins of 0 to 1; scores below 0, as R² has them, count in the lowest."""
    local, federated = (np.clip(scores, 0, 1) for scores in (found.local, found.federated))
    n_bins = _N_BINS if local.size >= _MANY_TASKS else _N_COARSE_BINS
    return {"n_bins": n_bins, "cells": [list(cell) for cell in cells(local, federated, np.linspace(0, 1, n_bins + 1))]}


def _told_sizes(found: Changes, seed: int) -> list[dict[str, Any]]:
    members = found.by_size()
    return [
        {"name": size_label(first, last)} | found.mean_of(np.concatenate(members[first : last + 1]), seed)
        for first, last in neighbours(members)
    ]


def _told_types(found: Changes, seed: int) -> list[dict[str, Any]]:
    members = found.by_type()
    groups = pooled({name: len(tasks) for name, tasks in members.items()}, OTHER_TYPES)
    return [
        {"name": name} | found.mean_of(np.concatenate([members[each] for each in names]), seed)
        for name, names in groups.items()
    ]


def _told_curves(learning: Mapping[str, Any] | None, prefix: str) -> dict[str, Any]:
    kind, names = ("regression", REGRESSION_CURVES) if prefix else ("classification", CURVES)
    if learning is None or learning["n_tasks"][kind] < FEWEST:
        return {}
    return {name: learning[name] for name in names if name in learning}


def _told_calibration(sides: Mapping[str, Any] | None) -> dict[str, list[list[float]]]:
    """[predicted, observed] of the points that many labels of several tasks made, too coarse to count labels from."""
    return {
        side: [
            [round(point["predicted"], 2), round(point["observed"], 2)]
            for point in (sides or {}).get(side, ())
            if point["n_entries"] >= _FEWEST_LABELS and point["n_tasks"] >= FEWEST
        ]
        for side in SIDES
    }


def _told_domain(summary: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    found = summary["domain"]
    if not found or found["n_tasks"] < FEWEST:
        return None
    shares = domain_shares(rows, found["measure"])
    return {
        **found,
        "n_assays": _told_count(found["n_assays"]),
        "interval_95": found["interval_95"] if found["n_assays"] >= FEWEST else None,
        "groups": {side: group_means(shares[side]) for side in SIDES},
    }


def _told_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Which share of each table's rows was rejected why, and how even the folds are."""
    return {
        "rejected": {name: _told_reasons(table) for name, table in data["tables"].items()},
        "folds": [
            {"fold": fold["fold"]}
            | {what: _share(fold[what], sum(each[what] for each in data["folds"])) for what in ("compounds", "labels")}
            for fold in data["folds"]
        ],
    }


def _told_reasons(table: Mapping[str, Any]) -> dict[str, float]:
    """Reasons for fewer than five rows go together."""
    rejected = table["rejected"]
    groups = pooled(rejected, OTHER_REASONS)
    return {
        name: _share(sum(rejected[reason] for reason in together), table["rows"]) for name, together in groups.items()
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, _SHARE_DIGITS) if whole else 0.0
