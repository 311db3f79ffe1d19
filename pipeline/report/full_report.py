"""Build a partner's report from both its models, its prepared matrices and the records of its rounds.

Not in `report.report`, because scoring models needs torch and reading a report must not.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from data_prep.prepared import Prepared, read_summary
from partners.files.round_checkpoint import RoundStart
from partners.models.held_out import (
    EvaluatedModel,
    evaluate_model,
    pass_gate,
    probability_calibration,
    value_calibration,
)
from partners.scores import reliability
from partners.scores.gate import GateSettings
from partners.training.baseline import Baseline
from partners.training.history import RoundScores
from partners.training.partner_data import PartnerData
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.round_metrics import RoundRecord, read_records
from pipeline.report.metrics import CLASSIFICATION, REGRESSION
from pipeline.report.report import build_report
from pipeline.report.rows import is_scored
from pipeline.report.schema import (
    Curve,
    Facts,
    FollowedTasks,
    Gate,
    Learning,
    PreparationCounts,
    ReliabilityCurves,
    ReliabilityPoint,
    Report,
)
from pipeline.report.task_rows import task_rows

_NO_HEADS = "there is nothing to report: this partner was on no roster and has no federated heads"


def full_report(
    mailbox: Mailbox,
    prepared: Prepared,
    own: PartnerData,
    gate: GateSettings,
    *,
    local: Baseline,
    federated: RoundStart,
) -> Report:
    """The report of a partner after the last round.

    Raises ConfigError for a partner without federated heads, and what scoring raises.
    """
    plan, seed = mailbox.plan, own.training.seed
    if federated.private is None:
        raise ConfigError(_NO_HEADS)
    evaluate = partial(evaluate_model, own, plan.layout.trunk, plan.trunk, plan.preparation)
    before, after = evaluate(local.trunk, local.state), evaluate(federated.trunk, federated.private)
    rows, regression_rows = task_rows(prepared, own, local=before, federated=after)
    gate_result = pass_gate(prepared, own, gate, local=before, federated=after)
    facts = Facts(
        partner=mailbox.me,
        federation=plan.federation.name,
        plan=plan.digest,
        trunk=federated.digest,
        n_rounds=plan.rounds.n_rounds,
        local_steps=plan.rounds.local_steps,
        gate=Gate.model_validate(gate_result.to_json()),
        seed=seed,
    )

    def of_both(curve: Callable[[EvaluatedModel], reliability.Reliability]) -> ReliabilityCurves:
        return ReliabilityCurves(local=_points(curve(before)), federated=_points(curve(after)))

    return build_report(
        facts,
        rows,
        regression_rows,
        learning=learning_curves(
            read_records(mailbox.home.metrics), local.history, _n_followed(own.training_set, after)
        ),
        calibration=of_both(lambda model: probability_calibration(model, is_scored(rows, "roc_auc"))),
        data=_preparation(mailbox, prepared),
        regression_calibration=of_both(
            lambda model: value_calibration(model, is_scored(regression_rows, "rmse"), own.training_set)
        )
        if regression_rows
        else None,
    )


def _points(curve: reliability.Reliability) -> list[ReliabilityPoint]:
    return [ReliabilityPoint.model_validate(point) for point in curve.to_json()]


def _preparation(mailbox: Mailbox, prepared: Prepared) -> PreparationCounts:
    summary = read_summary(mailbox.home.prepared / str(prepared.manifest["digest"]))
    return PreparationCounts.model_validate(summary)


def learning_curves(records: Sequence[RoundRecord], history: Sequence[RoundScores], n_tasks: FollowedTasks) -> Learning:
    """Scores on the validation fold by round, of the federated model and, if they were kept, the local one.

    records : of this partner's rounds; history : of the local model
    Rounds without a score, because the fold had too few labels or the partner no heads, are left out.
    """
    curves: dict[str, Curve] = {}
    for name in (*CLASSIFICATION.curves, *REGRESSION.curves):
        key = f"validation_{name}"
        federated = [
            (record.step, record.metrics[key]) for record in records if record.step > 0 and key in record.metrics
        ]
        scores = [(row.round_no, getattr(row, key, None)) for row in history]
        local = [(round_no, score) for round_no, score in scores if score is not None]
        if federated or local:
            curves[name] = Curve(local=local, federated=federated)
    return Learning(**curves, n_tasks=n_tasks)


def _n_followed(data: TrainingSet, model: EvaluatedModel) -> FollowedTasks:
    """Number of tasks in the means by round on the validation fold."""
    scores = model.validation
    with_both = np.minimum(scores.tasks.n_active, scores.tasks.n_inactive) > 0
    measured = scores.regression_tasks.n_exact > 1
    return FollowedTasks(
        classification=int((with_both & (data.aggregation_weight > 0)).sum()),
        regression=int((measured & (data.regr_aggregation_weight > 0)).sum()),
    )
