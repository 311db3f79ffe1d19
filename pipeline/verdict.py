"""The report in one sentence."""

from collections.abc import Mapping
from typing import Any, Literal

from pipeline.report_format import FEWEST_ASSAYS, LONG

Outcome = Literal["better", "worse", "undecided", "unjudged"]

_WORDS = {
    "better": "Federation helped {who}",
    "worse": "Federation harmed {who}",
    "undecided": "Federation made no difference to {who} that can be told from chance",
}


def give_verdict(summary: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Outcome and sentence from the comparison of average precision, or of R² where only regression was judged.

    summary : the report's `summary`; counts in it may be hidden
    Better or worse where the whole 95 % interval of the mean change lies above or below zero.
    """
    metric, part = "average_precision", summary
    regression = summary.get("regression")
    if summary[metric] is None and regression and regression["r2"] is not None:
        metric, part = "r2", regression
    found = part[metric]
    n_assays = found["n_assays"] if found else 0
    if not isinstance(n_assays, int) or n_assays < FEWEST_ASSAYS:
        sentence = f"Whether federation helped {who} cannot be said: fewer than {FEWEST_ASSAYS} assays could be judged."
        return {"metric": metric, "outcome": "unjudged", "sentence": sentence}
    low, high = found["interval_95"]
    outcome: Outcome = "better" if low > 0 else "worse" if high < 0 else "undecided"
    sentence = (
        f"{_WORDS[outcome].format(who=who)}: mean {LONG[metric]} on the test fold went from {found['local']:.3f} to "
        f"{found['federated']:.3f}, a change of {found['change']:+.3f} (95 % interval {low:+.3f} to {high:+.3f}) "
        f"over {part['n_judged']:,} tasks of {n_assays:,} assays."
    )
    return {"metric": metric, "outcome": outcome, "sentence": sentence}
