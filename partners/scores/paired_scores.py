"""Scores of the same tasks by the local and the federated model, compared metric by metric."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import interval_of_mean
from partners.scores.comparison import Comparison, Groups, Scores, by_group, compare, holm, number_groups


@dataclass(frozen=True, slots=True)
class MeanChange:
    """Mean change of some tasks, federated minus local."""

    change: float
    interval: tuple[float, float]  # bootstrap 95 % interval, whole groups drawn
    n_groups: int


@dataclass(frozen=True, slots=True, eq=False)
class PairedScores:
    """One metric of some tasks by both models, in the metric's units."""

    local: Scores  # (n_tasks,), NaN for a task without a score
    federated: Scores  # (n_tasks,), the same
    group: Groups  # (n_tasks,) which tasks belong together, as the thresholds of one assay do
    is_error: bool = False  # less is better

    @classmethod
    def of(
        cls,
        local: Sequence[float | None],
        federated: Sequence[float | None],
        groups: Sequence[Hashable],
        *,
        is_error: bool = False,
    ) -> Self:
        """Pair two lists of scores, (n_tasks,) each, None for a task without one; tasks with equal `groups` are one."""
        return cls(_as_array(local), _as_array(federated), number_groups(groups), is_error)

    @property
    def is_scored(self) -> NDArray[np.bool_]:
        """Whether each task has a score of both models, (n_tasks,)."""
        return np.isfinite(self.local) & np.isfinite(self.federated)

    @property
    def change(self) -> Scores:
        """Federated minus local, (n_tasks,)."""
        return self.federated - self.local

    def scored(self) -> Self:
        """The tasks that both models have a score for."""
        kept = self.is_scored
        return replace(
            self, local=self.local[kept], federated=self.federated[kept], group=number_groups(self.group[kept].tolist())
        )

    def compare(self, rng: np.random.Generator) -> Comparison | None:
        """Compare both models over the tasks with both scores; None if there is no such task."""
        return compare(self.local, self.federated, rng, is_error=self.is_error, groups=self.group)

    def mean_change(self, tasks: NDArray[np.int64], seed: int) -> MeanChange:
        """Mean change of some tasks, at least one, all scored by both models; tasks : their indices."""
        change = self.change[tasks]
        total, count = by_group(change, self.group[tasks])
        interval = interval_of_mean(total, count, np.random.default_rng(seed))
        return MeanChange(float(change.mean()), interval, len(total))


def compare_metrics(kinds: Sequence[Mapping[str, PairedScores]], seed: int) -> dict[str, Comparison | None]:
    """Compare both models in every metric, with p-values corrected for all metrics that could be tested (Holm).

    kinds : the metrics of each kind of task by name, no name twice; every kind draws its bootstrap from the seed again
    None for a metric that no task has of both models.
    """
    compared: dict[str, Comparison | None] = {}
    for metrics in kinds:
        rng = np.random.default_rng(seed)
        compared |= {metric: scores.compare(rng) for metric, scores in metrics.items()}
    tested = {metric: comparison for metric, comparison in compared.items() if comparison}
    tasks = holm({metric: comparison.p_tasks for metric, comparison in tested.items()})
    groups = holm({metric: comparison.p_groups for metric, comparison in tested.items()})
    return compared | {
        metric: replace(comparison, p_tasks_holm=tasks[metric], p_groups_holm=groups[metric])
        for metric, comparison in tested.items()
    }


def _as_array(values: Sequence[float | None]) -> Scores:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
