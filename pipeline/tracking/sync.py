"""Bring a member's MLflow run up to date with its records: one run per member and federation, each record once.

After a restart the same run is found by its tags. MLflow is imported inside the functions that use it, because that
takes seconds.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.home.paths import Home
from pipeline.home.round_metrics import RoundRecord, read_records
from pipeline.runtime.redact import without_commands, without_password
from pipeline.tracking import descriptions as words
from pipeline.tracking.mlflow_model import pack_final_model
from pipeline.tracking.parameters import constants, is_charted, log_params, settings
from pipeline.tracking.relocation import artifact_folder
from pipeline.tracking.tracker import TrackedMember, model_edition, note_all_sent, report_digest, report_files
from pipeline.tracking.uploads import Upload, send

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SQLITE = "sqlite:///"
# seconds in which a server must answer; MLflow reads this environment variable at each request
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_SHORTEST_S, _BYTES_PER_S = 20, 1_000_000
_N_DIGEST = 16  # characters of a dataset's digest, which MLflow shows next to the name


@dataclass(frozen=True, slots=True)
class Logged:
    """What a run has already, kept in one of its tags."""

    plan: str = ""  # digest of the plan whose settings and descriptions it has
    step: int = -1  # last record
    report: str = ""  # digest of the report folder

    @classmethod
    def of(cls, run: "Run") -> Self:
        """Read the tag of a run."""
        tags = run.data.tags
        return cls(**json.loads(tags.get(words.LOGGED, tags.get(words.LOGGED_BEFORE, "{}"))))

    def note(self, client: "MlflowClient", run_id: str) -> Self:
        """Write the tag, after logging what it lists: if the server fails in between, that is logged again."""
        client.set_tag(run_id, words.LOGGED, json.dumps(asdict(self)))
        return self


def sync(member: TrackedMember, client: "MlflowClient") -> str:
    """Bring the member's run up to date with its records and files, and return the run's id."""
    run = _find_run(member, client) or _start_run(member, client)
    run_id, logged = run.info.run_id, Logged.of(run)
    if logged.plan != member.plan.digest:
        _log_settings(member, client, run, first=not logged.plan)
        if run.info.status == "FINISHED":  # under the plan before
            client.update_run(run_id, "RUNNING")
            run = client.get_run(run_id)
        logged = replace(logged, plan=member.plan.digest).note(client, run_id)
    finished = member.finished  # before the records are read: then none can follow
    records = read_records(member.home.metrics)
    first = constants(records)
    for record in records:
        if record.step > logged.step:
            _log_record(client, run, record, first)
            logged = replace(logged, step=record.step).note(client, run_id)
    state = words.state(logged.step, member.plan.rounds.n_rounds, finished=finished)
    if run.data.tags.get(words.STATE) != state:
        client.set_tag(run_id, words.STATE, state)
    if finished:
        edition = model_edition(member.home)
        report = _send_files(member, client, run, logged)
        if run.info.status != "FINISHED":
            client.set_terminated(run_id, end_time=int(member.home.finished.stat().st_mtime * 1000))
        note_all_sent(member.home, run_id, report=report, model=edition)
    return str(run_id)


def experiment_of(member: TrackedMember, client: "MlflowClient") -> str:
    """Id of the federation's experiment, created if it is not there."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- MLflow takes seconds to import

    name, tags = words.experiment_name(member.plan), words.experiment_tags(member.plan)
    existing = client.get_experiment_by_name(name)
    if existing is not None:
        return str(existing.experiment_id)
    try:
        created = str(
            client.create_experiment(name, artifact_location=_artifact_folder(member.store, member.home), tags=tags)
        )
    except MlflowException:
        existing = client.get_experiment_by_name(name)  # another member that shares the server was faster
        if existing is None:
            raise
        return str(existing.experiment_id)
    if member.own_store:
        _remove_default(client)
    return created


def _artifact_folder(store: str, home: Home) -> str | None:
    """URI of the artifacts' folder: next to an SQLite file, in the home for another database; None for a server."""
    if store.startswith(_SQLITE):
        return artifact_folder(Path(store.removeprefix(_SQLITE)))
    database = store.startswith(("postgresql", "mysql", "mssql"))
    return artifact_folder(home.folder / "mlflow.db") if database else None


def _remove_default(client: "MlflowClient") -> None:
    """Remove MLflow's empty experiment "Default", which every new store has, from a home's own store."""
    default = client.get_experiment_by_name("Default")
    if default is not None and not client.search_runs([default.experiment_id], max_results=1):
        client.delete_experiment(default.experiment_id)


def _find_run(member: TrackedMember, client: "MlflowClient") -> "Run | None":
    """The member's run under this plan, or under a revision its latest run of the federation; None without one."""
    query = words.run_query(words.MEMBER, member.config.name, member.plan)
    runs = client.search_runs([experiment_of(member, client)], filter_string=query, max_results=1)
    return runs[0] if runs else None


