"""The change of groups of tasks: by number of labels and by type of assay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import interval_of_mean
from partners.scores.comparison import Groups, by_group, numbered
from pipeline.report.metrics import ERRORS, FEWEST_ASSAYS, SIDES
from pipeline.report.rows import is_scored, scores_of

SIZE_EDGES = (0, 50, 100, 200, 500, 1000, 5000)  # labels of a task, where each bin begins; the last is open

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """One metric's change over the tasks that both models were judged on."""

    local: Floats  # (n_judged,)
    federated: Floats  # (n_judged,)
    n_labels: NDArray[np.int64]  # (n_judged,) of the task in all folds
    assay_type: NDArray[np.str_]  # (n_judged,)
    assay: Groups  # (n_judged,) which tasks are of one assay
    is_error: bool  # less is better

    @property
    def change(self) -> Floats:
        """Federated minus local, (n_judged,)."""
        return self.federated - self.local

    def by_size(self) -> list[NDArray[np.int64]]:
        """Which tasks are in each bin of SIZE_EDGES."""
        bin_no = np.searchsorted(SIZE_EDGES, self.n_labels, side="right") - 1
        return [np.flatnonzero(bin_no == i) for i in range(len(SIZE_EDGES))]

    def by_type(self) -> dict[str, NDArray[np.int64]]:
        """Which tasks are of each assay type, by name."""
        return {str(name): np.flatnonzero(self.assay_type == name) for name in np.unique(self.assay_type)}

    def mean_of(self, tasks: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Number, mean change and its bootstrap 95 % interval, None over fewer than five assays; some tasks."""
        total, count = by_group(self.change[tasks], self.assay[tasks])
        enough = len(total) >= FEWEST_ASSAYS
        return {
            "n_tasks": len(tasks),
            "change": float(self.change[tasks].mean()),
            "interval_95": list(interval_of_mean(total, count, np.random.default_rng(seed))) if enough else None,
        }


def changes(rows: Sequence[Mapping[str, Any]], metric: str) -> Changes:
    """Changes of one metric from a report's rows."""
    kept = is_scored(rows, metric)
    local, federated = (scores_of(rows, side, metric)[kept] for side in SIDES)
    chosen = [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]
    return Changes(
        local,
        federated,
        n_labels=np.array([row["n_labels"] for row in chosen], dtype=np.int64),
        assay_type=np.array([row["assay_type"] for row in chosen], dtype=np.str_),
        assay=numbered([row["input_assay_id"] for row in chosen]),
        is_error=metric in ERRORS,
    )


def size_label(first: int, last: int) -> str:
    """Bins `first` to `last` of SIZE_EDGES in words."""
    low = SIZE_EDGES[first]
    if last + 1 == len(SIZE_EDGES):
        return f"{low:,} or more"
    high = SIZE_EDGES[last + 1]
    return f"below {high:,}" if low == 0 else f"{low:,} to {high - 1:,}"
