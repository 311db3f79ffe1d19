"""Log a partner's report: metrics, the run of its local models, the card of the registered model."""

from hashlib import sha256
from typing import TYPE_CHECKING

from pipeline.model.description import Description
from pipeline.report.schema import Report
from pipeline.tracking import descriptions as words
from pipeline.tracking.local_run import last_metrics, log_metrics, sync_local_run
from pipeline.tracking.mlflow_model import describe_version, registered_version
from pipeline.tracking.model_card import CARD_FILE, model_card
from pipeline.tracking.parameters import log_params
from pipeline.tracking.report_metrics import audit, conclusion, gate, kinds, report_in, scores_on_test_fold
from pipeline.tracking.tracker import TrackedMember

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def log_report(member: TrackedMember, client: "MlflowClient", run: "Run", digest: str, *, is_new: bool) -> None:
    """Log the report's numbers, unless the runs have them, and describe the registered model.

    digest : of the report
    is_new : whether the partner's run lacks this report
    """
    report = report_in(member.home)
    if report and is_new:
        _log_conclusions(member, client, run, report)
    if report:
        sync_local_run(member, client, run, report, digest)
    if member.home.model.exists():
        _describe_model(member, client, run, report)


def _describe_model(member: TrackedMember, client: "MlflowClient", run: "Run", report: Report | None) -> None:
    run_id, card = run.info.run_id, model_card(member.home.model, report)
    version = registered_version(client, Description.read(member.home.model), run_id)
    if version is None:
        return
    describe_version(client, version, card.short)
    digest = sha256(card.whole.encode()).hexdigest()
    if run.data.tags.get(words.CARD) != digest:
        client.log_text(run_id, card.whole, CARD_FILE)
        client.set_tag(run_id, words.CARD, digest)


def _log_conclusions(member: TrackedMember, client: "MlflowClient", run: "Run", report: Report) -> None:
    run_id = run.info.run_id
    metrics = scores_on_test_fold(report, "federated") | conclusion(report) | gate(report) | audit(report)
    log_metrics(client, run_id, last_metrics(member, metrics))
    log_params(client, run_id, kinds(report, "federated"), run.data.params)
    client.set_tag(run_id, words.CONCLUSION_TAG, report.verdict.sentence)
    client.set_tag(run_id, words.GATE_TAG, report.gate.sentence)
