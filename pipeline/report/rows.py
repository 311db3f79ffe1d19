"""Numbers over tasks from a report's rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from partners.scores.comparison import Scores, compare, numbered
from pipeline.report.metrics import FEWEST_ASSAYS, SIDES


def scores_of(rows: Sequence[Mapping[str, Any]], side: str, metric: str) -> Scores:
    """One side's scores, (n_tasks,); NaN where a task could not be judged."""
    return np.array([math.nan if row[side][metric] is None else row[side][metric] for row in rows], dtype=np.float64)


def is_scored(rows: Sequence[Mapping[str, Any]], metric: str) -> npt.NDArray[np.bool_]:
    """Which tasks both models were judged on, (n_tasks,)."""
    local, federated = (scores_of(rows, side, metric) for side in SIDES)
    return np.isfinite(local) & np.isfinite(federated)


def domain_summary(rows: Sequence[Mapping[str, Any]], measure: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """How sure both models are, over the tasks where both say so: means, change and coverage; None without any."""
    told = [row for row in rows if row.get("domain")]
    shares = {side: _domain_of(told, side, measure) for side in SIDES}
    assays = numbered([row["input_assay_id"] for row in told])
    found = compare(shares["local"], shares["federated"], rng, groups=assays)
    if found is None:
        return None
    both = np.isfinite(shares["local"]) & np.isfinite(shares["federated"])
    kept = ("local", "federated", "change", "interval_95", "n_assays")
    table = found.to_json()
    if found.n_groups < FEWEST_ASSAYS:
        table["interval_95"] = None
    return {
        "measure": measure,
        "n_tasks": int(both.sum()),
        **{name: table[name] for name in kept},
        "coverage": {side: _mean(_domain_of(told, side, "coverage")[both]) for side in SIDES},
    }


def _domain_of(rows: Sequence[Mapping[str, Any]], side: str, measure: str) -> Scores:
    values = [row["domain"][side][measure] for row in rows]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def domain_shares(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Scores]:
    """`efficiency` or `width` of both models, (n,) each, over the tasks where both have one."""
    told = [row for row in rows if row.get("domain")]
    shares = {side: _domain_of(told, side, measure) for side in SIDES}
    both = np.isfinite(shares["local"]) & np.isfinite(shares["federated"])
    return {side: values[both] for side, values in shares.items()}


def _mean(values: Scores) -> float | None:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else None
