"""MLflow, with real SQLite stores: one run per member, each record once, nothing learned at the aggregator's."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import tracking
from pipeline.home import write_json
from pipeline.records import Record, read_records, write_record
from pipeline.tracking import QUIET, Member, Tracker, read_member, sync
from tests.pipeline.federation import AGGREGATOR, Federation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

AGGREGATOR_METRICS = {
    "n_members",
    "attempt",
    "upload_bytes",
    "upload_bytes_per_parameter",
    "download_bytes",
    "seconds_add",
    "seconds_round",
}
AGGREGATOR_FACTS = {"roster", "roster_digest"}
CURVES = {"loss_train", "validation_loss", "validation_roc_auc", "upload_bytes", "seconds_train"}


def client_of(member: Member) -> "MlflowClient":
    """A client as a fresh tracking process would make it."""
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds to import, only where it is used

    return MlflowClient(tracking_uri=member.store)


def member_of(federation: Federation, name: str) -> Member:
    """A member as its tracking process reads it."""
    return read_member(federation.config(name), "aggregator" if name == AGGREGATOR else "partner")


def runs_of(member: Member) -> "list[Run]":
    """All runs of all experiments of the member's store."""
    client = client_of(member)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def curves(member: Member, run: "Run") -> dict[str, list[tuple[int, float]]]:
    """Every metric's history as (step, value), as often as it was logged."""
    client = client_of(member)
    return {
        key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }


def expected_curves(member: Member) -> dict[str, list[tuple[int, float]]]:
    """What the records hold, each step once."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in read_records(member.home.metrics):
        for key, value in record.metrics.items():
            found.setdefault(key, []).append((record.step, value))
    return found


def artifacts(member: Member, run: "Run", folder: str | None = None) -> set[str]:
    """Paths of all artifact files."""
    found: set[str] = set()
    for item in client_of(member).list_artifacts(run.info.run_id, folder):
        found |= artifacts(member, run, item.path) if item.is_dir else {item.path}
    return found


class Dying:
    """A client whose process is killed just before it notes how far it came."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the client has
        if name == "set_tag":
            raise InterruptedError
        return getattr(self._client, name)


@dataclass(frozen=True)
class Tracked:
    """A partner's store, filled in three starts of the tracking process."""

    member: Member
    early: "Run"  # after round 1, the federation going on
    early_curves: dict[str, list[tuple[int, float]]]
    final: "Run"


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """As in the tracking process: no telemetry, no chatter."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in QUIET.items():
            patch.setenv(key, value)
        yield


@pytest.fixture(scope="module")
def federation(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A copy of the finished federation whose homes get stores."""
    return finished.moved(tmp_path_factory.mktemp("tracked") / "federation")


@pytest.fixture(scope="module")
def tracked(federation: Federation) -> Tracked:
    """P01: synced after round 1, then a sync that was killed half-way, then one to the end."""
    member = member_of(federation, "P01")
    later = [member.home.finished, member.home.metrics / "step-0002.json", member.home.report]
    for path in later:
        path.rename(path.with_suffix(".later"))
    sync(member, client_of(member))
    (early,) = runs_of(member)
    early_curves = curves(member, early)
    for path in later:
        path.with_suffix(".later").rename(path)
    with pytest.raises(InterruptedError):
        sync(member, Dying(client_of(member)))  # type: ignore[arg-type]
    sync(member, client_of(member))
    (final,) = runs_of(member)
    return Tracked(member, early, early_curves, final)


@pytest.fixture(scope="module")
def aggregator(federation: Federation) -> "tuple[Member, Run]":
    """The aggregator's store after one sync."""
    member = member_of(federation, AGGREGATOR)
    sync(member, client_of(member))
    (run,) = runs_of(member)
    return member, run


# ----------------------------------------------------------------------------------------------------- a partner


