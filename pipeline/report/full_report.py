"""All that report.json says, from both models of a partner and its prepared matrices."""

from functools import partial
from typing import Any

import numpy as np

from data_prep.prepared import Prepared, read_summary
from partners.models.held_out import EvaluatedModel, evaluate_model, pass_gate
from partners.network.normalisation import normalisation_of
from partners.network.state import DEVIATION, MEAN
from partners.network.trunk import trunk_digest
from partners.scores.gate import GateSettings
from partners.scores.reliability import of_probabilities, of_values
from partners.training.baseline import Baseline
from partners.training.partner_data import PartnerData
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.round_metrics import read_records
from pipeline.home.round_state import RoundStart
from pipeline.report.learning_curves import learning_curves
from pipeline.report.report import build_report
from pipeline.report.rows import is_scored
from pipeline.report.task_rows import Rows, score_tasks

_NO_HEADS = "there is nothing to report: this partner was on no roster, so it has no federated heads"


def full_report(
    mailbox: Mailbox,
    prepared: Prepared,
    own: PartnerData,
    gate: GateSettings,
    *,
    local: Baseline,
    federated: RoundStart,
) -> dict[str, Any]:
    """The report of a partner after the last round; see `pipeline.report.report` for its parts.

    Raises ConfigError for a partner without federated heads, and what scoring raises.
    """
    plan, seed = mailbox.plan, own.training.seed
    if federated.private is None:
        raise ConfigError(_NO_HEADS)
    evaluate = partial(evaluate_model, own, plan.layout.trunk, plan.trunk, plan.preparation)
    before, after = evaluate(local.trunk, local.state), evaluate(federated.trunk, federated.private)
    rows, regression_rows = score_tasks(prepared, own, local=before, federated=after)
    verdict = pass_gate(prepared, own, gate, local=before, federated=after)
    about = {
        "partner": mailbox.me,
        "federation": plan.federation.name,
        "plan": plan.digest,
        "trunk": trunk_digest(federated.vector),
        "n_rounds": plan.rounds.n_rounds,
        "local_steps": plan.rounds.local_steps,
        "gate": verdict.to_json(),
    }
    details = {
        "learning": learning_curves(read_records(mailbox.home.metrics), local.history)
        | {"n_tasks": _n_followed(own.training_set, after)},
        "calibration": {side: _calibration(rows, model) for side, model in _sides(before, after)},
        "data": read_summary(mailbox.home.prepared / str(prepared.manifest["digest"])),
    }
    if regression_rows:
        details["regression_calibration"] = {
            side: _regression_calibration(regression_rows, model, own.training_set)
            for side, model in _sides(before, after)
        }
    return build_report(about, rows, seed, regression_rows, details)


def _sides(
    before: EvaluatedModel, after: EvaluatedModel
) -> tuple[tuple[str, EvaluatedModel], tuple[str, EvaluatedModel]]:
    return ("local", before), ("federated", after)


def _n_followed(data: TrainingSet, model: EvaluatedModel) -> dict[str, int]:
    """How many tasks the means by round on the validation fold are over."""
    found = model.validation
    with_both = np.minimum(found.tasks.n_active, found.tasks.n_inactive) > 0
    measured = found.regression_tasks.n_exact > 1
    return {
        "classification": int((with_both & (data.aggregation_weight > 0)).sum()),
        "regression": int((measured & (data.regr_aggregation_weight > 0)).sum()),
    }


def _calibration(rows: Rows, model: EvaluatedModel) -> list[dict[str, float]]:
    """How often tasks' test labels are active by predicted probability, over the judged tasks."""
    seen = model.test.labels
    kept = is_scored(rows, "roc_auc")[seen.task]
    return of_probabilities(seen.task[kept], seen.active[kept], seen.probability[kept]).to_json()


def _regression_calibration(rows: Rows, model: EvaluatedModel, data: TrainingSet) -> list[dict[str, float]]:
    """Measured against predicted values, in deviations from each task's mean over the training folds."""
    seen, scale = model.test.values, normalisation_of(data, normalise=True)
    kept = is_scored(rows, "rmse")[seen.task]
    task = seen.task[kept]
    measured, predicted = (
        (values[kept] - scale[MEAN][task]) / scale[DEVIATION][task] for values in (seen.measured, seen.predicted)
    )
    return of_values(task, measured, predicted).to_json()
