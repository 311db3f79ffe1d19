"""Scores of the local-only and the federated model on the test fold, and the verdict of the validation fold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import Prepared, RegressionTask, Task
from partners.models.applicability import Domain, domain_of
from partners.network.state import PartnerState
from partners.scores import regression_scores, scores
from partners.scores.gate import GateResult, GateSettings
from partners.scores.gate import decide_gate as verdict_of
from partners.scores.regression_scores import TaskErrors
from partners.scores.scores import TaskScores
from partners.training.evaluation import Evaluation, evaluate
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.plan.plan import Plan
from pipeline.protocol.partner_rounds import PartnerData
from pipeline.report.parts import Sides
from pipeline.report.schema import ClassificationScores, Efficiency, RegressionRow, RegressionScores, TaskRow, Width

_NO_HEADS = "there is nothing to report: this partner was on no roster, so it has no federated heads"


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What was measured active or inactive on a fold, and what the model said."""

    task: NDArray[np.int64]  # (n_labels,)
    active: NDArray[np.bool_]  # (n_labels,)
    probability: NDArray[np.float64]  # (n_labels,) of being active


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Exact values measured on a fold, and what the model said."""

    task: NDArray[np.int64]  # (n_values,)
    measured: NDArray[np.float64]  # (n_values,) units of the assay
    predicted: NDArray[np.float64]  # (n_values,) the same


@dataclass(frozen=True, slots=True, eq=False)
class FoldScores:
    """One model on one fold; of its predictions only those at measurements are kept."""

    tasks: TaskScores
    regression_tasks: TaskErrors
    labels: Labels
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """One model on both folds that it was not trained on."""

    test: FoldScores
    validation: FoldScores
    domain: Domain


def evaluate_model(
    plan: Plan, own: PartnerData, trunk: NDArray[np.float32], state: PartnerState | None
) -> EvaluatedModel:
    """Scores and predictions of a trunk with its heads.

    Raises ConfigError without heads, and what `evaluate` raises: BadFolds where a fold has no labelled compound.
    """
    if state is None:
        raise ConfigError(_NO_HEADS)
    data = own.training_set
    test, validation = (_evaluation(plan, own, fold, trunk, state) for fold in (data.test_fold, data.validation_fold))
    return EvaluatedModel(_seen(data, test), _seen(data, validation), domain_of(data, validation, test))


def score_tasks(
    prepared: Prepared, own: PartnerData, *, local: EvaluatedModel, federated: EvaluatedModel
) -> tuple[list[TaskRow], list[RegressionRow]]:
    """Each classification and each regression task's facts and both models' scores.

    A score is None where the test fold has too few labels or values to judge, or the task is auxiliary. No regression
    rows where the partner leaves regression out.
    """
    rows = [_task_row(task, local, federated) for task in prepared.tasks]
    regression_tasks = prepared.regression_tasks if own.training_set.n_regressions else ()
    return rows, [_regression_row(task, local, federated) for task in regression_tasks]


def pass_gate(
    prepared: Prepared, own: PartnerData, settings: GateSettings, *, local: EvaluatedModel, federated: EvaluatedModel
) -> GateResult:
    """Say on the validation fold whether federation helped this partner."""
    columns = [task.task_id for task in prepared.tasks if not task.is_auxiliary]
    assays = np.unique([prepared.tasks[column].input_assay_id for column in columns], return_inverse=True)[1]
    before, after = (model.validation.tasks.average_precision[columns] for model in (local, federated))
    return verdict_of(before, after, settings, np.random.default_rng(own.training.seed), assays)


def _seen(data: TrainingSet, found: Evaluation) -> FoldScores:
    labels, values = data.y[found.rows].tocoo(), data.y_regr[found.rows].tocoo()
    exact = data.y_censor[found.rows].data == 0
    row, column = values.row[exact], values.col[exact]
    return FoldScores(
        found.tasks,
        found.regression_tasks,
        Labels(
            labels.col.astype(np.int64),
            labels.data > 0,
            found.probabilities[labels.row, labels.col].astype(np.float64),
        ),
        Values(
            column.astype(np.int64),
            values.data[exact].astype(np.float64),
            found.values[row, column].astype(np.float64),
        ),
    )


def _task_row(task: Task, local: EvaluatedModel, federated: EvaluatedModel) -> TaskRow:
    column, is_judged = task.task_id, not task.is_auxiliary
    before, after = local.test.tasks, federated.test.tasks
    domain = Sides[Efficiency](
        local=Efficiency(**local.domain.of_task(column)), federated=Efficiency(**federated.domain.of_task(column))
    )
    return TaskRow(
        task_id=task.task_id,
        input_assay_id=task.input_assay_id,
        assay_type=task.assay_type,
        threshold=task.threshold,
        n_labels=task.n_active + task.n_inactive,
        n_active=int(before.n_active[column]),
        n_inactive=int(before.n_inactive[column]),
        is_auxiliary=task.is_auxiliary,
        local=ClassificationScores(**_scores(before, scores.METRICS, column, judged=is_judged)),
        federated=ClassificationScores(**_scores(after, scores.METRICS, column, judged=is_judged)),
        domain=domain if is_judged else None,
    )


def _regression_row(task: RegressionTask, local: EvaluatedModel, federated: EvaluatedModel) -> RegressionRow:
    column, is_judged = task.task_id, not task.is_auxiliary
    before, after = local.test.regression_tasks, federated.test.regression_tasks
    domain = Sides[Width](
        local=Width(**local.domain.of_regression(column)), federated=Width(**federated.domain.of_regression(column))
    )
    return RegressionRow(
        task_id=task.task_id,
        input_assay_id=task.input_assay_id,
        assay_type=task.assay_type,
        n_labels=task.n_values,
        n_exact=int(before.n_exact[column]),
        n_censored=int(before.n_censored[column]),
        is_auxiliary=task.is_auxiliary,
        local=RegressionScores(**_scores(before, regression_scores.METRICS, column, judged=is_judged)),
        federated=RegressionScores(**_scores(after, regression_scores.METRICS, column, judged=is_judged)),
        domain=domain if is_judged else None,
    )


def _evaluation(plan: Plan, own: PartnerData, fold: int, trunk: NDArray[np.float32], state: PartnerState) -> Evaluation:
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
