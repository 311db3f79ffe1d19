"""The report in one sentence."""

from collections.abc import Mapping
from typing import Any, Literal

from pipeline.report.metrics import FEWEST_ASSAYS, LONG

Outcome = Literal["better", "worse", "undecided", "unjudged"]

_CHANCE = 0.05
_WORDS = {
    "better": "Federation helped {who}",
    "worse": "Federation harmed {who}",
    "undecided": "Federation made no difference to {who} that can be told from chance",
}


def _n_assays(found: Mapping[str, Any] | None) -> int:
    return int(found["n_assays"]) if found else 0


def give_verdict(summary: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Outcome and sentence from the comparison of average precision, or of R² where too few assays have the former.

    summary : the report's `summary`
    Better or worse where the whole 95 % interval of the mean change lies above or below zero, and the test over assays,
    corrected for the number of metrics, agrees at 5 %: over very few assays the interval alone is too sure.
    """
    metric, part = "average_precision", summary
    of_values: Mapping[str, Any] = summary.get("regression") or {"r2": None}
    if _n_assays(summary[metric]) < FEWEST_ASSAYS <= _n_assays(of_values["r2"]):
        metric, part = "r2", of_values
    found = part[metric]
    if (n_assays := _n_assays(found)) < FEWEST_ASSAYS:
        sentence = f"Whether federation helped {who} cannot be said: fewer than {FEWEST_ASSAYS} assays could be judged."
        return {"metric": metric, "outcome": "unjudged", "sentence": sentence}
    low, high = found["interval_95"]
    is_sure = found["p_assays_holm"] < _CHANCE
    outcome: Outcome = "better" if is_sure and low > 0 else "worse" if is_sure and high < 0 else "undecided"
    sentence = (
        f"{_WORDS[outcome].format(who=who)}: mean {LONG[metric]} on the test fold went from {found['local']:.3f} to "
        f"{found['federated']:.3f}, a change of {found['change']:+.3f} (95 % interval {low:+.3f} to {high:+.3f}) "
        f"over {part['n_judged']:,} tasks of {n_assays:,} assays."
    )
    return {"metric": metric, "outcome": outcome, "sentence": sentence}
