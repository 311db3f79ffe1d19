"""Scores of the local-only and the federated model on the test fold, a row per task."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared
from partners.baseline import Baseline
from partners.evaluation import evaluate
from partners.scores import TaskScores
from partners.state import PartnerState
from pipeline.errors import ConfigError
from pipeline.plan import Plan
from pipeline.rounds import Own
from pipeline.state import RoundStart


def task_rows(
    plan: Plan, prepared: Prepared, own: Own, *, local: Baseline, federated: RoundStart
) -> list[dict[str, Any]]:
    """Each task's facts and both models' scores; None where the test fold has too few labels to judge."""
    if federated.private is None:
        raise ConfigError("there is nothing to report: this partner was on no roster, so it has no federated heads")
    before = _scores(plan, own, local.trunk, local.state)
    after = _scores(plan, own, federated.trunk, federated.private)
    return [
        {
            "task_id": task.task_id,
            "input_assay_id": task.input_assay_id,
            "assay_type": task.assay_type,
            "threshold": task.threshold,
            "n_active": int(before.n_active[column]),
            "n_inactive": int(before.n_inactive[column]),
            "is_auxiliary": task.is_auxiliary,  # trained to help the others, never judged
            "local": _row(before, column, judged=not task.is_auxiliary),
            "federated": _row(after, column, judged=not task.is_auxiliary),
        }
        for column, task in enumerate(prepared.tasks)
    ]


def _scores(plan: Plan, own: Own, trunk: NDArray[np.float32], state: PartnerState) -> TaskScores:
    quorum = plan.preparation.activities
    found = evaluate(
        own.training_set,
        own.training_set.test_fold,
        trunk,
        state,
        plan.layout.trunk,
        plan.trunk,
        own.training,
        min_per_class=max(1, min(quorum.evaluation_min_active, quorum.evaluation_min_inactive)),
    )
    return found.tasks


def _row(scores: TaskScores, column: int, *, judged: bool) -> dict[str, float | None]:
    pair = {"average_precision": scores.average_precision[column], "roc_auc": scores.roc_auc[column]}
    return {name: float(value) if judged and math.isfinite(value) else None for name, value in pair.items()}
