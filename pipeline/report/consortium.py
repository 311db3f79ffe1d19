"""The consortium's report, merged from its partners' shareable summaries. Needs neither torch nor rdkit."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pipeline.errors import MixedFederations
from pipeline.report.conclusion import of_change
from pipeline.report.metrics import CLASSIFICATION, ERRORS, FORMAT, REGRESSION, TaskKind
from pipeline.report.numbers import p_equals
from pipeline.report.parts import ReportPart
from pipeline.report.schema import Interval, Outcome
from pipeline.report.shareable_schema import ShareableSummary, SharedComparison, SharedComparisons

_SAME = ("federation", "plan", "trunk", "n_rounds", "local_steps")


class Pooled(ReportPart):
    """One metric over the tasks of all partners that share it."""

    n_partners: int
    n_tasks: int
    local: float | None
    federated: float | None
    change: float | None
    riptop: float  # of all tasks together
    interval_95: Interval | None


class ConsortiumConclusion(ReportPart):
    """Which partners federation helped, in one sentence or two."""

    outcome: Outcome
    sentence: str


class Consortium(ReportPart):
    """consortium.json: the partners' summaries, and means over all of them."""

    kind: Literal["hocket consortium"] = "hocket consortium"
    format: Literal[5] = FORMAT
    federation: str
    plan: str
    trunk: str
    n_rounds: int
    local_steps: int
    last_round: str  # date, UTC, the latest of the partners'
    pooled: dict[str, Pooled | None]  # by metric: take-home models over the strongest local ones
    network: dict[str, Pooled | None]  # by metric: the same network with federation over that without
    verdict: ConsortiumConclusion
    partners: list[ShareableSummary]


def check_same(files: Sequence[Path], summaries: Sequence[ShareableSummary]) -> None:
    """Raise MixedFederations if plan or model of the summaries differ, or two are of one partner."""
    for path, summary in zip(files, summaries, strict=True):
        for key in _SAME:
            found, expected = getattr(summary, key), getattr(summaries[0], key)
            if found != expected:
                raise MixedFederations(f"{path}: {key} is {found!r}, expected {expected!r} as in {files[0]}")
    names = [summary.partner for summary in summaries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MixedFederations(f"two summaries are of {twice[0]}, expected one for each partner")


def merge(summaries: Sequence[ShareableSummary]) -> Consortium:
    """Merge summaries, with partners sorted by name: the order of the summaries does not matter."""
    partners = sorted(summaries, key=lambda summary: summary.partner)
    first = partners[0]
    pooled = _pool([summary.summary for summary in partners])
    return Consortium(
        federation=first.federation,
        plan=first.plan,
        trunk=first.trunk,
        n_rounds=first.n_rounds,
        local_steps=first.local_steps,
        last_round=max(summary.last_round for summary in partners),
        pooled=pooled,
        network=_pool([summary.network for summary in partners]),
        verdict=_conclusion(partners, pooled["average_precision"]),
        partners=partners,
    )


def comparison_of(summary: SharedComparisons, kind: TaskKind, metric: str) -> SharedComparison | None:
    """A partner's comparison by one metric; None if it shares none."""
    comparisons = summary.of(kind)
    return comparisons.comparison(metric) if comparisons else None


def pooled_network_sentence(merged: Consortium) -> str:
    """The second result in a sentence: the same network with federation over that without; "" if it is not shared."""
    pooled = merged.network["average_precision"]
    if pooled is None or pooled.change is None or pooled.interval_95 is None:
        return ""
    found = of_change(pooled.change, pooled.interval_95)
    return f"Over the same network without federation: {found} over {pooled.n_tasks:,} tasks."


def _pool(summaries: Sequence[SharedComparisons]) -> dict[str, Pooled | None]:
    """Pooled comparisons by metric; those of regression if a partner has it."""
    has_regression = any(summary.regression for summary in summaries)
    kinds = (CLASSIFICATION, REGRESSION) if has_regression else (CLASSIFICATION,)
    comparisons = {
        metric: [comparison_of(summary, kind, metric) for summary in summaries]
        for kind in kinds
        for metric in kind.metrics
    }
    return {
        metric: _pooled([each for each in of_partners if each], has_mean=metric not in ERRORS)
        for metric, of_partners in comparisons.items()
    }


def _pooled(comparisons: Sequence[SharedComparison], *, has_mean: bool) -> Pooled | None:
    """Mean over the tasks scored by one metric of all partners; intervals are taken as normal and independent.

    has_mean : whether scores of different partners can be averaged; errors cannot, for they are in the units of each
               assay, which differ between partners: only RIPtoP, a share, has a mean
    """
    if not comparisons:
        return None
    n_scored = [each.n_judged for each in comparisons]
    n_tasks = sum(n_scored)

    def mean(values: Sequence[float]) -> float:
        return sum(n * value for n, value in zip(n_scored, values, strict=True)) / n_tasks

    change = mean([each.change for each in comparisons])
    intervals = [each.interval_95 for each in comparisons if each.interval_95]
    interval = None
    if has_mean and len(intervals) == len(comparisons):
        reach = math.hypot(
            *(n / n_tasks * ((high - low) / 2) for n, (low, high) in zip(n_scored, intervals, strict=True))
        )
        interval = (change - reach, change + reach)
    return Pooled(
        n_partners=len(comparisons),
        n_tasks=n_tasks,
        local=mean([each.local for each in comparisons]) if has_mean else None,
        federated=mean([each.federated for each in comparisons]) if has_mean else None,
        change=change if has_mean else None,
        riptop=_pooled_riptop(comparisons, n_scored, has_mean=has_mean),
        interval_95=interval,
    )


def _pooled_riptop(comparisons: Sequence[SharedComparison], n_scored: Sequence[int], *, has_mean: bool) -> float:
    """RIPtoP of all partners' tasks together; a partner weighs by what its tasks lacked, for errors by their number."""
    weight = [n * (1 - each.local) if has_mean else n for n, each in zip(n_scored, comparisons, strict=True)]
    if not sum(weight):  # all tasks of all partners were perfect
        weight = list(n_scored)
    return sum(w * each.riptop for w, each in zip(weight, comparisons, strict=True)) / sum(weight)


def _conclusion(partners: Sequence[ShareableSummary], pooled: Pooled | None) -> ConsortiumConclusion:
    """The change over all tasks, then which partners federation helped or harmed, by their own conclusions."""
    words: Mapping[Outcome, str] = {
        "better": "Federation helped {}",
        "worse": "Federation harmed {}",
        "undecided": "It is not certain whether federation helped {}",
        "unjudged": "Too little data to conclude for {}",
    }
    of_outcome = {outcome: [each for each in partners if each.verdict.outcome == outcome] for outcome in words}
    sentences = [
        f"{words[outcome].format(_listed([_with_p(each) for each in named]))}."
        for outcome, named in of_outcome.items()
        if named
    ]
    if pooled and pooled.change is not None and pooled.interval_95:
        sentences.insert(
            0,
            f"Over the {pooled.n_tasks:,} tasks in the partners' summaries, mean average precision on the test folds "
            f"shows {of_change(pooled.change, pooled.interval_95)} against the strongest local models.",
        )
    by_weight: tuple[Outcome, ...] = ("worse", "better", "undecided")  # harm to one partner must stay visible
    outcome: Outcome = next((each for each in by_weight if of_outcome[each]), "unjudged")
    return ConsortiumConclusion(outcome=outcome, sentence=" ".join(sentences))


def _with_p(partner: ShareableSummary) -> str:
    p = partner.verdict.p
    return partner.partner if p is None else f"{partner.partner} (p {p_equals(p)})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
