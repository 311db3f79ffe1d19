"""The gate: a partner's test, on its validation fold, whether federation gives a better model than it has alone.

Federation can harm: if the others' labels are noise, the common trunk is worse for a partner than its own. Only the
partner itself can see that, on compounds that neither model was trained on. The test fold is kept for the report.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import interval_of_mean
from partners.settings import SCHEMA_CONFIG

Floats = NDArray[np.float64]

_FEWEST_TASKS = 5  # with fewer an interval means nothing
_NAMES = {"federated": "federated model", "local": "strongest local model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """The test on the validation fold whether federation helped, and which model is then used."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    keep: Literal["federated", "better"] = "better"
    """Which models are used: "better", those with the higher mean score, or "federated" always."""

    confidence: float = 0.95
    """Confidence of the gate's interval, between 0 and 1."""

    def __post_init__(self) -> None:
        """Refuse unknown choices and impossible numbers."""
        if self.keep not in {"federated", "better"}:
            raise ValueError(f"keep: found {self.keep!r}, expected federated or better")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: found {self.confidence!r}, expected a share in (0, 1)")


@dataclass(frozen=True, slots=True)
class GateResult:
    """Result of the gate: federated against strongest local models on the validation fold."""

    outcome: Literal["better", "worse", "undecided"]  # of the federated model
    change: float  # mean over tasks of federated minus local; NaN if no task has two scores
    interval: tuple[float, float]  # bootstrap, over groups of tasks; NaN with too few groups
    confidence: float  # of the interval
    n_tasks: int  # that both models have a score for
    kept: Literal["federated", "local"]  # which model is used, by the setting

    def sentence(self) -> str:
        """The result as a sentence, for the log and the report."""
        if self.n_tasks == 0:
            return f"gate: no task can be scored on the validation fold; the {_NAMES[self.kept]} is kept"
        low, high = self.interval
        interval = f"{self.confidence * 100:g} % interval {low:+.4f} to {high:+.4f}, {self.n_tasks} tasks"
        if not math.isfinite(low):
            interval = f"{self.n_tasks} tasks of too few assays for an interval"
        outcome = {
            "better": "the federated model is better than the strongest local model",
            "worse": "the federated model is WORSE than the strongest local model",
            "undecided": "the federated and the strongest local model cannot be told apart",
        }[self.outcome]
        found = f"{outcome} on the validation fold: {self.change:+.4f} ({interval})"
        return f"gate: {found}; the {_NAMES[self.kept]} is kept"

    def to_json(self) -> dict[str, object]:
        """The result and its sentence as JSON values; None for a number that is not known."""
        numbers = {"change": self.change, "low": self.interval[0], "high": self.interval[1]}
        known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        facts = {"outcome": self.outcome, "kept": self.kept, "n_tasks": self.n_tasks, "confidence": self.confidence}
        return {"sentence": self.sentence(), **facts, **known}


def decide_gate(
    local: Floats,
    federated: Floats,
    settings: GateSettings,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> GateResult:
    """Compare two models by their scores on the validation fold, higher being better.

    local, federated : (n_tasks,), NaN for a task without a score; tasks with either missing are left out
    groups           : (n_tasks,) which tasks belong together, as the thresholds of one assay do: their scores rise and
                       fall together, so whole groups are drawn. Absent: every task is its own group
    rng              : of the bootstrap; equal arguments give equal results
    Federated is better or worse if the whole interval of the mean change is above or below zero, and undecided if zero
    is inside or there are fewer than 5 groups. "better" uses the mean change, which is the best guess also if the
    interval is undecided: a small partner among noisy ones lost .03 and its interval included zero. With fewer than 5
    groups even the sign is random, and federated is kept.
    Raises ValueError for different lengths.
    """
    if local.shape != federated.shape or (groups is not None and groups.shape != local.shape):
        raise ValueError(f"gate: found {local.size} local and {federated.size} federated scores, expected one per task")
    is_scored = np.isfinite(local) & np.isfinite(federated)
    change = (federated - local)[is_scored]
    group = np.flatnonzero(is_scored) if groups is None else groups[is_scored]
    low, high = _interval(change, group, settings.confidence, rng)
    outcome: Literal["better", "worse", "undecided"] = "better" if low > 0 else "worse" if high < 0 else "undecided"
    mean = float(change.mean()) if change.size else float("nan")
    is_lower = bool(np.isfinite(low)) and mean < 0
    kept: Literal["federated", "local"] = "local" if settings.keep == "better" and is_lower else "federated"
    return GateResult(outcome, mean, (low, high), settings.confidence, int(change.size), kept)


def _interval(
    change: Floats, group: NDArray[np.int64], confidence: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Bootstrap interval of the mean change, groups drawn with all their tasks."""
    _, number = np.unique(group, return_inverse=True)
    n_groups = int(number.max(initial=-1)) + 1
    if n_groups < _FEWEST_TASKS:
        return float("nan"), float("nan")
    total, count = (np.bincount(number, weights).astype(np.float64) for weights in (change, None))
    return interval_of_mean(total, count, rng, tail=(1 - confidence) / 2)
