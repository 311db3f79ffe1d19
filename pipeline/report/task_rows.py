"""The rows of report.json, one for each task: its facts, and the scores of the local and the federated model."""

from data_prep.prepared import Prepared, RegressionTask, Task
from partners.models.held_out import EvaluatedModel
from partners.training.partner_data import PartnerData
from pipeline.report.parts import Sides
from pipeline.report.schema import ClassificationScores, Efficiency, RegressionRow, RegressionScores, TaskRow, Width


def task_rows(
    prepared: Prepared, own: PartnerData, *, local: EvaluatedModel, federated: EvaluatedModel
) -> tuple[list[TaskRow], list[RegressionRow]]:
    """Make the rows of the classification tasks and of the regression tasks.

    A score is None if the test fold has too few labels or values, or the task is auxiliary. There are no regression
    rows if the partner leaves regression out.
    """
    rows = [_task_row(task, local, federated) for task in prepared.tasks]
    regression_tasks = prepared.regression_tasks if own.training_set.n_regressions else ()
    return rows, [_regression_row(task, local, federated) for task in regression_tasks]


def _task_row(task: Task, local: EvaluatedModel, federated: EvaluatedModel) -> TaskRow:
    column, is_scored = task.task_id, not task.is_auxiliary
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
        local=ClassificationScores(**_scores(before.of_task(column), shown=is_scored)),
        federated=ClassificationScores(**_scores(after.of_task(column), shown=is_scored)),
        domain=domain if is_scored else None,
    )


def _regression_row(task: RegressionTask, local: EvaluatedModel, federated: EvaluatedModel) -> RegressionRow:
    column, is_scored = task.task_id, not task.is_auxiliary
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
        local=RegressionScores(**_scores(before.of_task(column), shown=is_scored)),
        federated=RegressionScores(**_scores(after.of_task(column), shown=is_scored)),
        domain=domain if is_scored else None,
    )


def _scores(scores: dict[str, float | None], *, shown: bool) -> dict[str, float | None]:
    return scores if shown else dict.fromkeys(scores)
