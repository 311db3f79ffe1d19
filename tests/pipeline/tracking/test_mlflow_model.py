"""The finished model in MLflow: logged, registered and loaded, and the same as `hocket predict`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.model.description import Description
from pipeline.tracking.mlflow_model import describe_version, pack_final_model, registered_version, registry_name
from pipeline.tracking.tracker import QUIET, TrackedMember, model_edition, note_all_sent, read_member, report_digest
from pipeline.tracking.uploads import send
from tests.support.cli_runner import hocket
from tests.support.data_prep.new_assay_tables import write_new_assays
from tests.support.federation import AGGREGATOR, Federation
from tests.support.partner_tables import SMILES


class Store:
    """A partner's store with its finished run."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        import mlflow  # noqa: PLC0415 -- seconds to import

        self.federation = federation
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        self.artifacts = folder / "artifacts"
        experiment = self.client.create_experiment("small", artifact_location=self.artifacts.as_uri())
        self.run_id = self.client.create_run(experiment).info.run_id
        self.folder = federation.home("P01").model
        self.log()
        self.name = registry_name(Description.read(self.folder))

    def log(self) -> None:
        """Log the model as at the end of a run."""
        if model := pack_final_model(self.folder, self.uri, self.run_id):
            send(model.uploads(), self.artifacts.with_name("sent.json"), self.run_id)
            model.register()

    def describe(self) -> None:
        """Describe the version that is the model in the home."""
        version = registered_version(self.client, Description.read(self.folder), self.run_id)
        assert version
        describe_version(self.client, version, "card")

    def versions(self) -> list[Any]:
        """Registered versions of the partner's model."""
        return list(self.client.search_model_versions(f"name = '{self.name}'"))

    def load(self, version: int = 1) -> Any:  # noqa: ANN401 -- MLflow's model
        """The registered model as a user loads it."""
        import mlflow  # noqa: PLC0415

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        return mlflow.pyfunc.load_model(f"models:/{self.name}/{version}")


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The environment of the tracking process: no telemetry, few messages; what MLflow sets does not stay."""
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
def finished(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """This module's copy: logging packs the model in the home, and predictions add to the cache of structures."""
    return finished.moved(tmp_path_factory.mktemp("model") / "federation")


@pytest.fixture(scope="module")
def store(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with P01's model."""
    return Store(finished, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def expected(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Predictions of `hocket predict --format wide` for some structures."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "new.smi").write_text("".join(f"{smiles} n{i}\n" for i, smiles in enumerate(SMILES[:20])))
    command = ("predict", finished.config("P01"), folder / "new.smi", "--format", "wide")
    assert hocket(*command, "--output", folder / "out.parquet").exit_code == 0
    return pl.read_parquet(folder / "out.parquet").drop("input_row", "input_compound_id")


def frame(smiles: list[str | None]) -> Any:  # noqa: ANN401 -- pandas
    """Input of the model."""
    return pl.DataFrame({"smiles": smiles}, schema={"smiles": pl.String}).to_pandas()


def test_it_is_registered_once_for_its_run(store: Store) -> None:
    """A version by federation and member that belongs to the run; logging again adds nothing."""
    assert store.name == "small-abababab-P01"
    (found,) = store.versions()
    assert found.run_id == store.run_id
    store.log()
    assert len(store.versions()) == 1
    assert sorted(path.name for path in store.folder.parent.glob(".model*")) == []


def test_it_says_what_goes_in_and_comes_out(store: Store, expected: pl.DataFrame) -> None:
    """The model has a signature, a public example, and requirements with one version each."""
    info = store.load().metadata
    assert info.get_input_schema().input_names() == ["smiles"]
    assert info.get_output_schema().input_names() == ["reason", *expected.columns]
    (folder,) = (path.parent for path in store.artifacts.rglob("MLmodel"))
    example = json.loads((folder / "input_example.json").read_text())
    assert "CC(=O)Oc1ccccc1C(=O)O" in json.dumps(example)
    requirements = (folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements if not line.startswith("mlflow"))
    assert {"torch", "rdkit", "crepes"} <= {line.split("==")[0] for line in requirements}


def test_nothing_of_it_is_a_pickle(store: Store) -> None:
    """Weights in safetensors, JSON and text: no pickle, no copy of our code, and only the kept model."""
    names = {path.name for path in store.artifacts.rglob("*") if path.is_file()}
    assert {"federated.safetensors", "compounds.safetensors", "model.json"} <= names
    assert "local.safetensors" not in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".bin", ".py"))]
    (settings,) = (path.read_text() for path in store.artifacts.rglob("MLmodel"))
    assert "loader_module: pipeline.tracking.mlflow_model" in settings
    assert "code: null" in settings


