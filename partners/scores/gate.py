"""The gate: whether a partner's federated model is better than its own local one, judged on its validation fold.

Federation can harm: where the others' labels are noise, the common trunk serves a partner worse than its own. Only the
partner itself can see that, on compounds neither model was trained on. The test fold stays for the report.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import interval_of_mean
from partners.settings import SCHEMA_CONFIG

Floats = NDArray[np.float64]

_FEWEST_TASKS = 5  # an interval over fewer says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Whether federation helped, judged on the validation fold, and which model is then used."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    keep: Literal["federated", "better"] = "federated"
    """Which model is used: "federated" whatever the verdict, or "better", the one with the higher mean score."""

    confidence: float = 0.95
    """Confidence of the verdict's interval, between 0 and 1."""

    def __post_init__(self) -> None:
        """Refuse unknown choices and impossible numbers."""
        if self.keep not in {"federated", "better"}:
            raise ValueError(f"keep: found {self.keep!r}, expected federated or better")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: found {self.confidence!r}, expected a share in (0, 1)")


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the validation fold says of federated against local."""

    outcome: Literal["better", "worse", "undecided"]  # of the federated model
    change: float  # mean over tasks of federated minus local; NaN where no task can be judged
    interval: tuple[float, float]  # bootstrap, over groups of tasks; NaN where too few can be judged
    confidence: float  # of the interval
    n_tasks: int  # that both models could be judged on
    kept: Literal["federated", "local"]  # which model the setting says to use

    def sentence(self) -> str:
        """The verdict in words, for the log and the report."""
        if self.n_tasks == 0:
            return f"gate: no task can be judged on the validation fold; the {self.kept} model is kept"
        low, high = self.interval
        interval = f"{self.confidence * 100:g} % interval {low:+.4f} to {high:+.4f}, {self.n_tasks} tasks"
        if not math.isfinite(low):
            interval = f"{self.n_tasks} tasks of too few assays for an interval"
        found = {
            "better": "the federated model is better than local",
            "worse": "the federated model is WORSE than local",
            "undecided": "federated and local cannot be told apart",
        }[self.outcome]
        return f"gate: {found} on the validation fold: {self.change:+.4f} ({interval}); the {self.kept} model is kept"

    def to_json(self) -> dict[str, object]:
        """The verdict and its sentence as JSON values; None where a number is not known."""
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

    local, federated : (n_tasks,), NaN where a task cannot be judged; tasks with either missing are left out
    groups           : (n_tasks,) which tasks belong together, as the thresholds of one assay do: their scores rise and
                       fall together, so whole groups are drawn. Absent: every task is its own group
    rng              : of the bootstrap; equal arguments give equal verdicts
    Federated is better or worse when the whole interval of the mean change lies above or below zero, and undecided
    where zero is inside or fewer than 5 groups can be judged. "better" goes by the mean change, which is the best guess
    also where it is undecided: a small partner among noisy ones lost .03 and its interval held zero. With fewer than 5
    groups even the sign is chance, and federated is kept.
    Raises ValueError for different lengths.
    """
    if local.shape != federated.shape or (groups is not None and groups.shape != local.shape):
        raise ValueError(f"gate: found {local.size} local and {federated.size} federated scores, expected one per task")
    judged = np.isfinite(local) & np.isfinite(federated)
    change = (federated - local)[judged]
    group = np.flatnonzero(judged) if groups is None else groups[judged]
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
