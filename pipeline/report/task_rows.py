"""The rows of report.json, one for each task: its facts, its models and their scores."""

import math

from data_prep.prepared import Prepared, RegressionTask, Task
from partners.models.compared import ComparedModels
from partners.models.held_out import EvaluatedModel
from partners.training.partner_data import PartnerData
from pipeline.report.parts import Sides
from pipeline.report.row_schema import ClassificationScores, Efficiency, RegressionRow, RegressionScores, TaskRow, Width


def task_rows(
    prepared: Prepared, own: PartnerData, models: ComparedModels
) -> tuple[list[TaskRow], list[RegressionRow]]:
    """Make the rows of the classification tasks and of the regression tasks.

    A score is None if the test fold has too few labels or values, or the task is auxiliary. There are no regression
    rows if the partner leaves regression out.
    """
    rows = [_task_row(task, models) for task in prepared.tasks]
    regression_tasks = prepared.regression_tasks if own.training_set.n_regressions else ()
    return rows, [_regression_row(task, models) for task in regression_tasks]


def _task_row(task: Task, models: ComparedModels) -> TaskRow:
    column, is_scored = task.task_id, not task.is_auxiliary
    chosen, before, after = models.tasks[column], models.strongest, models.take_home
    half_data = float(models.half_data[column])
    domain = Sides[Efficiency](
        local=Efficiency(**before.domain.of_task(column)), federated=Efficiency(**after.domain.of_task(column))
    )

    def scores(model: EvaluatedModel) -> ClassificationScores:
        return ClassificationScores(**_shown(model.test.tasks.of_task(column), is_scored=is_scored))

    return TaskRow(
        task_id=task.task_id,
        input_assay_id=task.input_assay_id,
        assay_type=task.assay_type,
        threshold=task.threshold,
        n_labels=task.n_active + task.n_inactive,
        n_active=int(before.test.tasks.n_active[column]),
        n_inactive=int(before.test.tasks.n_inactive[column]),
        is_auxiliary=task.is_auxiliary,
        strongest=chosen.strongest,
        kept=chosen.kept,
        reason=chosen.reason,
        local=scores(before),
        federated=scores(after),
        half_data=half_data if is_scored and math.isfinite(half_data) else None,
        network=Sides[ClassificationScores](
            local=scores(models.network_local), federated=scores(models.network_federated)
        ),
        domain=domain if is_scored else None,
    )


def _regression_row(task: RegressionTask, models: ComparedModels) -> RegressionRow:
    column, is_scored = task.task_id, not task.is_auxiliary
    chosen, before, after = models.regression_tasks[column], models.strongest, models.take_home
    domain = Sides[Width](
        local=Width(**before.domain.of_regression(column)), federated=Width(**after.domain.of_regression(column))
    )

    def scores(model: EvaluatedModel) -> RegressionScores:
        return RegressionScores(**_shown(model.test.regression_tasks.of_task(column), is_scored=is_scored))

    return RegressionRow(
        task_id=task.task_id,
        input_assay_id=task.input_assay_id,
        assay_type=task.assay_type,
        n_labels=task.n_values,
        n_exact=int(before.test.regression_tasks.n_exact[column]),
        n_censored=int(before.test.regression_tasks.n_censored[column]),
        is_auxiliary=task.is_auxiliary,
        strongest=chosen.strongest,
        kept=chosen.kept,
        reason=chosen.reason,
        local=scores(before),
        federated=scores(after),
        network=Sides[RegressionScores](local=scores(models.network_local), federated=scores(models.network_federated)),
        domain=domain if is_scored else None,
    )


def _shown(scores: dict[str, float | None], *, is_scored: bool) -> dict[str, float | None]:
    return scores if is_scored else dict.fromkeys(scores)
