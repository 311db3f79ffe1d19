"""MLflow with real SQLite stores: one run per member, each record once, no scores at the aggregator's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scipy import sparse

from pipeline.home.json_files import write_json
from pipeline.home.round_metrics import RoundRecord, read_records, write_record
from pipeline.report.report import read_report, report_file
from pipeline.tracking import report_sync
from pipeline.tracking import sync as tracking_store
from pipeline.tracking.model_card import ModelCard
from pipeline.tracking.relocation import relocate
from pipeline.tracking.report_metrics import report_in
from pipeline.tracking.sync import sync
from pipeline.tracking.tracker import QUIET, TrackedMember, report_digest
from tests.support.federation import AGGREGATOR, Federation
from tests.support.tracking.tracking_reader import (
    artifacts,
    client_of,
    curves,
    expected_curves,
    local_runs_of,
    member_of,
    runs_of,
    use_store,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

AGGREGATOR_METRICS = {"9_round/members", "9_round/attempt", "7_seconds/add", "7_seconds/round"}
DATASET_COUNTS = {"n_compounds", "n_inputs", "n_tasks", "n_active", "n_inactive"}
AGGREGATOR_FACTS = {"roster", "roster_digest"}
AGGREGATOR_FACTS_ONCE = {
    "n_partners",
    "n_trunk_parameters",
    "n_catalogue_tasks",
    "upload_bytes",
    "upload_bytes_per_parameter",
    "download_bytes",
}
SETTINGS = {
    "plan",
    "federation",
    "rounds",
    "preparation",
    "trunk",
    "server",
    "seal",
    "catalogue",
    "aggregator",
    "columns",
    "tracking",
}
CURVES = {
    "1_validation/loss",
    "1_validation/roc_auc",
    "1_validation/average_precision",
    "5_training/loss",
    "6_update/norm",
    "6_update/clipped_share",
    "6_update/mean_norm",
    *(f"7_seconds/{part}" for part in ("train", "seal", "wait", "open", "validate", "round")),
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


@pytest.mark.slow
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
    assert [step for step, _ in curves(member, run)["9_round/members"]] == [1, 2]


def test_no_token_of_notices_is_in_the_store(finished: Federation, tmp_path: Path):
    """Webhooks have a token in their path, commands among their arguments; the configuration is there without them."""
    member = use_store(
        finished.moved(tmp_path / "f"),
        AGGREGATOR,
        "",
        '[notify]\ncommand = [\n  "tell",\n  "--token=s3cr3t",\n]\nwebhook = "https://chat.example/hooks/s3cr3t"\n',
    )
    sync(member, client_of(member))
    (path,) = (member.home.folder / "mlartifacts").rglob("aggregator.toml")
    assert path.read_text().endswith('[notify]\ncommand = []\nwebhook = ""\n')
    files = [member.store_file, *(member.home.folder / "mlartifacts").rglob("*")]
    assert not [path for path in files if path.is_file() and b"s3cr3t" in path.read_bytes()]


@pytest.mark.slow
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
    expected = {"rounds.n_rounds": "2", "training.batch_size": "40", "n_partners": "3", "trunk.hidden": "[16]"}
    assert expected.items() <= tracked.final.data.params.items()


def test_a_run_is_resumed_not_started_anew(tracked: Tracked):
    """Records after round 1 are in the same run."""
    assert tracked.early.info.status == "RUNNING"
    assert tracked.early.info.run_id == tracked.final.info.run_id
    assert tracked.early.info.start_time == tracked.final.info.start_time
    assert {step for curve in tracked.early_curves.values() for step, _ in curve} == {1}


def test_every_record_is_logged_once(tracked: Tracked):
    """By round, without gaps or duplicates, though a sync was killed between logging and noting."""
    found = curves(tracked.member, tracked.final)
    assert found == expected_curves(tracked.member)
    assert set(found) >= CURVES
    assert [step for step, _ in found["5_training/loss"]] == [1, 2]
    assert all(found[key][: len(curve)] == curve for key, curve in tracked.early_curves.items())


def test_the_reports_means_are_metrics(tracked: Tracked):
    """Test scores of both models and networks, change and gate, at the last round."""
    report, found = read_report(tracked.member.home), curves(tracked.member, tracked.final)
    compared, network = report.summary.average_precision, report.network.summary.average_precision
    assert compared is not None
    assert network is not None
    assert found["2_test/average_precision"] == [(2, compared.federated)]
    assert found["2_test/average_precision_network"] == [(2, network.federated)]
    assert found["3_verdict/average_precision_change"] == [(2, compared.change)]
    assert found["3_verdict/average_precision_p"] == [(2, compared.p_assays_holm)]
    assert found["3_verdict/average_precision_network_change"] == [(2, network.change)]
    assert found["4_gate/change"] == [(2, report.gate.change)]
    assert found["4_gate/keeps_federated"] == [(2, float(report.gate.kept == "federated"))]
    assert tracked.final.data.tags["hocket.verdict"] == report.verdict.sentence


def test_a_report_that_cannot_be_read_has_no_metrics(finished: Federation, tmp_path: Path):
    """An older or damaged one holds nothing up: `hocket report` says what to do."""
    home = finished.moved(tmp_path / "f").home("P01")
    assert report_in(home)
    content = json.loads(report_file(home).read_text())
    for text in (json.dumps(content | {"format": 3}), "{"):
        report_file(home).write_text(text)
        assert report_in(home) is None
    report_file(home).unlink()
    assert report_in(home) is None


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
        "model_card.md",
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


def test_a_moved_home_finds_its_artifacts(tracked: Tracked, federation: Federation, tmp_path: Path):
    """Run, local run, model and registered version name files of the new place; their contents are there."""
    moved = member_of(federation.moved(tmp_path / "elsewhere"), "P01")
    assert relocate(moved.store_file)
    assert not relocate(moved.store_file)
    here, client = (moved.home.folder / "mlartifacts").as_uri(), client_of(moved)
    (run,) = runs_of(moved)
    (local,) = local_runs_of(moved)
    assert run.info.artifact_uri == f"{here}/{run.info.run_id}/artifacts"
    assert local.info.artifact_uri.startswith(here)
    assert artifacts(moved, run) == artifacts(tracked.member, tracked.final)
    (version,) = client.search_model_versions()
    place = client.get_model_version_download_uri(version.name, version.version)
    assert place.startswith(here)
    assert (Path(place.removeprefix("file://")) / "MLmodel").is_file()
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert model.artifact_location == place
    assert not relocate(tracked.member.store_file)


# ------------------------------------------------------------------------------------------------ the local models


def test_the_local_models_have_a_run_beside(tracked: Tracked):
    """Same experiment and names of charts, so that they compare; the report's local side."""
    (local,) = local_runs_of(tracked.member)
    report, found = read_report(tracked.member.home), curves(tracked.member, local)
    assert local.info.experiment_id == tracked.final.info.experiment_id
    assert local.info.status == "FINISHED"
    assert found["1_validation/average_precision"] == report.learning.average_precision.local  # type: ignore[union-attr]
    assert found["2_test/average_precision"] == [(2, report.summary.average_precision.local)]  # type: ignore[union-attr]
    assert set(found) <= set(tracked.final.data.metrics)
    assert sum(int(n) for key, n in local.data.params.items() if key.startswith("kinds.")) == 2
    settings = {key: value for key, value in local.data.params.items() if "." in key and not key.startswith("kinds.")}
    assert settings.items() <= tracked.final.data.params.items()


