"""Scores of the local-only and the federated model on the test fold, and the verdict of the validation fold."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared, RegressionTask, Task
from partners import regression_scores, scores
from partners.baseline import Baseline
from partners.evaluation import Evaluation, evaluate
from partners.gate import GateSettings, Verdict
from partners.gate import judge as verdict_of
from partners.regression_scores import TaskErrors
from partners.scores import TaskScores
from partners.state import PartnerState
from pipeline.errors import ConfigError
from pipeline.plan import Plan
from pipeline.rounds import Own
from pipeline.state import RoundStart

Rows = list[dict[str, Any]]

_NO_HEADS = "there is nothing to report: this partner was on no roster, so it has no federated heads"


def judge(plan: Plan, prepared: Prepared, own: Own, *, local: Baseline, federated: RoundStart) -> tuple[Rows, Rows]:
    """Each classification and each regression task's facts and both models' scores.

    A score is None where the test fold has too few labels or values to judge, or the task is auxiliary. No regression
    rows where the partner leaves regression out.
    """
    if federated.private is None:
        raise ConfigError(_NO_HEADS)
    fold = own.training_set.test_fold
    before = _evaluation(plan, own, fold, local.trunk, local.state)
    after = _evaluation(plan, own, fold, federated.trunk, federated.private)
    rows = [_task_row(task, before, after) for task in prepared.tasks]
    regression_tasks = prepared.regression_tasks if own.training_set.n_regressions else ()
    return rows, [_regression_row(task, before, after) for task in regression_tasks]


def pass_gate(
    plan: Plan, prepared: Prepared, own: Own, settings: GateSettings, *, local: Baseline, federated: RoundStart
) -> Verdict:
    """Say on the validation fold whether federation helped this partner; raises ConfigError as judge does."""
    if federated.private is None:
        raise ConfigError(_NO_HEADS)
    fold = own.training_set.validation_fold
    columns = [task.task_id for task in prepared.tasks if not task.is_auxiliary]
    assays = np.unique([prepared.tasks[column].input_assay_id for column in columns], return_inverse=True)[1]
    before, after = (
        _evaluation(plan, own, fold, trunk, state).tasks.average_precision[columns]
        for trunk, state in ((local.trunk, local.state), (federated.trunk, federated.private))
    )
    return verdict_of(before, after, settings, np.random.default_rng(own.training.seed), assays)


def _task_row(task: Task, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    column = task.task_id
    return {
        "task_id": task.task_id,
        "input_assay_id": task.input_assay_id,
        "assay_type": task.assay_type,
        "threshold": task.threshold,
        "n_active": int(before.tasks.n_active[column]),
        "n_inactive": int(before.tasks.n_inactive[column]),
        "is_auxiliary": task.is_auxiliary,  # trained to help the others, never judged
        "local": _scores(before.tasks, scores.METRICS, column, judged=not task.is_auxiliary),
        "federated": _scores(after.tasks, scores.METRICS, column, judged=not task.is_auxiliary),
    }


def _regression_row(task: RegressionTask, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    column = task.task_id
    return {
        "task_id": task.task_id,
        "input_assay_id": task.input_assay_id,
        "assay_type": task.assay_type,
        "n_exact": int(before.regression_tasks.n_exact[column]),
        "n_censored": int(before.regression_tasks.n_censored[column]),
        "is_auxiliary": task.is_auxiliary,
        "local": _scores(before.regression_tasks, regression_scores.METRICS, column, judged=not task.is_auxiliary),
        "federated": _scores(after.regression_tasks, regression_scores.METRICS, column, judged=not task.is_auxiliary),
    }


def _evaluation(plan: Plan, own: Own, fold: int, trunk: NDArray[np.float32], state: PartnerState) -> Evaluation:
    quorum, measured = plan.preparation.activities, plan.preparation.regression.evaluation_min_exact
    return evaluate(
        own.training_set,
        fold,
        trunk,
        state,
        plan.layout.trunk,
        plan.trunk,
        own.training,
        min_per_class=max(1, min(quorum.evaluation_min_active, quorum.evaluation_min_inactive)),
        min_measured=max(2, measured),
    )


def _scores(
    found: TaskScores | TaskErrors, metrics: Sequence[str], column: int, *, judged: bool
) -> dict[str, float | None]:
    values = {name: float(getattr(found, name)[column]) for name in metrics}
    return {name: value if judged and math.isfinite(value) else None for name, value in values.items()}
