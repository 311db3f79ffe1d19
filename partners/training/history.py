"""What a local-only training saw after each round, and when it has seen enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from partners.training.evaluation import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundScores:
    """One round; a score is None where the validation fold cannot be judged."""

    round_no: int  # counted from 1
    n_steps: int  # optimiser steps so far
    loss: float  # mean training loss over the round's steps, dropout on
    validation_loss: float | None = None
    validation_roc_auc: float | None = None  # mean over the judged tasks
    validation_average_precision: float | None = None  # the same

    @classmethod
    def of(cls, round_no: int, n_steps: int, loss: float, found: Evaluation | None) -> "RoundScores":
        """Scores of a round; `found` on the validation fold, None where nobody is in it."""
        if found is None:
            return cls(round_no=round_no, n_steps=n_steps, loss=loss)
        return cls(
            round_no=round_no,
            n_steps=n_steps,
            loss=loss,
            validation_loss=_finite(found.loss),
            validation_roc_auc=_finite(found.mean.roc_auc),
            validation_average_precision=_finite(found.mean.average_precision),
        )

    @property
    def short(self) -> str:
        """For a line of progress."""
        parts = [("validation loss", self.validation_loss), ("AUC-ROC", self.validation_roc_auc)]
        return ", ".join(f"{name} {value:.4f}" for name, value in parts if value is not None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def best_round(history: Sequence[RoundScores]) -> int:
    """Number of the first round with the lowest validation loss; 0 where none was judged."""
    judged = [(row.validation_loss, row.round_no) for row in history if row.validation_loss is not None]
    return min(judged)[1] if judged else 0


def is_enough(history: Sequence[RoundScores], patience: int | None) -> bool:
    """Whether the last `patience` rounds were all no better than one before; never for None."""
    return patience is not None and len(history) - best_round(history) >= patience