def test_it_agrees_with_hocket_predict(store: Store, expected: pl.DataFrame) -> None:
    """Loaded from the registry it gives the same bits, column by column."""
    found = store.load().predict(frame(list(SMILES[:20])))
    assert found["reason"].isna().all()
    for name in expected.columns:
        assert found[name].tolist() == expected[name].to_list()  # None where nothing can be said


def test_rows_keep_their_place(store: Store, expected: pl.DataFrame) -> None:
    """A structure that cannot be used has its reason and no numbers; the others are as without it."""
    model = store.load()
    found = model.predict(frame([SMILES[3], "C1CC", None, SMILES[4]]))
    assert found["reason"].iloc[[1, 2]].tolist() == ["unparsable", "empty"]
    assert found["reason"].iloc[[0, 3]].isna().all()
    assert found["similarity"].isna().tolist() == [False, True, True, False]
    assert found["similarity"].iloc[[0, 3]].tolist() == expected["similarity"].to_list()[3:5]
    domain = [name for name in found.columns if name.endswith(".in_domain")]
    assert not found[domain].iloc[[1, 2]].to_numpy().any()
    assert len(model.predict(frame([]))) == 0


def test_new_assays_make_a_second_version(done: Federation, tmp_path: Path) -> None:
    """The first stays as it is; the second predicts the new assays as `hocket predict` does, and is logged once."""
    mine = Store(done, tmp_path)
    smiles = list(SMILES[:9])
    before = mine.load().predict(frame(smiles))
    mine.describe()
    assert mine.client.get_model_version_by_alias(mine.name, "kept").version == 1
    member = read_member(done.config("P01"), "partner")
    member.store_file.touch()
    note_all_sent(member.home, "1", report=report_digest(member.home), model="")
    assert member.all_sent
    tables = write_new_assays(tmp_path / "new", {"X1": 40})
    with pytest.MonkeyPatch.context() as patch:
        sent: list[TrackedMember] = []
        patch.setattr("pipeline.tracking.tracker.send_rest", lambda one: not sent.append(one))
        assert hocket("extend", done.config("P01"), *tables.options).exit_code == 0
    assert len(sent) == 1
    assert not member.all_sent
    for _ in range(2):
        mine.log()
        assert [one.version for one in mine.versions()] == [2, 1]
    mine.describe()
    assert mine.client.get_model_version_by_alias(mine.name, "kept").version == 2
    note_all_sent(member.home, "1", report=report_digest(member.home), model=model_edition(member.home))
    assert member.all_sent
    after = mine.load(2).predict(frame(smiles))
    assert mine.load().predict(frame(smiles)).equals(before)
    assert after[before.columns].equals(before)
    (tmp_path / "new.smi").write_text("".join(f"{text} n{i}\n" for i, text in enumerate(smiles)))
    command = ("predict", done.config("P01"), tmp_path / "new.smi", "--format", "wide", "--tasks", "X1")
    assert hocket(*command, "--output", tmp_path / "out.parquet").exit_code == 0
    expected = pl.read_parquet(tmp_path / "out.parquet").drop("input_row", "input_compound_id")
    for name in expected.columns:
        assert after[name].tolist() == expected[name].to_list()


@pytest.mark.parametrize("is_tagged", [True, False])
def test_the_other_model_is_a_second_version(done: Federation, tmp_path: Path, *, is_tagged: bool) -> None:
    """If the gate keeps the other model now, the alias goes to its weights and back; the first version stays as it is.

    Also if the first was logged by a version of hocket that did not tag it.
    """
    mine = Store(done, tmp_path)
    before = {path: path.read_bytes() for path in mine.artifacts.rglob("*") if path.is_file()}
    if not is_tagged:
        (logged,) = mine.client.search_logged_models([mine.client.get_run(mine.run_id).info.experiment_id])
        mine.client.delete_logged_model_tag(logged.model_id, "hocket.kept")
    description = Description.read(mine.folder)
    assert description.kept == "federated"
    for kept, number in (("local", 2), ("federated", 1), ("local", 2)):
        description.model_copy(update={"kept": kept}).write(mine.folder)
        mine.log()
        mine.describe()
        version = mine.client.get_model_version_by_alias(mine.name, "kept")
        assert (version.version, version.tags["hocket.kept"]) == (number, kept)
        weights = mine.artifacts.rglob(f"{kept}.safetensors")
        assert [path for path in weights if version.source.removeprefix("models:/") in path.parts]
    assert len(mine.versions()) == 2
    assert {path: path.read_bytes() for path in before} == before


def test_an_aggregator_has_no_model(finished: Federation, store: Store) -> None:
    """The aggregator's home has no model to log."""
    assert pack_final_model(finished.home(AGGREGATOR).model, store.uri, store.run_id) is None
    assert len(list(store.client.search_registered_models())) == 1