def test_a_revision_goes_on_with_the_run(finished: Federation, tmp_path: Path):
    """One run per member and federation: the plan before and the revision are both in it."""
    federation = finished.moved(tmp_path / "f")
    home = federation.home(AGGREGATOR)
    home.finished.unlink()
    (home.metrics / "step-0002.json").rename(tmp_path / "later")
    sync(member_of(federation, AGGREGATOR), client_of(member_of(federation, AGGREGATOR)))
    federation.revise(2, n_rounds=2)
    (tmp_path / "later").rename(home.metrics / "step-0002.json")
    member = member_of(federation, AGGREGATOR)
    for _ in range(2):
        sync(member, client_of(member))
    (run,) = runs_of(member)
    assert run.data.tags["hocket.plan"] == member.plan.digest
    assert {"settings/plan.toml", "settings/revision-02/plan-2.toml"} <= artifacts(member, run)
    assert [step for step, _ in curves(member, run)["n_members"]] == [1, 2]


def test_a_partner_has_one_finished_run(tracked: Tracked):
    """Three starts of the tracking process, one run, found again by its tags."""
    assert tracked.final.info.status == "FINISHED"
    assert tracked.final.info.run_name == "P01"
    assert tracked.final.data.tags["hocket.plan"] == tracked.member.plan.digest
    assert tracked.final.data.tags["hocket.role"] == "partner"
    assert tracked.final.data.params == {"n_rounds": "2", "local_steps": "4"}


def test_a_run_is_resumed_not_started_anew(tracked: Tracked):
    """What was logged after round 1 is in the same run, which was running then."""
    assert tracked.early.info.status == "RUNNING"
    assert tracked.early.info.run_id == tracked.final.info.run_id
    assert tracked.early.info.start_time == tracked.final.info.start_time
    assert {step for curve in tracked.early_curves.values() for step, _ in curve} == {0, 1}


def test_every_record_is_logged_once(tracked: Tracked):
    """By round, without gaps or duplicates, though a sync was killed between logging and noting."""
    found = curves(tracked.member, tracked.final)
    assert found == expected_curves(tracked.member)
    assert set(found) >= CURVES
    assert [step for step, _ in found["loss_train"]] == [1, 2]
    assert all(found[key][: len(curve)] == curve for key, curve in tracked.early_curves.items())


def test_settings_rounds_and_report_are_artifacts(tracked: Tracked):
    """What was agreed, what was configured, who took part, what came out."""
    assert artifacts(tracked.member, tracked.final) == {
        "settings/plan.toml",
        "settings/partner.toml",
        "rounds/step-0001.json",
        "rounds/step-0002.json",
        "report/report.json",
        "report/summary.json",
    }


def test_artifacts_lie_in_the_home(tracked: Tracked):
    """Beside the SQLite file, where nothing is shared."""
    folder = tracked.member.home.folder / "mlartifacts"
    assert tracked.final.info.artifact_uri.startswith(folder.as_uri())
    kept = next(folder.rglob("report.json")).read_bytes()
    assert kept == (tracked.member.home.report / "report.json").read_bytes()


def test_syncing_again_changes_nothing(tracked: Tracked):
    """Not a metric, not a tag, not a file, not a time."""
    before = {path: path.stat().st_mtime_ns for path in (tracked.member.home.folder / "mlartifacts").rglob("*")}
    sync(tracked.member, client_of(tracked.member))
    (again,) = runs_of(tracked.member)
    assert again.to_dictionary() == tracked.final.to_dictionary()
    assert curves(tracked.member, again) == expected_curves(tracked.member)
    assert {path: path.stat().st_mtime_ns for path in (tracked.member.home.folder / "mlartifacts").rglob("*")} == before


