"""MLflow with real SQLite stores: one run per member, each record once, no scores at the aggregator's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scipy import sparse

from pipeline.home.json_files import write_json
from pipeline.home.round_metrics import RoundRecord, read_records, write_record
from pipeline.report.metrics import FORMAT
from pipeline.report.report import read_report, report_file
from pipeline.tracking import sync as tracking_store
from pipeline.tracking.report_metrics import report_metrics
from pipeline.tracking.sync import sync
from pipeline.tracking.tracker import QUIET, TrackedMember
from tests.support.federation import AGGREGATOR, Federation
from tests.support.tracking.tracking_reader import (
    artifacts,
    client_of,
    curves,
    expected_curves,
    member_of,
    runs_of,
    use_store,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

AGGREGATOR_METRICS = {
    "round/members",
    "round/attempt",
    "bytes/up",
    "bytes/up_per_parameter",
    "bytes/down",
    "seconds/add",
    "seconds/round",
}
DATASET_COUNTS = {"n_compounds", "n_inputs", "n_tasks", "n_active", "n_inactive"}
AGGREGATOR_FACTS = {"roster", "roster_digest"}
AGGREGATOR_PARAMS = {"n_rounds", "local_steps", "n_partners", "n_trunk_parameters", "hidden"}
CURVES = {
    "train/loss",
    "validation/loss",
    "validation/roc_auc",
    "validation/average_precision",
    "update/norm",
    "update/clipped_share",
    "update/mean_norm",
    "bytes/up",
    "bytes/down",
    *(f"seconds/{part}" for part in ("train", "seal", "wait", "open", "validate", "round")),
}


class Dying:
    """A client whose process is killed just before it writes its tag."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the client has
        if name == "set_tag":  # `sync` notes how far it came in a tag
            raise InterruptedError
        return getattr(self._client, name)


