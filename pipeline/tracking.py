"""MLflow, in a process of its own: `python -m pipeline.tracking CONFIG ROLE`.

The member's process writes records (pipeline.records) and pokes this one through its standard input; a slow or
absent tracking server never stops or slows a round, and the aggregator's process stays free of MLflow's imports.
One run per member and federation: found again by its tags after a restart, never started anew.
"""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.configs import AggregatorConfig, MemberConfig, PartnerConfig
from pipeline.home import Home, write_json
from pipeline.mlflow_model import log_final_model
from pipeline.plan import Plan, read_plan
from pipeline.records import Record, read_records

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # unless the user sets them
_LONGEST_WAIT_S = 60.0  # for the tracking process at the end of a run
_LAST_STEP = "hocket.last_step"
_PLAN = "hocket.plan"


@dataclass(frozen=True, slots=True)
class Member:
    """Whose run is tracked."""

    config: MemberConfig
    config_file: Path
    plan: Plan
    role: str

    @property
    def home(self) -> Home:
        """The member's home."""
        return Home(self.config.home_folder)

    @property
    def store(self) -> str:
        """MLflow tracking URI: the configured one, or an SQLite file in the home."""
        return self.config.tracking.uri or f"sqlite:///{self.home.folder / 'mlflow.db'}"

    @property
    def finished(self) -> bool:
        """Whether the member's last file is there."""
        return self.home.finished.exists()


def read_member(config_file: Path, role: str) -> Member:
    """Read a member's configuration and plan."""
    kind: type[MemberConfig] = PartnerConfig if role == "partner" else AggregatorConfig
    config = kind.read(config_file)
    return Member(config, config_file.resolve(), read_plan(config.plan_file), role)


class Tracker:
    """The member's side: starts the tracking process, pokes it, waits for it at the end."""

    def __init__(self, config_file: Path, role: str, log_file: Path) -> None:
        self._command = [sys.executable, "-P", "-m", "pipeline.tracking", str(config_file.resolve()), role]
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start the process, if that was not done."""
        if self._process is not None:
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_PATIENCE | os.environ | QUIET,
                start_new_session=True,  # Ctrl-C stops the member; this process ends by itself at the end of its input
            )

    def poke(self) -> None:
        """Say that there may be new records."""
        if self._process and self._process.stdin and self._process.poll() is None:
            try:
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                self._process.stdin = None  # it ended; the records stay for the next start

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it write the rest, but not for ever: a store that does not answer gets it at the next start."""
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_LONGEST_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def failed(self) -> bool:
        """Whether the last records could not be logged; they are kept."""
        return bool(self._process and self._process.returncode)


def sync(member: Member, client: "MlflowClient") -> None:
    """Bring the member's MLflow run up to its records and artifacts."""
    run = _find_run(member, client) or _start_run(member, client)
    if run.data.tags.get(_PLAN) != member.plan.digest:
        _take_up(member, client, run.info.run_id)
    if run.info.status == "FINISHED":
        write_json(member.home.tracked, {"run": run.info.run_id})
        return
    finished = member.finished  # looked at before the records: then none can follow
    last = int(run.data.tags.get(_LAST_STEP, "-1"))
    for record in read_records(member.home.metrics):
        if record.step > last:
            _log_record(client, run.info.run_id, record)
    if finished:
        if member.home.report.is_dir():
            client.log_artifacts(run.info.run_id, str(member.home.report), "report")
        log_final_model(member.home.model, member.store, run.info.run_id)
        client.set_terminated(run.info.run_id)
        write_json(member.home.tracked, {"run": run.info.run_id})


def _experiment(member: Member, client: "MlflowClient") -> str:
    """Id of the federation's experiment, made with artifacts beside the store where that is the home's own."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- MLflow takes seconds to import

    name = f"{member.plan.federation.name} ({member.plan.federation.id[:8]})"
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None if member.config.tracking.uri else (member.home.folder / "mlartifacts").as_uri()
    # without this tag MLflow's UI opens on its pages for language models
    tags = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, artifact_location=place, tags=tags))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another member that shares the server was faster
        if found is None:
            raise
        return str(found.experiment_id)


def _find_run(member: Member, client: "MlflowClient") -> "Run | None":
    """The member's run under this plan; a revision goes on with the latest run of the federation."""
    query = f"tags.`hocket.member` = '{member.config.name}'"
    if not member.plan.continues:
        query += f" and tags.`{_PLAN}` = '{member.plan.digest}'"
    runs = client.search_runs([_experiment(member, client)], filter_string=query, max_results=1)
    return runs[0] if runs else None


def _start_run(member: Member, client: "MlflowClient") -> "Run":
    tags = {"hocket.member": member.config.name, "hocket.role": member.role, _PLAN: member.plan.digest}
    run = client.create_run(_experiment(member, client), run_name=member.config.name, tags=tags)
    rounds = member.plan.rounds
    for key, value in (("n_rounds", rounds.n_rounds), ("local_steps", rounds.local_steps)):
        client.log_param(run.info.run_id, key, value)
    client.log_artifact(run.info.run_id, str(member.config.plan_file), "settings")
    client.log_artifact(run.info.run_id, str(member.config_file), "settings")
    return run


def _take_up(member: Member, client: "MlflowClient", run_id: str) -> None:
    """Say in the run that a revision of the plan goes on with it."""
    client.log_artifact(run_id, str(member.config.plan_file), f"settings/{member.plan.folder}")
    client.set_tag(run_id, _PLAN, member.plan.digest)


def _log_record(client: "MlflowClient", run_id: str, record: Record) -> None:
    from mlflow.entities import Metric  # noqa: PLC0415 -- MLflow takes seconds to import

    milliseconds = int(record.at * 1000)
    client.log_batch(
        run_id, metrics=[Metric(key, value, milliseconds, record.step) for key, value in record.metrics.items()]
    )
    if record.facts:
        client.log_text(run_id, json.dumps(record.facts, indent=1), f"rounds/step-{record.step:04d}.json")
    client.set_tag(run_id, _LAST_STEP, str(record.step))


def main(config_file: str, role: str) -> None:
    """Sync at the start, at every line on standard input, and when that ends."""
    os.environ.update(QUIET)
    member = read_member(Path(config_file), role)
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds and much memory: only in this process

    with (member.home.folder / "tracking.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a predecessor may still be writing after its member was killed
        client = MlflowClient(tracking_uri=member.store)
        sync(member, client)
        while sys.stdin.readline():
            sync(member, client)
        sync(member, client)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
