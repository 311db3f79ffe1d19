"""What federation is worth in measurements of the partner's own, from the rows of a report."""

import math
from collections.abc import Sequence

import numpy as np

from partners.scores.label_worth import label_worth
from pipeline.report.metrics import FEWEST_ASSAYS
from pipeline.report.schema import SharedWorth, TaskRow, Worth

_DIGITS = 2  # of the shared numbers: whole percents


def worth_of(rows: Sequence[TaskRow], seed: int) -> Worth | None:
    """The estimate over the tasks with all three scores; None over fewer than five assays or without a rise."""
    scores = np.array([_scores(row) for row in rows], dtype=np.float64).reshape(-1, 3)  # None becomes NaN
    known = np.isfinite(scores.sum(axis=1))
    assays = [row.input_assay_id for row, is_known in zip(rows, known, strict=True) if is_known]
    if len(set(assays)) < FEWEST_ASSAYS:
        return None
    half, local, federated = scores[known].T
    worth = label_worth(half, local, federated, assays, np.random.default_rng(seed))
    if worth is None:
        return None
    return Worth(
        share=worth.share,
        low=worth.low,
        high=worth.high,
        n_tasks=len(assays),
        n_assays=len(set(assays)),
        half=float(half.mean()),
        local=float(local.mean()),
        federated=float(federated.mean()),
    )


def _scores(row: TaskRow) -> tuple[float | None, float | None, float | None]:
    return row.half_data, row.local.average_precision, row.federated.average_precision


def shared_worth(worth: Worth | None) -> SharedWorth | None:
    """The estimate alone, in whole percents: its tasks may be few fewer than those of other means."""
    return worth and SharedWorth(
        share=round(worth.share, _DIGITS), low=round(worth.low, _DIGITS), high=round(worth.high, _DIGITS)
    )


def worth_sentence(worth: SharedWorth | None) -> str:
    """The estimate in a sentence; "" without one."""
    if worth is None:
        return ""
    about = "about " if 0 < worth.share < 1 else ""
    more, low, high = map(shown_worth, (worth.share, worth.low, worth.high))
    return (
        f"The change is what {about}{more} more measurements of the partner's own would bring (95 % interval {low} to "
        f"{high}), if a doubling brings what the step from half of them to all brought; learning curves flatten, so "
        "rather more would be needed."
    )


def shown_worth(share: float) -> str:
    """A share of 0 to 1 in percent, above 0 as 1 % at least; 1 is the most that is estimated."""
    return "over 100 %" if share >= 1 else f"{math.ceil(100 * share) if share < 0.01 else round(100 * share)} %"  # noqa: PLR2004 -- one percent