@dataclass(frozen=True)
class Tracked:
    """A partner's store, filled in three starts of the tracking process."""

    member: TrackedMember
    early: "Run"  # after round 1, the federation going on
    early_curves: dict[str, list[tuple[int, float]]]
    final: "Run"


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The environment of the tracking process: no telemetry, few messages."""
    import mlflow  # noqa: PLC0415 -- seconds to import

    with pytest.MonkeyPatch.context() as patch:
        for key, value in QUIET.items():
            patch.setenv(key, value)
        for key in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(key, "")  # MLflow sets them in this process, for processes that it would start
        yield
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


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
def aggregator(federation: Federation) -> "tuple[TrackedMember, Run]":
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
    assert {
        "settings/plan.toml",
        "settings/revision-02/plan-2.toml",
        "settings/revision-02/aggregator.toml",
    } <= artifacts(member, run)
    assert [step for step, _ in curves(member, run)["round/members"]] == [1, 2]


def test_the_file_of_a_catalogue_is_an_artifact_too(finished: Federation, tmp_path: Path):
    """It is part of the plan."""
    federation, content = finished.moved(tmp_path / "f"), b"id,threshold\nC1,6.0\n"
    (federation.folder / "targets.csv").write_bytes(content)
    table = f'[catalogue]\nfile = "targets.csv"\nsha256 = "{sha256(content).hexdigest()}"\n'
    federation.plan_file.write_text(f"{federation.plan_file.read_text()}\n{table}")
    member = member_of(federation, AGGREGATOR)
    sync(member, client_of(member))
    (run,) = runs_of(member)
    assert {"settings/plan.toml", "settings/targets.csv"} <= artifacts(member, run)


def test_a_partner_has_one_finished_run(tracked: Tracked):
    """Three starts of the tracking process, one run, found again by its tags."""
    assert tracked.final.info.status == "FINISHED"
    assert tracked.final.info.run_name == "P01"
    assert tracked.final.data.tags["hocket.plan"] == tracked.member.plan.digest
    assert tracked.final.data.tags["hocket.role"] == "partner"
    expected = {"n_rounds": "2", "local_steps": "4", "n_partners": "3", "batch_size": "40", "dropout": "0.2"}
    assert expected.items() <= tracked.final.data.params.items()


def test_a_run_is_resumed_not_started_anew(tracked: Tracked):
    """Records after round 1 are in the same run."""
    assert tracked.early.info.status == "RUNNING"
    assert tracked.early.info.run_id == tracked.final.info.run_id
    assert tracked.early.info.start_time == tracked.final.info.start_time
    assert {step for curve in tracked.early_curves.values() for step, _ in curve} == {0, 1}


def test_every_record_is_logged_once(tracked: Tracked):
    """By round, without gaps or duplicates, though a sync was killed between logging and noting."""
    found = curves(tracked.member, tracked.final)
    assert found == expected_curves(tracked.member)
    assert set(found) >= CURVES
    assert [step for step, _ in found["train/loss"]] == [1, 2]
    assert all(found[key][: len(curve)] == curve for key, curve in tracked.early_curves.items())


def test_the_reports_means_are_metrics(tracked: Tracked):
    """Of both comparisons, under names of their own, at the last round."""
    report, found = read_report(tracked.member.home), curves(tracked.member, tracked.final)
    for beginning, summary in (("report/", report.summary), ("report/network_", report.network.summary)):
        compared = summary.average_precision
        assert compared is not None
        for name in ("local", "federated", "change"):
            assert found[f"{beginning}average_precision_{name}"] == [(2, getattr(compared, name))]


def test_a_report_that_cannot_be_read_has_no_metrics(finished: Federation, tmp_path: Path):
    """An older or damaged one holds nothing up: `hocket report` says what to do."""
    home = finished.moved(tmp_path / "f").home("P01")
    assert report_metrics(home)
    report_file(home).write_text(report_file(home).read_text().replace(f'"format": {FORMAT}', '"format": 3', 1))
    assert report_metrics(home) == {}
    report_file(home).write_text("{")
    assert report_metrics(home) == {}
    report_file(home).unlink()
    assert report_metrics(home) == {}


def test_settings_rounds_and_report_are_artifacts(tracked: Tracked):
    """The run has plan, configuration, rosters and report."""
    assert artifacts(tracked.member, tracked.final) == {
        "settings/plan.toml",
        "settings/partner.toml",
        "rounds/preparation.json",
        "rounds/round-0001.json",
        "rounds/round-0002.json",
        "report/report.json",
        "report/summary.json",
    }


def test_artifacts_lie_in_the_home(tracked: Tracked):
    """Artifacts are next to the SQLite file."""
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


# ------------------------------------------------------------------------------------------------ what people see


def test_the_experiment_and_the_run_say_in_words_what_they_are(
    tracked: Tracked, aggregator: "tuple[TrackedMember, Run]"
):
    """Descriptions with who may see what; tags with role, version and how far the member is."""
    (experiment,) = client_of(tracked.member).search_experiments()
    assert experiment.name == "small (abababab)"
    for part in ("3 partners (P01, P02, P03)", "agg adds", tracked.member.plan.digest, "ab" * 16):
        assert part in experiment.tags["mlflow.note.content"]
    note = tracked.final.data.tags["mlflow.note.content"]
    assert "**Private:**" in note
    assert "4 local steps" in note
    assert "no model here" in aggregator[1].data.tags["mlflow.note.content"]
    assert tracked.early.data.tags["hocket.state"] == "round 2 of 2"
    assert tracked.final.data.tags["hocket.state"] == "finished after 2 rounds"
    assert tracked.final.data.tags["hocket.version"] == version("hocket")
    assert tracked.final.data.tags["mlflow.source.name"] == f"hocket {version('hocket')}"


def test_every_curve_is_described(tracked: Tracked, aggregator: "tuple[TrackedMember, Run]"):
    """All curves are in groups, and the run's description has each group."""
    for run in (tracked.final, aggregator[1]):
        note = run.data.tags["mlflow.note.content"]
        for name in run.data.metrics:
            group = name.split("/")[0]
            assert group != name
            assert name in note or f"{group}/..." in note


