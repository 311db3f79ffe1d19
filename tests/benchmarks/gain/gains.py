"""Means, gains and intervals from the scores of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.scores.gate import GateResult, GateSettings, decide_gate
from tests.benchmarks.gain.partners import Partner
from tests.benchmarks.gain.scores import Scores

OF_REGRESSIONS = ("r2", "spearman", "pearson", "mae")  # metrics; all others are of classification tasks
_N_RESAMPLES = 2000


LABEL_EDGES = (0, 50, 100, 200, 400)  # first number of own training labels of each group; the last is open
MOST_HOLDERS = 2  # other partners that measure a target, at most told apart


@dataclass(frozen=True)
class Group:
    """Mean gain over some tasks, with its 95 % interval over targets."""

    name: str
    gain: float
    interval: tuple[float, float]
    n_tasks: int


@dataclass(frozen=True)
class Gain:
    """Mean over tasks of an arm minus *local*, and its 95 % interval over targets."""

    mean: float  # of the arm itself
    gain: float
    interval: tuple[float, float]
    n_tasks: int
    by_partner: dict[str, tuple[float, float, float]]  # gain and interval


def gain(
    arm: Sequence[Scores], local: Sequence[Scores], partners: Mapping[str, Partner], fold: str, metric: str, least: int
) -> Gain:
    """Compare runs, one for each seed, over the tasks with at least `least` labels of both classes in the fold.

    A regression task is scored with twice as many exact values; one whose metric is not defined is left out.
    """
    changes, targets, owners, values = [], [], [], []
    for name, partner in partners.items():
        if arm[0].of(name, fold, metric) is None or local[0].of(name, fold, metric) is None:
            continue
        known = partner.regressions if metric in OF_REGRESSIONS else partner.classes
        after, before = _mean(arm, name, fold, metric), _mean(local, name, fold, metric)
        enough = _has_enough(local, name, fold, metric, least)
        rows = np.flatnonzero(known.is_scored & enough & np.isfinite(after) & np.isfinite(before))
        changes.append(after[rows] - before[rows])
        values.append(after[rows])
        targets += [known.targets[row] for row in rows]
        owners += [name] * rows.size
    change, owner, target = np.concatenate(changes), np.array(owners), np.array(targets)
    low, high = interval(change, target)
    by_partner = {
        str(name): (float(change[owner == name].mean()), *interval(change[owner == name], target[owner == name]))
        for name in dict.fromkeys(owners)
    }
    return Gain(float(np.concatenate(values).mean()), float(change.mean()), (low, high), change.size, by_partner)


def gains_by_group(
    arm: Sequence[Scores], local: Sequence[Scores], partners: Mapping[str, Partner], fold: str, least: int
) -> list[Group]:
    """Gains in average precision by own training labels, and by the number of others that measure the target."""
    changes, targets, n_labels, n_others = [], [], [], []
    for name, partner in partners.items():
        others = [set(other.classes.targets) for key, other in partners.items() if key != name]
        after, before = (_mean(runs, name, fold, "average_precision") for runs in (arm, local))
        enough = _has_enough(local, name, fold, "average_precision", least)
        data = partner.training_set
        labels = np.bincount(data.y[data.training_rows].indices, minlength=data.n_tasks)
        for task in np.flatnonzero(partner.classes.is_scored & enough & np.isfinite(after) & np.isfinite(before)):
            target = partner.classes.targets[task]
            changes.append(after[task] - before[task])
            targets.append(target)
            n_labels.append(labels[task])
            n_others.append(min(MOST_HOLDERS, sum(target in other for other in others)))
    label_group = np.searchsorted(LABEL_EDGES, n_labels, side="right") - 1
    names = [*(f"{edge}+ own labels" for edge in LABEL_EDGES), *(f"{n} others" for n in range(MOST_HOLDERS)), "more"]
    groups = [label_group == i for i in range(len(LABEL_EDGES))]
    groups += [np.array(n_others) == n for n in range(MOST_HOLDERS + 1)]
    change, target = np.array(changes), np.array(targets)
    return [
        Group(name, float(change[rows].mean()), interval(change[rows], target[rows]), int(rows.sum()))
        for name, rows in zip(names, groups, strict=True)
        if rows.any()
    ]


def gates(
    arm: Sequence[Scores], local: Sequence[Scores], partners: Mapping[str, Partner]
) -> dict[str, list[GateResult]]:
    """Result of each partner's gate on its validation fold, seed by seed."""
    results: dict[str, list[GateResult]] = {}
    for name, partner in partners.items():
        for seed, (after, before) in enumerate(zip(arm, local, strict=True)):
            federated, alone = (run.of(name, "validation", "average_precision") for run in (after, before))
            if federated is None or alone is None:
                continue
            rows = np.flatnonzero(partner.classes.is_scored)
            _, groups = np.unique(
                np.array(partner.classes.targets)[rows], return_inverse=True
            )  # an assay has one target
            rng = np.random.default_rng(seed)
            result = decide_gate(alone[rows], federated[rows], GateSettings(keep="better"), rng, groups)
            results.setdefault(name, []).append(result)
    return results


def gated(arm: Sequence[Scores], local: Sequence[Scores], partners: Mapping[str, Partner]) -> list[Scores]:
    """Scores of what each partner's gate keeps, by its validation fold alone."""
    results = gates(arm, local, partners)
    kept = []
    for seed, sides in enumerate(zip(arm, local, strict=True)):
        side_of = {name: sides[of_seed[seed].kept == "local"] for name, of_seed in results.items()}
        tasks = {
            key: values
            for name, side in side_of.items()
            for key, values in side.tasks.items()
            if key.startswith(f"{name}/")
        }
        kept.append(Scores(tasks, facts=sides[0].facts))
    return kept


def interval(change: NDArray[np.float64], target: NDArray[np.str_]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean change; targets are drawn, each with all its tasks."""
    _, group = np.unique(target, return_inverse=True)
    n_groups = int(group.max()) + 1
    total, count = np.bincount(group, weights=change), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, n_groups, (_N_RESAMPLES, n_groups))
    low, high = np.percentile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _has_enough(local: Sequence[Scores], name: str, fold: str, metric: str, least: int) -> NDArray[np.bool_]:
    if metric in OF_REGRESSIONS:
        return _mean(local, name, fold, "n_exact") >= 2 * max(1, least)
    counts = np.minimum(*(_mean(local, name, fold, count) for count in ("n_active", "n_inactive")))
    return counts >= max(1, least)


def _mean(runs: Sequence[Scores], name: str, fold: str, metric: str) -> NDArray[np.float64]:
    """Mean over seeds, by task."""
    found = [values for run in runs if (values := run.of(name, fold, metric)) is not None]
    return np.mean(found, axis=0)
