"""Local only against federated: numbers over tasks, from scores by task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]  # (n_tasks,), NaN where a task cannot be judged

_N_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric over the tasks that both models can be judged on."""

    local: float  # mean
    federated: float  # mean
    interval: tuple[float, float]  # bootstrap 95 % interval of the mean change, over tasks
    n_better: int
    n_worse: int
    n_equal: int
    riptop: float  # mean relative improvement of proximity to perfection

    def to_json(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return {
            "local": self.local,
            "federated": self.federated,
            "change": self.federated - self.local,
            "interval_95": list(self.interval),
            "n_better": self.n_better,
            "n_worse": self.n_worse,
            "n_equal": self.n_equal,
            "riptop": self.riptop,
        }


def compare(local: Scores, federated: Scores, rng: np.random.Generator, *, is_error: bool = False) -> Comparison | None:
    """Compare two models over the tasks where both scores are finite; None where there is no such task.

    is_error : less is better and 0 is perfect; else more is better and 1 is perfect
    """
    judged = np.isfinite(local) & np.isfinite(federated)
    if not judged.any():
        return None
    local, federated = local[judged], federated[judged]
    change = federated - local
    resampled = change[rng.integers(0, len(change), (_N_RESAMPLES, len(change)))].mean(axis=1)
    gain = -change if is_error else change
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Comparison(
        local=float(local.mean()),
        federated=float(federated.mean()),
        interval=(float(low), float(high)),
        n_better=int((gain > 0).sum()),
        n_worse=int((gain < 0).sum()),
        n_equal=int((gain == 0).sum()),
        riptop=float((riptop(1 - local, 1 - federated) if is_error else riptop(local, federated)).mean()),
    )


def riptop(local: Scores, federated: Scores) -> Scores:
    """Relative improvement of proximity to perfection, (federated - local) / (1 - local), by task.

    Both perfect gives 0; only local perfect gives the plain difference (Heyndrickx et al. 2023, MELLODDY).
    """
    room = 1.0 - local
    change = federated - local
    return np.where(room > 0, change / np.where(room > 0, room, 1.0), change)
