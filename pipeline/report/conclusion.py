"""The conclusion of a report: whether federation helped, in one sentence, and the second result in another."""

from pipeline.report.metrics import CLASSIFICATION, FEWEST_ASSAYS, LONG, REGRESSION
from pipeline.report.schema import (
    ComparisonOverTasks,
    Comparisons,
    Conclusion,
    Interval,
    Outcome,
    RegressionComparisons,
)
from pipeline.report.shareable_schema import SharedComparisons

_CHANCE = 0.05
_WORDS = {
    "better": "Federation helped {who}",
    "worse": "Federation harmed {who}",
    "undecided": "Federation made no significant difference to {who}",
}


def draw_conclusion(summary: Comparisons, who: str) -> Conclusion:
    """Outcome and sentence from the comparison of average precision, or of R² if too few assays have the former.

    summary : of the take-home models with the strongest local ones

    Better or worse if the whole 95 % interval of the mean change is above or below zero, and the test over assays,
    corrected for the number of metrics, agrees at 5 %: over very few assays the interval alone is too narrow.
    """
    regression = summary.regression
    if regression and _n_assays(summary.average_precision) < FEWEST_ASSAYS <= _n_assays(regression.r2):
        return _conclusion("r2", regression.r2, regression, who)
    return _conclusion("average_precision", summary.average_precision, summary, who)


def _n_assays(comparison: ComparisonOverTasks | None) -> int:
    return comparison.n_assays if comparison else 0


def _conclusion(
    metric: str, comparison: ComparisonOverTasks | None, comparisons: Comparisons | RegressionComparisons, who: str
) -> Conclusion:
    if comparison is None or comparison.n_assays < FEWEST_ASSAYS:
        too_few = f"fewer than {FEWEST_ASSAYS} assays have scores"
        sentence = f"Too little data to conclude whether federation helped {who}: {too_few}."
        return Conclusion(metric=metric, outcome="unjudged", sentence=sentence)
    low, high = comparison.interval_95
    is_sure = comparison.p_assays_holm < _CHANCE
    outcome: Outcome = "better" if is_sure and low > 0 else "worse" if is_sure and high < 0 else "undecided"
    sentence = (
        f"{_WORDS[outcome].format(who=who)}: mean {LONG[metric]} on the test fold went from {comparison.local:.3f} "
        f"with the strongest local models to {comparison.federated:.3f} with federation, "
        f"{of_change(comparison.change, comparison.interval_95)} "
        f"over {comparisons.n_judged:,} tasks of {comparison.n_assays:,} assays."
    )
    return Conclusion(metric=metric, outcome=outcome, sentence=sentence)


def network_sentence(metric: str, summary: Comparisons | SharedComparisons) -> str:
    """The second result in a sentence: the same network with federation over that without; "" without an interval.

    metric  : of the conclusion
    summary : of the network without and with federation
    """
    of_kind = summary.of(REGRESSION if metric in REGRESSION.metrics else CLASSIFICATION)
    comparison = of_kind.comparison(metric) if of_kind else None
    if comparison is None or comparison.interval_95 is None or _is_few(comparison.n_assays):
        return ""
    return (
        f"Over the same network without federation: from {comparison.local:.3f} to {comparison.federated:.3f}, "
        f"{of_change(comparison.change, comparison.interval_95)}."
    )


def of_change(change: float, interval: Interval) -> str:
    """A change of a mean with its interval, in words."""
    low, high = interval
    return f"a change of {change:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


def _is_few(n_assays: object) -> bool:
    return not isinstance(n_assays, int) or n_assays < FEWEST_ASSAYS
