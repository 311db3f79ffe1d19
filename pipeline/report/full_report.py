"""Build a partner's report from its scored models, its prepared matrices and the records of its rounds.

Not in `report.report`, because scoring models needs torch and reading a report must not.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from data_prep.prepared import Prepared, read_summary
from partners.models import by_date as dates
from partners.models.by_date import scores_by_date
from partners.models.compared import ComparedModels
from partners.models.held_out import (
    EvaluatedModel,
    pass_gate,
    probability_calibration,
    value_calibration,
)
from partners.scores import reliability
from partners.scores.gate import GateSettings
from partners.scores.paired_scores import compare_metrics
from partners.training.history import RoundScores
from partners.training.partner_data import PartnerData
from partners.training_data.column_flags import compounds_by_column, share_that_sets
from partners.training_data.training_set import TrainingSet
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.round_metrics import RoundRecord, read_records
from pipeline.plan.plan import Plan
from pipeline.report.metrics import CLASSIFICATION, REGRESSION
from pipeline.report.report import build_report, over_tasks
from pipeline.report.rows import is_scored
from pipeline.report.schema import (
    ByDate,
    ColumnFacts,
    Curve,
    DatedPart,
    Facts,
    FollowedTasks,
    Gate,
    Learning,
    PreparationCounts,
    PrivacyFacts,
    ReliabilityCurves,
    ReliabilityPoint,
    Report,
)
from pipeline.report.task_rows import task_rows


def full_report(
    mailbox: Mailbox,
    prepared: Prepared,
    own: PartnerData,
    gate: GateSettings,
    models: ComparedModels,
    *,
    trunk: str,
    history: Sequence[RoundScores],
    spent_epsilon: float | None = None,
) -> Report:
    """The report of a partner after the last round.

    trunk   : digest of the federated trunk
    history : of the network without federation, round by round
    spent_epsilon : of all rounds; None without differential privacy
    """
    plan, strongest, take_home = mailbox.plan, models.strongest, models.take_home
    rows, regression_rows = task_rows(prepared, own, models)
    records = read_records(mailbox.home.metrics)
    gate_result = pass_gate(prepared, own, gate, local=strongest, federated=take_home)
    facts = Facts(
        partner=mailbox.me,
        federation=plan.federation.name,
        plan=plan.digest,
        trunk=trunk,
        n_rounds=plan.rounds.n_rounds,
        local_steps=plan.rounds.local_steps,
        last_round=_date(records[-1]),
        gate=Gate.model_validate(gate_result.to_json()),
        seed=own.training.seed,
    )

    def of_both(curve: Callable[[EvaluatedModel], reliability.Reliability]) -> ReliabilityCurves:
        return ReliabilityCurves(local=_points(curve(strongest)), federated=_points(curve(take_home)))

    return build_report(
        facts,
        rows,
        regression_rows,
        learning=learning_curves(records, history, _n_followed(own.training_set, models.network_federated)),
        calibration=of_both(lambda model: probability_calibration(model, is_scored(rows, "roc_auc"))),
        data=_preparation(mailbox, prepared),
        regression_calibration=of_both(
            lambda model: value_calibration(model, is_scored(regression_rows, "rmse"), own.training_set)
        )
        if regression_rows
        else None,
        columns=column_facts(own),
        by_date=_by_date(scores_by_date(prepared, own.training_set, strongest, take_home), own.training.seed),
        privacy=_privacy(plan, spent_epsilon),
    )


def _by_date(dated: dates.ByDate | None, seed: int) -> ByDate | None:
    if dated is None:
        return None

    def part(of: dates.DatedPart) -> DatedPart:
        compared = compare_metrics([{"average_precision": of.average_precision, "roc_auc": of.roc_auc}], seed)
        return DatedPart(
            n_compounds=of.n_compounds,
            n_labels=of.n_labels,
            active_share=of.active_share if np.isfinite(of.active_share) else None,
            **{metric: over_tasks(comparison) if comparison else None for metric, comparison in compared.items()},
        )

    return ByDate(
        cutoff=dated.cutoff,
        n_undated=dated.n_undated,
        n_tasks=dated.n_tasks,
        older=part(dated.older),
        newest=part(dated.newest),
    )


def _privacy(plan: Plan, spent: float | None) -> PrivacyFacts | None:
    if plan.privacy is None or spent is None:
        return None
    return PrivacyFacts(epsilon=plan.privacy.epsilon, delta=plan.privacy.delta, spent=spent)


def column_facts(own: PartnerData) -> ColumnFacts | None:
    """Which input columns were shared and which stayed at this partner; None if they are not counted."""
    columns, data = own.columns, own.training_set
    if columns.shared is None:
        return None
    own_and_set = np.intersect1d(columns.own, np.flatnonzero(compounds_by_column(data)))
    return ColumnFacts(
        n_columns=data.n_inputs,
        n_shared=columns.shared.size,
        n_sent=np.intersect1d(columns.shared, columns.flagged).size,
        n_private=own_and_set.size,
        private_compounds=share_that_sets(data, own_and_set),
    )


def _date(record: RoundRecord) -> str:
    return datetime.fromtimestamp(record.at, UTC).date().isoformat()


def _points(curve: reliability.Reliability) -> list[ReliabilityPoint]:
    return [ReliabilityPoint.model_validate(point) for point in curve.to_json()]


def _preparation(mailbox: Mailbox, prepared: Prepared) -> PreparationCounts:
    summary = read_summary(mailbox.home.prepared / str(prepared.manifest["digest"]))
    return PreparationCounts.model_validate({key: summary[key] for key in PreparationCounts.model_fields})


def learning_curves(records: Sequence[RoundRecord], history: Sequence[RoundScores], n_tasks: FollowedTasks) -> Learning:
    """Scores on the validation fold by round, of the network with federation and, if they were kept, without it.

    records : of this partner's rounds; history : of the network without federation
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