def test_no_key_is_in_the_store(tracked: Tracked):
    """Neither a file with a secret nor its content."""
    folder = tracked.member.home.folder
    secrets = [folder / "keys" / "private.key", folder / "group.secret", folder / "pair.seeds"]
    stored = [path.read_bytes() for path in (folder / "mlartifacts").rglob("*") if path.is_file()]
    stored.append((folder / "mlflow.db").read_bytes())
    for secret in secrets:
        content = secret.read_bytes()[-64:]
        assert all(content not in data for data in stored)


# ----------------------------------------------------------------------------------------------- the aggregator


def test_the_aggregator_learns_nothing(aggregator: "tuple[Member, Run]"):
    """Only sizes, seconds, rosters and digests: an allow-list, for metrics and for facts."""
    member, run = aggregator
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == AGGREGATOR_METRICS
    assert curves(member, run) == expected_curves(member)
    for record in read_records(member.home.metrics):
        assert set(record.facts) == AGGREGATOR_FACTS
    assert set(run.data.params) == {"n_rounds", "local_steps"}
    assert artifacts(member, run) == {
        "settings/plan.toml",
        "settings/aggregator.toml",
        "rounds/step-0001.json",
        "rounds/step-0002.json",
    }


def test_no_trunk_is_in_the_aggregators_store(federation: Federation, aggregator: "tuple[Member, Run]"):
    """Not even the digest of a trunk."""
    folder = aggregator[0].home.folder
    stored = [path.read_bytes() for path in (folder / "mlartifacts").rglob("*") if path.is_file()]
    stored.append((folder / "mlflow.db").read_bytes())
    trunks = federation.trunks(1) | federation.trunks(2)
    assert len(trunks) == 2
    assert all(trunk.encode() not in data for trunk in trunks for data in stored)


def test_members_do_not_share_a_store(tracked: Tracked, aggregator: "tuple[Member, Run]"):
    """Each its own file; the experiment bears the federation's name."""
    assert tracked.member.store != aggregator[0].store
    assert {run.data.tags["hocket.member"] for run in runs_of(tracked.member)} == {"P01"}
    names = {experiment.name for experiment in client_of(tracked.member).search_experiments()}
    assert "small (abababab)" in names


# --------------------------------------------------------------------------------------- one store, several members


def test_a_shared_store_keeps_members_apart_and_loses_no_late_record(
    federation: Federation, aggregator: "tuple[Member, Run]", monkeypatch: pytest.MonkeyPatch
):
    """Two members may point at one server; a record written while a sync is under way is in the next one.

    The member writes its last record and ends between the sync's look at the records and its end.
    """
    config = federation.config("P02")
    config.write_text(f'{config.read_text()}[tracking]\nuri = "{aggregator[0].store}"\n')
    member = member_of(federation, "P02")
    assert member.store == aggregator[0].store
    last, finished = member.home.metrics / "step-0002.json", member.home.finished
    record, end = last.read_bytes(), finished.read_bytes()
    last.unlink()
    finished.unlink()

    def late(folder: Path) -> list[Record]:
        found = read_records(folder)
        last.write_bytes(record)
        finished.write_bytes(end)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "read_records", late)
        sync(member, client_of(member))
    sync(member, client_of(member))
    by_member = {run.data.tags["hocket.member"]: run for run in runs_of(member)}
    assert set(by_member) == {"P02", AGGREGATOR}
    assert curves(member, by_member["P02"]) == expected_curves(member)
    assert by_member["P02"].info.status == "FINISHED"


class Slower:
    """A client that does not see, at its first look, the experiment that another member is just making."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client
        self._looks = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the client has
        return getattr(self._client, name)

    def get_experiment_by_name(self, name: str) -> Any:  # noqa: ANN401 -- an experiment or None
        """Nothing the first time."""
        self._looks += 1
        return None if self._looks == 1 else self._client.get_experiment_by_name(name)


def test_two_members_may_start_at_once_on_one_server(aggregator: "tuple[Member, Run]"):
    """Both make the federation's experiment; the slower one takes that of the other."""
    member = aggregator[0]
    expected = client_of(member).get_experiment_by_name("small (abababab)").experiment_id
    assert tracking._experiment(member, Slower(client_of(member))) == expected  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- the process