def test_datasets_are_logged_by_digest_and_counts(tracked: Tracked, federation: Federation):
    """Training, validation and test folds; the counts are those of the prepared labels."""
    inputs = {found.dataset.name: found for found in tracked.final.inputs.dataset_inputs}
    assert set(inputs) == {"P01, training folds", "P01, validation fold", "P01, test fold"}
    assert len({found.dataset.digest for found in inputs.values()}) == 3
    counts = {name: json.loads(found.dataset.profile) for name, found in inputs.items()}
    prepared = next((federation.home("P01").prepared).iterdir())
    labels = sparse.load_npz(prepared / "y_class.npz").data
    assert sum(count["n_active"] for count in counts.values()) == (labels > 0).sum()
    assert sum(count["n_inactive"] for count in counts.values()) == (labels < 0).sum()
    for found in inputs.values():
        assert found.dataset.schema is None
        assert set(json.loads(found.dataset.profile)) <= DATASET_COUNTS
        assert str(federation.folder) not in found.dataset.source
        assert [tag.key for tag in found.tags] == ["mlflow.data.context"]


def test_no_compound_is_in_a_partners_store(tracked: Tracked, federation: Federation):
    """Neither an id nor a structure of T2 is in the database; the report names assays, no compound."""
    table = (federation.folder / "P01" / "T2.csv").read_text().splitlines()[1:]
    words = {cell for line in table for cell in line.split(",") if len(cell) > 5}
    assert len(words) > 100
    folder = tracked.member.home.folder
    stored = [path.read_bytes() for path in (folder / "mlartifacts").rglob("*") if path.is_file()]
    stored.append((folder / "mlflow.db").read_bytes())
    assert not [word for word in words if any(word.encode() in data for data in stored)]


def test_a_home_s_own_store_has_one_experiment(tracked: Tracked):
    """MLflow's empty default experiment is removed."""
    assert [found.name for found in client_of(tracked.member).search_experiments()] == ["small (abababab)"]


# ------------------------------------------------------------------------------------------ a store that is unreliable


class Lossy:
    """A client that does each call, but loses the answer to the first of each kind."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client
        self._seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the client has
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- seconds to import, only where it is used

        method = getattr(self._client, name)

        def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401 -- handed on
            answer = method(*given, **named)
            what = f"{name} {given[1:]} {sorted(named)} {len(named.get('metrics', ()))} {named.get('datasets')}"
            if what not in self._seen:
                self._seen.add(what)
                raise MlflowException("the answer is lost")
            return answer

        return call


def test_lost_answers_lose_and_double_nothing(finished: Federation, tmp_path: Path):
    """Every single call may fail after the server did its work; in the end the store is as if none had."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- seconds to import, only where it is used

    federation = finished.moved(tmp_path / "f")
    member = member_of(federation, "P01")
    client = Lossy(client_of(member))
    n_losses = 0
    while not member.home.tracked.exists():
        try:
            sync(member, client)  # type: ignore[arg-type]
        except MlflowException:
            n_losses += 1
    assert n_losses > 15
    (run,) = runs_of(member)
    assert curves(member, run) == expected_curves(member)
    assert run.info.status == "FINISHED"
    assert {"settings/plan.toml", "report/report.json", "rounds/round-0002.json"} <= artifacts(member, run)
    assert len(run.inputs.dataset_inputs) == 3


