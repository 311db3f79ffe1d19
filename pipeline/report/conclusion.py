"""The conclusion of a report: whether federation helped, in one sentence, and the second result in another."""

from pipeline.report.metrics import CLASSIFICATION, FEWEST_ASSAYS, LONG, REGRESSION
from pipeline.report.numbers import count, p_equals, percent
from pipeline.report.schema import (
    ByDate,
    ColumnFacts,
    ComparisonOverTasks,
    Comparisons,
    Conclusion,
    Interval,
    Outcome,
    PrivacyBound,
    PrivacyFacts,
    RegressionComparisons,
    Report,
)
from pipeline.report.shareable_schema import SharedComparisons

_CHANCE = 0.05
_WORDS = {
    "better": "Federation helped {who}",
    "worse": "Federation harmed {who}",
    "undecided": "It is not certain whether federation helped {who}",
}


def draw_conclusion(summary: Comparisons, who: str, *, tells_p: bool = True) -> Conclusion:
    """Outcome, deciding p and sentence, from average precision, or from R² if too few assays have the former.

    summary : of the take-home models with the strongest local ones
    tells_p : whether the p may be told

    p is that of the test over assays, corrected for the number of metrics. Below 0.05 it decides, in the direction of
    the mean change, unless zero is inside the 95 % interval of that: the test is of ranks, the interval of the mean.
    """
    regression = summary.regression
    if regression and _n_assays(summary.average_precision) < FEWEST_ASSAYS <= _n_assays(regression.r2):
        return _conclusion("r2", regression.r2, regression, who, tells_p=tells_p)
    return _conclusion("average_precision", summary.average_precision, summary, who, tells_p=tells_p)


def _n_assays(comparison: ComparisonOverTasks | None) -> int:
    return comparison.n_assays if comparison else 0


def _conclusion(
    metric: str,
    comparison: ComparisonOverTasks | None,
    comparisons: Comparisons | RegressionComparisons,
    who: str,
    *,
    tells_p: bool,
) -> Conclusion:
    if comparison is None or comparison.n_assays < FEWEST_ASSAYS:
        too_few = f"fewer than {FEWEST_ASSAYS} assays have scores"
        sentence = f"Too little data to conclude whether federation helped {who}: {too_few}."
        return Conclusion(metric=metric, outcome="unjudged", p=None, sentence=sentence)
    (low, high), p = comparison.interval_95, comparison.p_assays_holm
    is_sure = p < _CHANCE
    outcome: Outcome = "better" if is_sure and low > 0 else "worse" if is_sure and high < 0 else "undecided"
    told = f"p {p_equals(p)}" if tells_p else "p is not shared"
    if tells_p and outcome == "undecided" and is_sure == (low <= 0 <= high):
        told += f", although zero is {'inside' if is_sure else 'outside'} the interval"
    sentence = (
        f"{_WORDS[outcome].format(who=who)} ({told}): mean {LONG[metric]} on the test fold went from "
        f"{comparison.local:.3f} with the strongest local models to {comparison.federated:.3f} with federation, "
        f"{of_change(comparison.change, comparison.interval_95)} "
        f"over {comparisons.n_judged:,} tasks of {comparison.n_assays:,} assays."
    )
    return Conclusion(metric=metric, outcome=outcome, p=p if tells_p else None, sentence=sentence)


def gate_sentences(report: Report) -> str:
    """The gate's result, and why it may differ from the conclusion."""
    gate = report.gate.sentence
    return (
        f"{gate[0].upper()}{gate[1:]}. The gate chooses the models on the validation fold, the conclusion above is of "
        "the test fold: other compounds, and partly other tasks, so the two changes may differ by chance."
    )


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


def columns_sentence(columns: ColumnFacts | None) -> str:
    """What this partner's updates revealed of its fingerprint bits; "" if all input columns are shared."""
    if columns is None:
        return ""
    return (
        f"{count(columns.n_shared)} of {count(columns.n_columns)} input columns were shared, and this partner's "
        f"updates changed {count(columns.n_sent)} of them. {count(columns.n_private)} that its compounds set stayed "
        f"here: {percent(columns.private_compounds, 0)} of its training compounds set one of these."
    )


def dates_sentence(by_date: ByDate | None) -> str:
    """How both models do on the newest compounds, and what that measures; "" without a column of days."""
    if by_date is None:
        return ""
    n_newest = count(by_date.newest.n_compounds)
    begin = f"Test compounds first measured after {by_date.cutoff}, the newest quarter ({n_newest})"
    newest, older = by_date.newest.roc_auc, by_date.older.roc_auc
    if newest is None or older is None:
        return f"{begin}: no task has five actives and five inactives among them and among the older ones."
    change = (
        of_change(newest.change, newest.interval_95) if newest.n_assays >= FEWEST_ASSAYS else f"{newest.change:+.3f}"
    )
    return (
        f"{begin}, {count(by_date.n_tasks)} tasks: AUC-ROC local {newest.local:.3f}, federated {newest.federated:.3f}, "
        f"{change}; the older ones, same tasks: local {older.local:.3f}, federated {older.federated:.3f}. Models were "
        "trained on other scaffolds of all dates, so this is no forecast."
    )


def privacy_sentence(privacy: PrivacyBound | None) -> str:
    """What all updates of a partner reveal at most about one of its compounds; "" without differential privacy."""
    if privacy is None:
        return ""
    spent = f" (spent: {privacy.spent:g})" if isinstance(privacy, PrivacyFacts) else ""
    return (
        f"Differential privacy: all updates together keep epsilon {privacy.epsilon:g} at delta {privacy.delta:g} for "
        f"each compound with all its labels{spent}. Not covered: which tasks and thresholds there are, counts, others' "
        "copies of a compound, scores, and models taken home."
    )


def of_change(change: float, interval: Interval) -> str:
    """A change of a mean with its interval, in words."""
    low, high = interval
    return f"a change of {change:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


def _is_few(n_assays: object) -> bool:
    return not isinstance(n_assays, int) or n_assays < FEWEST_ASSAYS
