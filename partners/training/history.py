"""History of a local training: losses and scores of each round, and when to stop early."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from partners.training.evaluation import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundScores:
    """Loss and scores of one round; a score is None if the validation fold has none."""

    round_no: int  # counted from 1
    n_steps: int  # optimiser steps so far
    loss: float  # mean training loss over the round's steps, dropout on
    validation_loss: float | None = None
    validation_roc_auc: float | None = None  # mean over the scored tasks
    validation_average_precision: float | None = None  # the same

    @classmethod
    def of(cls, round_no: int, n_steps: int, loss: float, evaluation: Evaluation | None) -> "RoundScores":
        """Take the scores of a round from the evaluation of the validation fold; None if that fold is empty."""
        if evaluation is None:
            return cls(round_no=round_no, n_steps=n_steps, loss=loss)
        return cls(
            round_no=round_no,
            n_steps=n_steps,
            loss=loss,
            validation_loss=_finite(evaluation.loss),
            validation_roc_auc=_finite(evaluation.mean.roc_auc),
            validation_average_precision=_finite(evaluation.mean.average_precision),
        )

    @property
    def short(self) -> str:
        """Validation scores as text for a line of progress."""
        parts = [("validation loss", self.validation_loss), ("AUC-ROC", self.validation_roc_auc)]
        return ", ".join(f"{name} {value:.4f}" for name, value in parts if value is not None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def best_round(history: Sequence[RoundScores]) -> int:
    """Number of the first round with the lowest validation loss; 0 if no round has one."""
    scored = [(row.validation_loss, row.round_no) for row in history if row.validation_loss is not None]
    return min(scored)[1] if scored else 0


def should_stop(history: Sequence[RoundScores], patience: int | None) -> bool:
    """Whether the last `patience` rounds were all no better than an earlier round; False for None."""
    return patience is not None and len(history) - best_round(history) >= patience