def test_a_store_elsewhere_keeps_its_artifacts_beside_it(finished: Federation, tmp_path: Path):
    """Nothing of the run is in the home or where the process was started."""
    federation = finished.moved(tmp_path / "f")
    (tmp_path / "stores").mkdir()
    member = use_store(federation, "P01", f"sqlite:///{tmp_path}/stores/mine.db")
    before = set(tmp_path.rglob("*"))
    sync(member, client_of(member))
    (run,) = runs_of(member)
    assert "report/report.json" in artifacts(member, run)
    new = {path.relative_to(tmp_path).parts[:2] for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert new == {("stores", "mine.db"), ("stores", "mlartifacts"), ("f", "P01")}
    assert set(tmp_path.joinpath("f").rglob("*")) - before == {member.home.tracked, member.home.sent}


def test_a_report_that_changed_is_logged_again(finished: Federation, tmp_path: Path):
    """`hocket report` may write more when the run is long finished."""
    member = member_of(finished.moved(tmp_path / "f"), "P01")
    sync(member, client_of(member))
    assert member.all_sent
    (member.home.report / "figures").mkdir()
    (member.home.report / "figures" / "tasks.svg").write_text("<svg/>")
    assert not member.all_sent
    sync(member, client_of(member))
    assert member.all_sent
    (run,) = runs_of(member)
    assert "report/figures/tasks.svg" in artifacts(member, run)


# ----------------------------------------------------------------------------------------------- the aggregator


def test_the_aggregator_learns_nothing(aggregator: "tuple[TrackedMember, Run]"):
    """Only sizes, seconds, rosters and digests: an allow-list, for metrics and for facts."""
    member, run = aggregator
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == AGGREGATOR_METRICS
    assert curves(member, run) == expected_curves(member)
    for record in read_records(member.home.metrics):
        assert set(record.facts) == AGGREGATOR_FACTS
    assert set(run.data.params) == AGGREGATOR_PARAMS
    assert artifacts(member, run) == {
        "settings/plan.toml",
        "settings/aggregator.toml",
        "rounds/round-0001.json",
        "rounds/round-0002.json",
    }


def test_no_trunk_is_in_the_aggregators_store(federation: Federation, aggregator: "tuple[TrackedMember, Run]"):
    """Not even the digest of a trunk."""
    folder = aggregator[0].home.folder
    stored = [path.read_bytes() for path in (folder / "mlartifacts").rglob("*") if path.is_file()]
    stored.append((folder / "mlflow.db").read_bytes())
    trunks = federation.trunks(1) | federation.trunks(2)
    assert len(trunks) == 2
    assert all(trunk.encode() not in data for trunk in trunks for data in stored)


def test_members_do_not_share_a_store(tracked: Tracked, aggregator: "tuple[TrackedMember, Run]"):
    """Each member has its own store; the experiment has the federation's name."""
    assert tracked.member.store != aggregator[0].store
    assert {run.data.tags["hocket.member"] for run in runs_of(tracked.member)} == {"P01"}
    names = {experiment.name for experiment in client_of(tracked.member).search_experiments()}
    assert "small (abababab)" in names


# --------------------------------------------------------------------------------------- one store, several members


def test_a_shared_store_keeps_members_apart_and_loses_no_late_record(
    federation: Federation, aggregator: "tuple[TrackedMember, Run]", monkeypatch: pytest.MonkeyPatch
):
    """Two members may point at one server; a record written while a sync is under way is in the next one.

    The member writes its last record and ends between the sync's look at the records and its end.
    """
    member = use_store(federation, "P02", aggregator[0].store)
    assert member.store == aggregator[0].store
    last, finished = member.home.metrics / "step-0002.json", member.home.finished
    record, end = last.read_bytes(), finished.read_bytes()
    last.unlink()
    finished.unlink()

    def late(folder: Path) -> list[RoundRecord]:
        found = read_records(folder)
        last.write_bytes(record)
        finished.write_bytes(end)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(tracking_store, "read_records", late)
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
        """None at the first call."""
        self._looks += 1
        return None if self._looks == 1 else self._client.get_experiment_by_name(name)


def test_two_members_may_start_at_once_on_one_server(aggregator: "tuple[TrackedMember, Run]"):
    """Of two members that create the experiment, the slower one uses the other's."""
    member = aggregator[0]
    expected = client_of(member).get_experiment_by_name("small (abababab)").experiment_id
    assert tracking_store._experiment(member, Slower(client_of(member))) == expected  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- the records


def test_records_are_read_by_step(tmp_path: Path):
    """Records are in order, beyond ten and a thousand too; a repeated step replaces its record."""
    for step in (10, 2, 0, 1000):
        write_record(tmp_path, RoundRecord(step, 1.5, {"loss": step / 7}))
    write_record(tmp_path, RoundRecord(2, 2.5, {"loss": 0.5}, {"roster": ["P01"]}))
    found = read_records(tmp_path)
    assert [record.step for record in found] == [0, 2, 10, 1000]
    assert found[1] == RoundRecord(2, 2.5, {"loss": 0.5}, {"roster": ["P01"]})


def test_a_record_has_no_nan(tmp_path: Path):
    """NaN in a record is refused."""
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path, RoundRecord(1, 0.0, {"loss": float("nan")}))
    assert read_records(tmp_path) == []


def test_no_record_is_no_error(tmp_path: Path):
    """A member that has not begun."""
    assert read_records(tmp_path / "metrics") == []
    write_json(tmp_path / "metrics" / "notes.json", {})
    assert read_records(tmp_path / "metrics") == []
    assert json.loads((tmp_path / "metrics" / "notes.json").read_text()) == {}
