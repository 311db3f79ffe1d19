"""Hits among picked compounds: what a project that tests the best-ranked compounds finds with either model."""

import math
from collections.abc import Sequence

import numpy as np

from partners.scores.ranking_metrics import n_picked
from pipeline.report.disclosure import FEWEST
from pipeline.report.metrics import CLASSIFICATION, FEWEST_ASSAYS, SIDES
from pipeline.report.row_schema import TaskRow
from pipeline.report.rows import is_scored, paired_scores
from pipeline.report.schema import Picks

# by the percents of the ranked compounds that are picked (100 and 10 of 1,000 candidates): test compounds that a task
# has at least; of fewer than 100 the best-ranked one is more than 1 %
FEWEST_COMPOUNDS = {10: 1, 1: 100}
PERCENTS = tuple(FEWEST_COMPOUNDS)
_N_CANDIDATES = 1000
_SHARED_DIGITS = 2  # whole hits among 100
_BASE_RATE_DIGITS = 4  # reveals no hits; two digits would make a rare active none
_FEWEST_PICKS = 50  # of all tasks together, to be shared


def picks_of(rows: Sequence[TaskRow], seed: int) -> list[Picks]:
    """Hit rates of both models for each of PERCENTS, means over the tasks that are picked from; none without a task.

    No p-value: average precision decides whether federation helped.
    """
    return [_picks(picked, percent, seed) for percent in PERCENTS if (picked := _picked_from(rows, percent))]


def _picked_from(rows: Sequence[TaskRow], percent: int) -> list[TaskRow]:
    """The tasks with scores and enough compounds in the test fold."""
    scored = is_scored(rows, CLASSIFICATION.metrics[0])
    fewest = FEWEST_COMPOUNDS[percent]
    return [row for row, is_kept in zip(rows, scored, strict=True) if is_kept and _n_compounds(row) >= fewest]


def _n_compounds(row: TaskRow) -> int:
    """Number of the task's compounds in the test fold."""
    return row.n_active + row.n_inactive


def _picks(scored: Sequence[TaskRow], percent: int, seed: int) -> Picks:
    scores = paired_scores(scored, f"hit_rate_{percent}")
    mean = scores.mean_change(np.arange(len(scored)), seed)
    return Picks(
        percent=percent,
        n_tasks=len(scored),
        n_assays=mean.n_groups,
        at_random=float(np.mean([row.n_active / _n_compounds(row) for row in scored])),
        local=float(scores.local.mean()),
        federated=float(scores.federated.mean()),
        change=mean.change,
        interval_95=mean.interval if mean.n_groups >= FEWEST_ASSAYS else None,
    )


def shared_picks(picks: Sequence[Picks], rows: Sequence[TaskRow], n_shown: int) -> list[Picks]:
    """The larger pick over five assays or more, in whole hits of a hundred, unless it reveals small counts.

    rows    : of all tasks
    n_shown : the number of scored tasks that the summary shows
    Of few compounds a task, as 1 % are, a mean of hit rates would reveal in how many tasks the best-ranked is active.
    """
    return [
        _rounded(each, n_shown)
        for each in picks
        if each.percent == PERCENTS[0] and each.n_assays >= FEWEST and _has_large_counts(rows, each.percent)
    ]


def _has_large_counts(rows: Sequence[TaskRow], percent: int) -> bool:
    """Whether all tasks together have many picks, and each model five hits and five misses or more."""
    picked = _picked_from(rows, percent)
    n_picks = n_picked(np.array([_n_compounds(row) for row in picked], dtype=np.int64), percent)
    rates = ([row.score(side, f"hit_rate_{percent}") for row in picked] for side in SIDES)
    hits = [float(n_picks @ np.array(of_side, dtype=np.float64)) for of_side in rates]
    n_all = int(n_picks.sum())
    return n_all >= _FEWEST_PICKS and all(FEWEST <= n <= n_all - FEWEST for n in hits)


def _rounded(picks: Picks, n_tasks: int) -> Picks:
    local, federated, change = (round(value, _SHARED_DIGITS) for value in (picks.local, picks.federated, picks.change))
    low, high = (round(bound, _SHARED_DIGITS) for bound in picks.interval_95 or (0.0, 0.0))
    return Picks(
        percent=picks.percent,
        n_tasks=n_tasks,
        n_assays=picks.n_assays,
        at_random=round(picks.at_random, _BASE_RATE_DIGITS),
        local=local,
        federated=federated,
        change=change,
        interval_95=(low, high) if picks.interval_95 else None,
    )


def pooled_picks(picks: Sequence[Picks]) -> Picks | None:
    """Means over the tasks of several partners, one pick each; None without any.

    The interval takes those of the partners as normal and independent; None if one of them has none.
    """
    if not picks:
        return None
    share = [each.n_tasks / sum(other.n_tasks for other in picks) for each in picks]

    def mean(name: str) -> float:
        return sum(part * float(getattr(each, name)) for part, each in zip(share, picks, strict=True))

    halves = [(each.interval_95[1] - each.interval_95[0]) / 2 for each in picks if each.interval_95]
    reach = math.hypot(*(part * half for part, half in zip(share, halves, strict=False)))
    change = mean("change")
    return Picks(
        percent=picks[0].percent,
        n_tasks=sum(each.n_tasks for each in picks),
        n_assays=sum(each.n_assays for each in picks),
        at_random=mean("at_random"),
        local=mean("local"),
        federated=mean("federated"),
        change=change,
        interval_95=(change - reach, change + reach) if len(halves) == len(picks) else None,
    )


def picks_sentence(picks: Sequence[Picks]) -> str:
    """Hits among the best-ranked of 1,000 candidates, in a sentence or two; "" without picks."""
    if not picks:
        return ""
    first, *others = picks
    sentence = (
        f"Hits in the next {_n_picks(first)} picks, the best-ranked of {_N_CANDIDATES:,} candidates like the test "
        f"fold's compounds: {_hits(first)}; mean over {first.n_tasks:,} tasks."
    )
    return " ".join([sentence, *(_first_picks(each) for each in others)])


def _first_picks(picks: Picks) -> str:
    """Hits in a smaller pick, in a sentence."""
    tasks = f"mean over the {picks.n_tasks:,} with {FEWEST_COMPOUNDS[picks.percent]} test compounds or more"
    return f"In the first {_n_picks(picks)}: {_hits(picks)}; {tasks}."


def _n_picks(picks: Picks) -> int:
    return _N_CANDIDATES * picks.percent // 100


def _hits(picks: Picks) -> str:
    """Numbers of hits with either model and at random."""
    local, federated, at_random, change = (
        _n_picks(picks) * value for value in (picks.local, picks.federated, picks.at_random, picks.change)
    )
    shown = _tenths(change, "+")
    text = f"{_tenths(federated)} with federation, {_tenths(local)} with the strongest local models ({shown}"
    if picks.interval_95:
        low, high = (_tenths(_n_picks(picks) * bound, "+") for bound in picks.interval_95)
        text += f", 95 % interval {low} to {high}"
    return f"{text}), {_tenths(at_random)} at random"


def _tenths(number: float, sign: str = "") -> str:
    """A number with one digit behind the point, unless it is a whole one."""
    return f"{round(number, 1):{sign}g}"