def _start_run(member: TrackedMember, client: "MlflowClient") -> "Run":
    name, tags = member.config.name, words.identity_tags(member.config.name, member.role, member.plan)
    records = read_records(member.home.metrics)
    began_ms = (
        int(records[0].at * 1000) if records else None
    )  # the first record can be much older than the server's run
    return client.create_run(experiment_of(member, client), start_time=began_ms, run_name=name, tags=tags)


def _log_settings(member: TrackedMember, client: "MlflowClient", run: "Run", *, first: bool) -> None:
    """Log plan and configuration; those of a revision of the plan into its own folder, and what it changed."""
    from mlflow.entities import RunTag  # noqa: PLC0415 -- MLflow takes seconds to import

    run_id, known = run.info.run_id, run.data.params
    tags = words.run_tags(member.config.name, member.role, member.plan)
    folder = f"settings/{member.plan.folder}".rstrip("/")
    catalogue = member.plan.catalogue.path(member.config.plan_file)
    for file in (member.config.plan_file, *([catalogue] if catalogue else [])):
        client.log_artifact(run_id, str(file), folder)
    configuration = without_password(without_commands(member.config_file.read_text("utf-8-sig")))
    client.log_text(run_id, configuration, f"{folder}/{member.config_file.name}")
    params = settings(member)
    if not first:
        changed = {key: value for key, value in params.items() if known.get(key, value) != value}
        params = {f"{member.plan.folder}.{key}": value for key, value in changed.items()}
    log_params(client, run_id, params, known)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_record(client: "MlflowClient", run: "Run", record: RoundRecord, first: Mapping[str, float]) -> None:
    """Log a record; its constants, of which `first` has the first values, are parameters."""
    from mlflow.entities import Metric  # noqa: PLC0415 -- MLflow takes seconds to import

    run_id, at_ms = run.info.run_id, int(record.at * 1000)
    charted = {key: value for key, value in record.metrics.items() if is_charted(key, value, first)}
    metrics = [Metric(words.curve(key), value, at_ms, record.step) for key, value in charted.items()]
    client.log_batch(run_id, metrics=metrics)
    log_params(client, run_id, {key: first[key] for key in record.metrics if key in first}, run.data.params)
    if "datasets" in record.facts:
        _log_datasets(client, run_id, record.facts["datasets"])
    if record.facts:
        client.log_text(run_id, json.dumps(record.facts, indent=1), words.artifact(record.step))


def _log_datasets(client: "MlflowClient", run_id: str, datasets: list[Mapping[str, Any]]) -> None:
    """Log name, digest and counts of each dataset, without the schema, which would name inputs, and the source."""
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415 -- MLflow takes seconds to import

    inputs = [
        DatasetInput(
            Dataset(
                name=str(dataset["name"]),
                digest=str(dataset["digest"])[:_N_DIGEST],
                source_type="hocket",
                source=json.dumps({"kept": "in the partner's home, prepared from its own tables"}),
                profile=json.dumps(dataset["counts"]),
            ),
            [InputTag("mlflow.data.context", str(dataset["context"]))],
        )
        for dataset in datasets
    ]
    client.log_inputs(run_id, datasets=inputs)


def _send_files(member: TrackedMember, client: "MlflowClient", run: "Run", logged: Logged) -> str:
    """Send report and model with what describes them, unless the run has the same ones; return the report's digest."""
    run_id, report = run.info.run_id, report_digest(member.home)
    model = pack_final_model(member.home.model, member.store, run_id)
    uploads = _report_uploads(member, client, run_id) if logged.report != report else []
    uploads = [*uploads, *(model.uploads() if model else [])]
    send([replace(upload, send=partial(_send_patiently, upload)) for upload in uploads], member.home.sent, run_id)
    if model:
        model.register()
    if member.role == "partner":
        from pipeline.tracking.report_sync import log_report  # noqa: PLC0415 -- libraries that an aggregator lacks

        log_report(member, client, run, report, is_new=logged.report != report)
    if logged.report != report:
        replace(logged, report=report).note(client, run_id)
    return report


def _send_patiently(upload: Upload) -> None:
    """Send a file with a longer timeout: a server may need a second to store each megabyte."""
    before = os.environ.get(_TIMEOUT)
    os.environ[_TIMEOUT] = str(max(int(before or _SHORTEST_S), upload.file.stat().st_size // _BYTES_PER_S))
    try:
        upload.send()
    finally:
        if before is None:
            del os.environ[_TIMEOUT]
        else:
            os.environ[_TIMEOUT] = before


def _report_uploads(member: TrackedMember, client: "MlflowClient", run_id: str) -> list[Upload]:
    uploads = []
    for path in report_files(member.home):
        name = Path("report") / path.relative_to(member.home.report)
        uploads.append(Upload(path, str(name), partial(client.log_artifact, run_id, str(path), str(name.parent))))
    return uploads