def test_main_syncs_at_the_end_of_its_input(
    federation: Federation, aggregator: "tuple[Member, Run]", monkeypatch: pytest.MonkeyPatch
):
    """One look at the start, one for each line, one at the end; telemetry is off in its environment."""
    looks: list[str] = []
    monkeypatch.setattr(tracking, "sync", lambda member, _client: looks.append(member.config.name))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    for key in QUIET:
        monkeypatch.setenv(key, "something else")
    tracking.main(str(federation.config(AGGREGATOR)), "aggregator")
    assert looks == [AGGREGATOR] * 4
    assert {key: os.environ[key] for key in QUIET} == QUIET
    assert aggregator


def test_no_library_sends_anything():
    """The environment of every process that loads MLflow."""
    assert QUIET["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert QUIET["DO_NOT_TRACK"] == "true"


def test_mlflow_agrees_that_telemetry_is_off(tracked: Tracked):
    """Asked itself, in this process that has the same environment."""
    from mlflow.telemetry.utils import is_telemetry_disabled  # noqa: PLC0415 -- after the environment is set

    assert is_telemetry_disabled()
    assert tracked


class FakeProcess:
    """What the member starts, without the seconds of MLflow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        self.given: dict[str, Any] = {}
        start = subprocess.Popen

        def popen(command: list[str], **given: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401 -- handed on
            self.given = given | {"command": command}
            return start([sys.executable, "-c", code], **given)

        monkeypatch.setattr(subprocess, "Popen", popen)


def test_the_member_pokes_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every poke is a line, the end of the input is the end; the process is started without telemetry."""
    fake = FakeProcess(monkeypatch, "import sys; print(len(sys.stdin.readlines()))")
    log = tmp_path / "home" / "tracking.log"
    with Tracker(tmp_path / "partner.toml", "partner", log) as tracker:
        tracker.start()
        tracker.poke()
        tracker.poke()
    assert log.read_text() == "2\n"
    assert not tracker.failed
    assert fake.given["command"][-2:] == [str(tmp_path / "partner.toml"), "partner"]
    assert QUIET.items() <= fake.given["env"].items()


def test_a_tracking_process_that_dies_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pokes go nowhere, the end is no error, and the member is told."""
    FakeProcess(monkeypatch, "import sys; sys.exit('no such server')")
    log = tmp_path / "tracking.log"
    with Tracker(tmp_path / "partner.toml", "partner", log) as tracker:
        tracker.start()
        for _ in range(200):
            tracker.poke()
    assert tracker.failed
    assert "no such server" in log.read_text()


# ---------------------------------------------------------------------------------------------------- the records


def test_records_are_read_by_step(tmp_path: Path):
    """In order, over ten and a thousand too; a repeated step replaces its own."""
    for step in (10, 2, 0, 1000):
        write_record(tmp_path, Record(step, 1.5, {"loss": step / 7}))
    write_record(tmp_path, Record(2, 2.5, {"loss": 0.5}, {"roster": ["P01"]}))
    found = read_records(tmp_path)
    assert [record.step for record in found] == [0, 2, 10, 1000]
    assert found[1] == Record(2, 2.5, {"loss": 0.5}, {"roster": ["P01"]})


def test_a_record_has_no_nan(tmp_path: Path):
    """MLflow could not show it, and other readers could not read it."""
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path, Record(1, 0.0, {"loss": float("nan")}))
    assert read_records(tmp_path) == []


def test_no_record_is_no_error(tmp_path: Path):
    """A member that has not begun."""
    assert read_records(tmp_path / "metrics") == []
    write_json(tmp_path / "metrics" / "notes.json", {})
    assert read_records(tmp_path / "metrics") == []
    assert json.loads((tmp_path / "metrics" / "notes.json").read_text()) == {}
