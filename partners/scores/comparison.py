"""Comparison of local and federated model: statistics over tasks, from scores by task."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partners.scores.bootstrap import interval_of_mean

Scores = npt.NDArray[np.float64]  # (n_tasks,), NaN for a task without a score
Groups = npt.NDArray[np.int64]  # (n_tasks,) which tasks belong together, numbered from 0

_PERFECT = 1e-12  # an error up to this is rounding
_TRIED = 13  # most changes for which every combination of signs is tried


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric over the tasks that both models have a score for."""

    local: float  # mean
    federated: float  # mean
    local_median: float
    federated_median: float
    median_change: float  # median of the changes, not change of the medians
    interval: tuple[float, float]  # bootstrap 95 % interval of the mean change, whole groups drawn
    n_better: int
    n_worse: int
    n_equal: int
    n_groups: int
    riptop: float  # relative improvement of proximity to perfection, of all tasks together: see `total_riptop`
    median_riptop: float  # median over tasks of each one's own
    p_tasks: float  # two-sided Wilcoxon signed-rank test of the tasks' changes
    p_groups: float  # the same of the groups' mean changes: tasks of one assay are not independent
    p_tasks_holm: float  # p_tasks corrected for all metrics tested together; of a metric tested alone the same
    p_groups_holm: float

    def to_json(self) -> dict[str, Any]:
        """Values under their names in report.json."""
        return {
            "local": self.local,
            "federated": self.federated,
            "change": self.federated - self.local,
            "interval_95": list(self.interval),
            "local_median": self.local_median,
            "federated_median": self.federated_median,
            "median_change": self.median_change,
            "n_judged": self.n_better + self.n_worse + self.n_equal,
            "n_better": self.n_better,
            "n_worse": self.n_worse,
            "n_equal": self.n_equal,
            "n_assays": self.n_groups,
            "riptop": self.riptop,
            "median_riptop": self.median_riptop,
            "p_tasks": self.p_tasks,
            "p_assays": self.p_groups,
            "p_tasks_holm": self.p_tasks_holm,
            "p_assays_holm": self.p_groups_holm,
        }


def compare(
    local: Scores,
    federated: Scores,
    rng: np.random.Generator,
    *,
    is_error: bool = False,
    groups: Groups | None = None,
) -> Comparison | None:
    """Compare two models over the tasks with two finite scores; None if there is no such task.

    is_error : less is better and 0 is perfect; else more is better and 1 is perfect
    groups   : which tasks belong together, as the thresholds of one assay do: their scores rise and fall together, so
               the bootstrap draws whole groups. None: every task is its own group
    """
    is_scored = np.isfinite(local) & np.isfinite(federated)
    if not is_scored.any():
        return None
    group = np.flatnonzero(is_scored) if groups is None else groups[is_scored]
    local, federated = local[is_scored], federated[is_scored]
    change = federated - local
    gain = -change if is_error else change
    total, count = by_group(change, group)
    p_tasks, p_groups = paired_test(change), paired_test(total / count)
    return Comparison(
        local=float(local.mean()),
        federated=float(federated.mean()),
        local_median=float(np.median(local)),
        federated_median=float(np.median(federated)),
        median_change=float(np.median(change)),
        interval=interval_of_mean(total, count, rng),
        n_better=int((gain > 0).sum()),
        n_worse=int((gain < 0).sum()),
        n_equal=int((gain == 0).sum()),
        n_groups=len(total),
        riptop=total_riptop(local, federated, is_error=is_error),
        median_riptop=float(np.median(riptop(local, federated, is_error=is_error))),
        p_tasks=p_tasks,
        p_groups=p_groups,
        p_tasks_holm=p_tasks,
        p_groups_holm=p_groups,
    )


def number_groups(keys: Sequence[Hashable]) -> Groups:
    """Number the keys by their first appearance, so that tasks of one key are one group, (n_tasks,)."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def by_group(change: Scores, group: Groups) -> tuple[Scores, Scores]:
    """Sum of the changes and number of the tasks of each group, (n_groups,) both, groups by first appearance."""
    number = number_groups(group.tolist())
    return np.bincount(number, weights=change).astype(np.float64), np.bincount(number).astype(np.float64)


def paired_test(change: Scores) -> float:
    """P of the two-sided Wilcoxon signed-rank test that changes are symmetric about zero; 1 if nothing changed.

    change : (n,) finite. Zeros are left out (Wilcoxon), so that without any change there is nothing to test. For up to
             13 changes all their signs are tried, in a hundredth of the time that scipy takes if some are equal.
    """
    moved = change[change != 0]
    if not moved.size:
        return 1.0
    from scipy.stats import rankdata, wilcoxon  # noqa: PLC0415 -- most of a second, for reports alone

    if moved.size > _TRIED:
        return float(wilcoxon(moved).pvalue)
    rank = rankdata(np.abs(moved))
    signs = (np.arange(2**moved.size)[:, None] >> np.arange(moved.size)) & 1
    sums, observed = signs @ rank, rank[moved > 0].sum()
    return min(1.0, 2 * float(min((sums <= observed).mean(), (sums >= observed).mean())))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """P by name, corrected for several tests (Holm 1979), which bounds the chance of any false alarm.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none becomes smaller than the
    one before it, none larger than 1.
    """
    corrected: dict[str, float] = {}
    highest = 0.0
    for rank, (name, value) in enumerate(sorted(p.items(), key=lambda item: (item[1], item[0]))):
        highest = max(highest, min(1.0, value * (len(p) - rank)))
        corrected[name] = highest
    return {name: corrected[name] for name in p}


def riptop(local: Scores, federated: Scores, *, is_error: bool = False) -> Scores:
    """Relative improvement of proximity to perfection, (federated - local) / (perfect - local), by task.

    Perfect is 1, of an error 0. Both perfect gives 0; only local perfect gives the plain difference, below zero as any
    loss (Heyndrickx et al. 2023, MELLODDY).
    """
    room = np.where(local > _PERFECT, local, 0.0) if is_error else 1.0 - local
    gain = local - federated if is_error else federated - local
    return np.where(room > 0, gain / np.where(room > 0, room, 1.0), gain)


def total_riptop(local: Scores, federated: Scores, *, is_error: bool = False) -> float:
    """Relative improvement of all tasks together: the sum of their gains over the sum of what each lacked before.

    local, federated : (n_tasks,) finite, at least one
    A mean of the tasks' own ratios has no lower bound: one task that was nearly perfect before outweighs all others.
    Errors have the units of their assays and cannot be added up: for them it is the mean of the tasks' own ratios,
    whose denominators are errors of local models, and hardly near zero.
    """
    room = float((1.0 - local).sum())
    if is_error or room <= _PERFECT:
        return float(riptop(local, federated, is_error=is_error).mean())
    return float((federated - local).sum()) / room