def test_constants_are_parameters(tracked: Tracked):
    """Sizes of data and messages are no charts."""
    records = read_records(tracked.member.home.metrics)
    first = records[1].metrics["upload_bytes"]
    assert tracked.final.data.params["upload_bytes"] == str(first)
    assert tracked.final.data.params["n_compounds"] == str(records[0].metrics["n_compounds"])
    assert not [key for key in tracked.final.data.metrics if key.startswith(("8_", "9_data"))]


def test_the_registered_model_has_a_card_and_an_alias(tracked: Tracked):
    """The version that the gate keeps has the alias; its description names the tasks; the run has the whole card."""
    client = client_of(tracked.member)
    (model,) = client.search_registered_models()
    version = client.get_model_version_by_alias(model.name, "kept")
    assert version.tags["hocket.kept"] == read_report(tracked.member.home).gate.kept
    (path,) = (tracked.member.home.folder / "mlartifacts").rglob("model_card.md")
    assert path.read_text() == version.description
    assert "P01-A1" in path.read_text()


def test_a_card_that_changed_beyond_its_description_is_sent_again(tracked: Tracked, monkeypatch: pytest.MonkeyPatch):
    """Of a long card the description has only the beginning."""
    member = tracked.member
    (path,) = (member.home.folder / "mlartifacts").rglob("model_card.md")
    short = path.read_text()
    for whole in (f"{short}more", short):
        (run,) = runs_of(member)
        monkeypatch.setattr(report_sync, "model_card", lambda *_, whole=whole: ModelCard(whole, short))
        report_sync.log_report(member, client_of(member), run, report_digest(member.home), is_new=False)
        assert path.read_text() == whole


@pytest.mark.slow
def test_each_plan_has_its_own_run_of_local_models(finished: Federation, tmp_path: Path):
    """As each has its own run; only a revision goes on with both."""
    before = member_of(finished.moved(tmp_path / "f"), "P01")
    sync(before, client_of(before))
    rounds = before.plan.rounds.model_copy(update={"local_steps": 7})
    other = replace(before, plan=before.plan.model_copy(update={"rounds": rounds}))
    assert other.plan.digest != before.plan.digest
    sync(other, client_of(other))
    digests = {before.plan.digest, other.plan.digest}
    assert {run.data.tags["hocket.plan"] for run in runs_of(other)} == digests
    assert {run.data.tags["hocket.plan"] for run in local_runs_of(other)} == digests


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
    for run in (tracked.final, aggregator[1], *local_runs_of(tracked.member)):
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    once = {key for key in run.data.params if "." not in key}
    assert once == AGGREGATOR_FACTS_ONCE
    assert {key.split(".")[0] for key in set(run.data.params) - once} == SETTINGS
    assert local_runs_of(member) == []
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
    assert tracking_store.experiment_of(member, Slower(client_of(member))) == expected  # type: ignore[arg-type]


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
