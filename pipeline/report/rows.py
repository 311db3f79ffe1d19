"""Arrays and means from a report's rows: scores, changes by group of tasks, conformal efficiency and width."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.scores.paired_scores import PairedScores
from pipeline.report.metrics import ERRORS, FEWEST_ASSAYS, SIDES, Side, TaskKind
from pipeline.report.parts import Sides
from pipeline.report.row_schema import AnyRow, Efficiency, Width
from pipeline.report.schema import DomainSummary, GroupChange

SIZE_EDGES = (0, 50, 100, 200, 500, 1000, 5000)  # first number of labels of each bin; the last bin is open


def paired_scores(rows: Sequence[AnyRow], metric: str) -> PairedScores:
    """Both models' scores in one metric, (n_tasks,) each, the tasks of one assay as a group."""
    local, federated = ([row.score(side, metric) for row in rows] for side in SIDES)
    return PairedScores.of(local, federated, _assays(rows), is_error=metric in ERRORS)


def network_scores(rows: Sequence[AnyRow], metric: str) -> PairedScores:
    """Scores in one metric of the network without and with federation, (n_tasks,) each, an assay's tasks as a group."""
    local, federated = ([row.network_score(side, metric) for row in rows] for side in SIDES)
    return PairedScores.of(local, federated, _assays(rows), is_error=metric in ERRORS)


def is_scored(rows: Sequence[AnyRow], metric: str) -> NDArray[np.bool_]:
    """Whether each task has a score of both models, (n_tasks,)."""
    return paired_scores(rows, metric).is_scored


def _assays(rows: Sequence[AnyRow]) -> list[str]:
    return [row.input_assay_id for row in rows]


# ------------------------------------------------------------------------------------------------ changes, by group


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The changes of one metric, over the tasks that both models were scored on."""

    scores: PairedScores  # (n_scored,)
    n_labels: NDArray[np.int64]  # (n_scored,) of the task in all folds
    assay_type: NDArray[np.str_]  # (n_scored,)

    @property
    def local(self) -> NDArray[np.float64]:
        """Scores of the local model, (n_scored,)."""
        return self.scores.local

    @property
    def federated(self) -> NDArray[np.float64]:
        """Scores of the federated model, (n_scored,)."""
        return self.scores.federated

    @property
    def change(self) -> NDArray[np.float64]:
        """Federated minus local, (n_scored,)."""
        return self.scores.change

    def by_size(self) -> list[NDArray[np.int64]]:
        """Indices of the tasks in each bin of SIZE_EDGES."""
        bin_no = np.searchsorted(SIZE_EDGES, self.n_labels, side="right") - 1
        return [np.flatnonzero(bin_no == i) for i in range(len(SIZE_EDGES))]

    def by_type(self) -> dict[str, NDArray[np.int64]]:
        """Indices of the tasks of each assay type, by its name."""
        return {str(name): np.flatnonzero(self.assay_type == name) for name in np.unique(self.assay_type)}

    def of_group(self, name: str, tasks: NDArray[np.int64], seed: int) -> GroupChange:
        """Number and mean change of some tasks, at least one, with an interval if they have five assays or more."""
        mean = self.scores.mean_change(tasks, seed)
        return GroupChange(
            name=name,
            n_tasks=len(tasks),
            change=mean.change,
            interval_95=mean.interval if mean.n_groups >= FEWEST_ASSAYS else None,
        )


def changes(rows: Sequence[AnyRow], metric: str) -> Changes:
    """Changes of one metric from a report's rows."""
    scores = paired_scores(rows, metric)
    chosen = [row for row, is_kept in zip(rows, scores.is_scored, strict=True) if is_kept]
    return Changes(
        scores.scored(),
        n_labels=np.array([row.n_labels for row in chosen], dtype=np.int64),
        assay_type=np.array([row.assay_type for row in chosen], dtype=np.str_),
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
    measures = _domain_measures(rows, kind)
    compared = measures.compare(rng)
    if compared is None:
        return None
    both = measures.is_scored
    return DomainSummary(
        measure=kind.domain_measure,
        n_tasks=int(both.sum()),
        local=compared.local,
        federated=compared.federated,
        change=compared.federated - compared.local,
        interval_95=compared.interval if compared.n_groups >= FEWEST_ASSAYS else None,
        n_assays=compared.n_groups,
        coverage=Sides[float | None](
            local=_mean_coverage(rows, "local", both), federated=_mean_coverage(rows, "federated", both)
        ),
    )


def domain_by_task(rows: Sequence[AnyRow], kind: TaskKind) -> dict[Side, NDArray[np.float64]]:
    """Efficiency or interval width of both models, (n,) each, over the tasks with both."""
    both = _domain_measures(rows, kind).scored()
    return {"local": both.local, "federated": both.federated}


def _domain(rows: Sequence[AnyRow], side: Side) -> list[Efficiency | Width]:
    return [row.domain.of(side) for row in rows if row.domain]


def _domain_measures(rows: Sequence[AnyRow], kind: TaskKind) -> PairedScores:
    """Efficiency or width, (n_known,), of the tasks whose domain is known."""
    local, federated = ([getattr(measures, kind.domain_measure) for measures in _domain(rows, side)] for side in SIDES)
    return PairedScores.of(local, federated, _assays([row for row in rows if row.domain]))


def _mean_coverage(rows: Sequence[AnyRow], side: Side, both: NDArray[np.bool_]) -> float | None:
    """Mean over the tasks with both models' efficiency or width; both : (n_known,)."""
    coverage = [measures.coverage for measures, kept in zip(_domain(rows, side), both, strict=True) if kept]
    known = np.array([value for value in coverage if value is not None], dtype=np.float64)
    return float(known.mean()) if known.size else None
