"""Arrays and means from a report's rows: scores, changes by group of tasks, conformal efficiency and width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import interval_of_mean
from partners.scores.comparison import Groups, Scores, by_group, compare, number_groups
from pipeline.report.metrics import ERRORS, FEWEST_ASSAYS, SIDES, Side, TaskKind
from pipeline.report.parts import Sides
from pipeline.report.schema import AnyRow, DomainSummary, Efficiency, GroupChange, Width

SIZE_EDGES = (0, 50, 100, 200, 500, 1000, 5000)  # first number of labels of each bin; the last bin is open


def scores_of(rows: Sequence[AnyRow], side: Side, metric: str) -> Scores:
    """One model's scores, (n_tasks,); NaN for a task that could not be scored."""
    return _as_array([row.score(side, metric) for row in rows])


def is_scored(rows: Sequence[AnyRow], metric: str) -> NDArray[np.bool_]:
    """Whether each task has a score of both models, (n_tasks,)."""
    local, federated = (scores_of(rows, side, metric) for side in SIDES)
    return np.isfinite(local) & np.isfinite(federated)


def _as_array(values: Sequence[float | None]) -> Scores:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


# ------------------------------------------------------------------------------------------------ changes, by group


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The changes of one metric, over the tasks that both models were scored on."""

    local: Scores  # (n_scored,)
    federated: Scores  # (n_scored,)
    n_labels: NDArray[np.int64]  # (n_scored,) of the task in all folds
    assay_type: NDArray[np.str_]  # (n_scored,)
    assay: Groups  # (n_scored,) number of the task's assay
    is_error: bool  # less is better

    @property
    def change(self) -> Scores:
        """Federated minus local, (n_scored,)."""
        return self.federated - self.local

    def by_size(self) -> list[NDArray[np.int64]]:
        """Indices of the tasks in each bin of SIZE_EDGES."""
        bin_no = np.searchsorted(SIZE_EDGES, self.n_labels, side="right") - 1
        return [np.flatnonzero(bin_no == i) for i in range(len(SIZE_EDGES))]

    def by_type(self) -> dict[str, NDArray[np.int64]]:
        """Indices of the tasks of each assay type, by its name."""
        return {str(name): np.flatnonzero(self.assay_type == name) for name in np.unique(self.assay_type)}

    def of_group(self, name: str, tasks: NDArray[np.int64], seed: int) -> GroupChange:
        """Number and mean change of some tasks, at least one, with an interval if they have five assays or more."""
        total, count = by_group(self.change[tasks], self.assay[tasks])
        enough = len(total) >= FEWEST_ASSAYS
        return GroupChange(
            name=name,
            n_tasks=len(tasks),
            change=float(self.change[tasks].mean()),
            interval_95=interval_of_mean(total, count, np.random.default_rng(seed)) if enough else None,
        )


def changes(rows: Sequence[AnyRow], metric: str) -> Changes:
    """Changes of one metric from a report's rows."""
    kept = is_scored(rows, metric)
    local, federated = (scores_of(rows, side, metric)[kept] for side in SIDES)
    chosen = [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]
    return Changes(
        local,
        federated,
        n_labels=np.array([row.n_labels for row in chosen], dtype=np.int64),
        assay_type=np.array([row.assay_type for row in chosen], dtype=np.str_),
        assay=number_groups([row.input_assay_id for row in chosen]),
        is_error=metric in ERRORS,
    )


def size_label(first: int, last: int) -> str:
    """The range of labels of bins `first` to `last` of SIZE_EDGES, as a label."""
    low = SIZE_EDGES[first]
    if last + 1 == len(SIZE_EDGES):
        return f"{low:,} or more"
    high = SIZE_EDGES[last + 1]
    return f"below {high:,}" if low == 0 else f"{low:,} to {high - 1:,}"


# ---------------------------------------------------------------------------------------------- applicability domain


def domain_summary(rows: Sequence[AnyRow], kind: TaskKind, rng: np.random.Generator) -> DomainSummary | None:
    """Means, change and coverage of both models' efficiency or width, over the tasks with both; None if none has."""
    known = [row for row in rows if row.domain]
    local, federated = (_domain_measure(known, side, kind) for side in SIDES)
    compared = compare(local, federated, rng, groups=number_groups([row.input_assay_id for row in known]))
    if compared is None:
        return None
    both = np.isfinite(local) & np.isfinite(federated)
    return DomainSummary(
        measure=kind.domain_measure,
        n_tasks=int(both.sum()),
        local=compared.local,
        federated=compared.federated,
        change=compared.federated - compared.local,
        interval_95=compared.interval if compared.n_groups >= FEWEST_ASSAYS else None,
        n_assays=compared.n_groups,
        coverage=Sides[float | None](
            local=_mean(_coverage(known, "local")[both]), federated=_mean(_coverage(known, "federated")[both])
        ),
    )


def domain_by_task(rows: Sequence[AnyRow], kind: TaskKind) -> dict[Side, Scores]:
    """Efficiency or interval width of both models, (n,) each, over the tasks with both."""
    known = [row for row in rows if row.domain]
    local, federated = (_domain_measure(known, side, kind) for side in SIDES)
    both = np.isfinite(local) & np.isfinite(federated)
    return {"local": local[both], "federated": federated[both]}


def _domain(rows: Sequence[AnyRow], side: Side) -> list[Efficiency | Width]:
    return [row.domain.of(side) for row in rows if row.domain]


def _domain_measure(rows: Sequence[AnyRow], side: Side, kind: TaskKind) -> Scores:
    return _as_array([getattr(measures, kind.domain_measure) for measures in _domain(rows, side)])


def _coverage(rows: Sequence[AnyRow], side: Side) -> Scores:
    return _as_array([measures.coverage for measures in _domain(rows, side)])


def _mean(values: Scores) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None
