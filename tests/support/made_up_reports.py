"""Reports of made-up tasks, for tests of pages and of what may be shared."""

from typing import Any

import numpy as np

from pipeline.report.metrics import CURVES, ERRORS, METRICS, REGRESSION_CURVES, REGRESSION_METRICS, SIDES
from pipeline.report.report import build_report

ABOUT = {
    "partner": "P01",
    "federation": "small",
    "plan": "ab" * 32,
    "trunk": "cd" * 32,
    "n_rounds": 12,
    "local_steps": 25,
}
TYPES = ("ADME", "PANEL", "CATALOG-PANEL", "OTHER", "AUX_HTS")


def made_up_report(
    n_tasks: int, n_regressions: int = 0, *, seed: int = 0, gain: float = 0.03, about: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A whole report, every id in it beginning with `secret`; two tasks to an assay."""
    rng = np.random.default_rng(seed)
    rows = [_row(number, rng, gain) for number in range(n_tasks)]
    regression_rows = [_regression_row(number, rng, gain) for number in range(n_regressions)]
    details: dict[str, Any] = {
        "learning": {name: {side: [[1, 0.5], [2, 0.625]] for side in SIDES} for name in CURVES}
        | {"n_tasks": {"classification": n_tasks, "regression": n_regressions}},
        "calibration": {side: _points(n_tasks, 0.1, n_tasks) for side in SIDES},
        "data": _data(n_tasks),
    }
    if regression_rows:
        details["learning"] |= {name: {"local": [], "federated": [[1, 0.25], [2, 0.5]]} for name in REGRESSION_CURVES}
        details["regression_calibration"] = {side: _points(n_regressions, 0.3, n_regressions) for side in SIDES}
    return build_report(ABOUT | (about or {}), rows, 1, regression_rows, details)


def _row(number: int, rng: np.random.Generator, gain: float) -> dict[str, Any]:
    local = float(rng.beta(6, 3))
    federated = float(np.clip(local + rng.normal(gain, 0.04), 0, 1))
    efficiency = float(rng.uniform(0.2, 0.8))
    return {
        "task_id": number,
        "input_assay_id": f"secret-assay-{number // 2}",
        "assay_type": TYPES[int(rng.integers(len(TYPES)))],
        "threshold": 6.0 + number % 2,
        "n_labels": int(10 ** rng.uniform(1.4, 4)),
        "n_active": 31,
        "n_inactive": 47,
        "is_auxiliary": False,
        "local": dict.fromkeys(METRICS, local),
        "federated": dict.fromkeys(METRICS, federated),
        "domain": {
            "local": {"efficiency": efficiency, "coverage": 0.94},
            "federated": {"efficiency": efficiency + 0.1, "coverage": 0.95},
        },
    }


def _regression_row(number: int, rng: np.random.Generator, gain: float) -> dict[str, Any]:
    local = float(0.6 - rng.exponential(0.4))
    scores = {"local": local, "federated": local + float(rng.normal(gain, 0.1))}
    return {
        "task_id": number,
        "input_assay_id": f"secret-regression-{number}",
        "assay_type": TYPES[int(rng.integers(len(TYPES)))],
        "n_labels": int(10 ** rng.uniform(1.4, 4)),
        "n_exact": 29,
        "n_censored": 7,
        "is_auxiliary": False,
        **{
            side: {metric: 2 - score if metric in ERRORS else score for metric in REGRESSION_METRICS}
            for side, score in scores.items()
        },
        "domain": {"local": {"width": 2.5, "coverage": 0.94}, "federated": {"width": 2.25, "coverage": None}},
    }


def _points(n_tasks: int, offset: float, n_entries: int) -> list[dict[str, float]]:
    if not n_tasks:
        return []
    return [
        {
            "predicted": i / 10 + 0.05,
            "observed": min(1.0, i / 11 + offset),
            "n_entries": 7 * n_entries,
            "n_tasks": n_tasks,
        }
        for i in range(10)
    ]


def _data(n_tasks: int) -> dict[str, Any]:
    return {
        "tables": {
            "T0": {"rows": n_tasks, "accepted": n_tasks, "rejected": {}},
            "T1": {"rows": 8000, "accepted": 7800, "rejected": {"out_of_range": 180, "no_value": 3, "too_large": 17}},
            "T2": {"rows": 4000, "accepted": 3997, "rejected": {"too_complex": 3}},
        },
        "folds": [
            {"fold": i, "compounds": 800 + i, "scaffolds": 300, "labels": 1600 + 9 * i, "values": 400} for i in range(5)
        ],
        "warnings": [],
    }
