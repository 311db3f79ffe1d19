"""The run of a partner's strongest local models, next to its own run in the same experiment, so that charts compare."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.home.round_metrics import read_records
from pipeline.report.schema import Report
from pipeline.tracking import descriptions as words
from pipeline.tracking.parameters import log_params, settings
from pipeline.tracking.report_metrics import kinds, scores_on_test_fold, validation_curves
from pipeline.tracking.tracker import TrackedMember

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run, RunTag

_METRICS_AT_ONCE = 1000  # in a request, MLflow's limit


def sync_local_run(member: TrackedMember, client: "MlflowClient", own_run: "Run", report: Report, digest: str) -> None:
    """Log the report's side of the strongest local models, unless their run has the same report.

    own_run : the partner's run
    digest  : of the report
    """
    run = _find(member, client, own_run) or _start(member, client, own_run)
    run_id = run.info.run_id
    if run.data.tags.get(words.LOGGED) == digest:
        return
    log_params(client, run_id, settings(member) | kinds(report, "local"), run.data.params)
    log_metrics(client, run_id, _metrics(member, report))
    client.log_batch(run_id, tags=_tags(words.local_run_tags(member.config.name, member.plan)))
    if run.info.status != "FINISHED":
        client.set_terminated(run_id, end_time=_end_ms(member))
    client.set_tag(run_id, words.LOGGED, digest)


def log_metrics(client: "MlflowClient", run_id: str, metrics: Iterable["Metric"]) -> None:
    """Log metrics in requests of a size that MLflow takes."""
    every = list(metrics)
    for start in range(0, len(every), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=every[start : start + _METRICS_AT_ONCE])


def last_metrics(member: TrackedMember, values: Mapping[str, float]) -> "list[Metric]":
    """Metrics at the last round, always with one time: the same value is one point."""
    from mlflow.entities import Metric  # noqa: PLC0415 -- MLflow takes seconds to import

    at_ms, step = _end_ms(member), member.plan.rounds.n_rounds
    return [Metric(key, value, at_ms, step) for key, value in values.items()]


def _end_ms(member: TrackedMember) -> int:
    return int(member.home.finished.stat().st_mtime * 1000)


def _metrics(member: TrackedMember, report: Report) -> "list[Metric]":
    """Test scores at the last round, and the network's curves at the times of the federation's rounds."""
    from mlflow.entities import Metric  # noqa: PLC0415 -- MLflow takes seconds to import

    times = {record.step: int(record.at * 1000) for record in read_records(member.home.metrics)}
    curves = [
        Metric(name, score, times.get(round_no, _end_ms(member)), round_no)
        for name, round_no, score in validation_curves(report, "local")
    ]
    return [*curves, *last_metrics(member, scores_on_test_fold(report, "local"))]


def _find(member: TrackedMember, client: "MlflowClient", own_run: "Run") -> "Run | None":
    query = words.run_query(words.LOCAL_OF, member.config.name, member.plan)
    runs = client.search_runs([own_run.info.experiment_id], filter_string=query, max_results=1)
    return runs[0] if runs else None


def _start(member: TrackedMember, client: "MlflowClient", own_run: "Run") -> "Run":
    name, info = member.config.name, own_run.info
    tags = {words.LOCAL_OF: name, words.PLAN: member.plan.digest}
    return client.create_run(info.experiment_id, info.start_time, tags, words.local_run_name(name))


def _tags(tags: Mapping[str, str]) -> "list[RunTag]":
    from mlflow.entities import RunTag  # noqa: PLC0415 -- MLflow takes seconds to import

    return [RunTag(key, value) for key, value in tags.items()]
