"""What federation is worth in measurements of the partner's own, from the rows of a report."""

from collections.abc import Sequence

import numpy as np

from partners.scores.label_worth import label_worth
from pipeline.report.metrics import FEWEST_ASSAYS
from pipeline.report.row_schema import TaskRow
from pipeline.report.schema import SharedWorth, Worth

_MOST = 100  # percent: as many measurements again, or more


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


def shared_worth(worth: SharedWorth | None) -> SharedWorth | None:
    """The estimate alone, in whole percents: its tasks may be few fewer than those of other means."""
    if worth is None:
        return None
    share, low, high = (_percents(each) / 100 for each in (worth.share, worth.low, worth.high))
    return SharedWorth(share=share, low=low, high=high)


def worth_sentence(worth: SharedWorth | None) -> str:
    """The estimate in a sentence; "" without one."""
    if worth is None:
        return ""
    more, low, high = map(shown_worth, (worth.share, worth.low, worth.high))
    over = f"; mean over {worth.n_tasks:,} tasks" if isinstance(worth, Worth) else ""
    interval = f"(95 % interval {low} to {high}{over})"
    if worth.share <= 0:
        return f"The change is worth no further measurements of the partner's own {interval}."
    about = "about " if worth.share < 1 else ""
    return (
        f"The change is what {about}{more} more measurements of the partner's own would bring {interval}, if a "
        "doubling brings what the step from half of them to all brought; learning curves flatten, so rather more would "
        "be needed."
    )


def shown_worth(share: float) -> str:
    """A share of 0 to 1 in whole percents; 1 is the most that is estimated."""
    percents = _percents(share)
    return "over 100 %" if percents == _MOST else f"{percents} %"


def _percents(share: float) -> int:
    """Whole percents, the same before and after sharing: 0 and 100 only of a share of 0 and of 1."""
    if 0 < share < 1:
        return min(max(round(100 * share), 1), _MOST - 1)
    return _MOST if share >= 1 else 0
