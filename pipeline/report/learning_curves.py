"""Scores on the validation fold after each round, from the records of the rounds and the baseline's history."""

from collections.abc import Sequence
from typing import Any

from partners.training.history import RoundScores
from pipeline.home.round_metrics import RoundRecord
from pipeline.report.metrics import CURVES, REGRESSION_CURVES


def learning_curves(records: Sequence[RoundRecord], history: Sequence[RoundScores]) -> dict[str, Any]:
    """For each score that was recorded, [round, value] pairs of the federated and, where kept, the local model.

    A round whose validation fold could not be judged, or in which this partner had no heads, is left out.
    """
    found: dict[str, Any] = {}
    for name in (*CURVES, *REGRESSION_CURVES):
        key = f"validation_{name}"
        federated = [[r.step, r.metrics[key]] for r in records if r.step > 0 and key in r.metrics]
        kept = [(row.round_no, getattr(row, key, None)) for row in history]
        local = [[round_no, value] for round_no, value in kept if value is not None]
        if federated or local:
            found[name] = {"local": local, "federated": federated}
    return found
