"""Log a partner's finished model to its MLflow run as a pyfunc, and register it.

It is as private as the home's model folder, so the store must be the partner's own. MLflow loads it through this module
of the installed package; nothing is unpickled.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.model.description import (
    COMPOUNDS_FILE,
    DESCRIPTION_FILE,
    Description,
    output_columns,
    weights_file,
)
from pipeline.tracking.descriptions import KEPT, PLAN, registered_name
from pipeline.tracking.uploads import Upload
from secure.files import atomic_folder
from secure.messages.provenance import PROVENANCE_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from pipeline.tracking.served_model import ServedModel

# packages that a served model imports; pinned to the versions installed here
# not hocket itself: an index may have another package of this name
_PACKAGES = (
    "numpy",
    "scipy",
    "rdkit",
    "polars",
    "joblib",
    "torch",
    "crepes",
    "safetensors",
    "pydantic",
    "rich",
)
_NAME = "model"  # of the run's model
_LAST = "MLmodel"  # MLflow's description of a model's folder, without which the folder is no model
_EDITION = "hocket.edition"  # tag of a model and its version: which assays `hocket extend` had added
_KEPT = "hocket.kept"  # tag of both: whether it is the federated or the strongest local model
_EXAMPLES = ["CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]  # aspirin and caffeine: public compounds


@dataclass(frozen=True, slots=True)
class PackedModel:
    """The model to be logged, in MLflow's layout, in a folder that is removed when the model is registered."""

    folder: Path
    model_id: str
    name: str  # in the registry
    tags: dict[str, str]
    client: "MlflowClient"

    def uploads(self) -> list[Upload]:
        """The model's files to send, MLmodel last."""
        files = sorted(
            (path for path in self.folder.rglob("*") if path.is_file()), key=lambda path: (path.name == _LAST, path)
        )
        return [
            Upload(path, f"{self.model_id}/{path.relative_to(self.folder)}", self._send_call(path)) for path in files
        ]

    def _send_call(self, path: Path) -> Callable[[], None]:
        parent = str(path.relative_to(self.folder).parent)
        return partial(self.client.log_model_artifact, self.model_id, str(path), None if parent == "." else parent)

    def register(self) -> None:
        """Register the model as a new version, after all files are sent, and remove the folder."""
        import mlflow  # noqa: PLC0415 -- seconds to import, only in the tracking process

        self.client.finalize_logged_model(self.model_id, "READY")
        mlflow.register_model(f"models:/{self.model_id}", self.name, tags=self.tags)
        shutil.rmtree(self.folder)


def registry_name(description: Description) -> str:
    """Name of the model in the registry."""
    return registered_name(description.federation, description.federation_id, description.partner)


def registered_version(client: "MlflowClient", description: Description, run_id: str) -> "ModelVersion | None":
    """The version in the registry that is the run's model as the description has it; None if it is not registered."""
    versions = client.search_model_versions(f"name = '{registry_name(description)}'")
    same = (one for one in versions if one.run_id == run_id and _has_tags_of(description, one.tags))
    return next(same, None)


def _has_tags_of(description: Description, tags: Mapping[str, str]) -> bool:
    """Whether a model with these tags is of the same plan, has the same added assays and is the same of both models.

    Models of versions of hocket that did not set a tag are taken to be the same.
    """
    return all(tags.get(tag, "" if tag == _EDITION else value) == value for tag, value in _tags(description).items())


def _tags(description: Description) -> dict[str, str]:
    """Tags of a model and its version."""
    return {_EDITION: description.edition, _KEPT: description.kept, PLAN: description.plan}


def describe_version(client: "MlflowClient", version: "ModelVersion", card: str) -> None:
    """Describe a version by its card, and give it the alias of what the gate keeps."""
    model = client.get_registered_model(version.name)
    if str(model.aliases.get(KEPT)) != str(version.version):  # numbers or texts, depending on the store
        client.set_registered_model_alias(version.name, KEPT, version.version)
    if version.description != card:
        client.update_model_version(version.name, version.version, card)


def pack_final_model(folder: Path, store: str, run_id: str) -> PackedModel | None:
    """Pack the model in `folder` in MLflow's layout, unless an earlier start has done so.

    store : MLflow's tracking URI, which is its registry too
    A model with other added assays is packed too, as a model of its own, and so is the other model if the gate keeps
    that now. None if the run has this one already, or the home has none, as the aggregator's.
    """
    if not folder.exists():
        return None
    import mlflow  # noqa: PLC0415 -- seconds to import, only in the tracking process

    description = Description.read(folder)
    name = registry_name(description)
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    packed = folder.with_name("model.packed")  # in the home, which other accounts cannot read
    if registered_version(client, description, run_id):
        shutil.rmtree(packed, ignore_errors=True)  # the process was killed after registering it
        return None
    logged = _logged_model(client, run_id, description)
    if not (packed / _LAST).exists() or mlflow.models.Model.load(str(packed)).model_id != logged.model_id:
        with atomic_folder(packed) as unfinished, _needed(folder, description) as needed:
            _save(needed, unfinished, description, logged)
    return PackedModel(packed, logged.model_id, name, _tags(description), client)


@contextmanager
def _needed(folder: Path, description: Description) -> Iterator[Path]:
    """A folder with links to those files of the model that go to MLflow, which copies them."""
    needed = folder.with_name(".model.logged")  # always this name, so that one left by a killed process is removed
    shutil.rmtree(needed, ignore_errors=True)
    needed.mkdir(mode=0o700)
    try:
        added = (one.file for one in description.added)
        for file in (DESCRIPTION_FILE, COMPOUNDS_FILE, weights_file(description.kept), *added):
            (needed / file).symlink_to((folder / file).resolve())
        if (folder / PROVENANCE_FILE).exists():  # models of earlier versions have none
            (needed / PROVENANCE_FILE).symlink_to((folder / PROVENANCE_FILE).resolve())
        yield needed
    finally:
        shutil.rmtree(needed, ignore_errors=True)


def _logged_model(client: "MlflowClient", run_id: str, description: Description) -> "LoggedModel":
    """The run's logged model as the description has it, created if it is not in the store.

    One that a registered version has, which is another model then, is left as it is.
    """
    from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 -- MLflow takes seconds to import

    run = client.get_run(run_id)
    experiment, mine = run.info.experiment_id, f"source_run_id = '{run_id}' AND name = '{_NAME}'"
    models = client.search_logged_models([experiment], filter_string=mine)
    versions = client.search_model_versions(f"name = '{registry_name(description)}'")
    registered = {version.source for version in versions}
    unregistered = (model for model in models if f"models:/{model.model_id}" not in registered)
    logged = next((model for model in unregistered if _has_tags_of(description, model.tags)), None)
    if logged is None:
        logged = client.create_logged_model(experiment, name=_NAME, source_run_id=run_id, tags=_tags(description))
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged


def _save(needed: Path, unfinished: Path, description: Description, logged: "LoggedModel") -> None:
    import mlflow  # noqa: PLC0415
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    from data_prep.prediction.prediction_files import Texts, as_pandas  # noqa: PLC0415 -- polars: not at an aggregator

    numbers = [ColSpec(kind, column) for column, kind in output_columns(description).items()]
    mlflow.pyfunc.save_model(
        path=str(unfinished),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=logged.source_run_id,
            model_id=logged.model_id,
        ),
        loader_module=__name__,
        data_path=str(needed),
        signature=ModelSignature(
            inputs=Schema([ColSpec("string", "smiles")]),
            outputs=Schema([ColSpec("string", "reason", required=False), *numbers]),
        ),
        input_example=as_pandas({"smiles": Texts(_EXAMPLES)}),
        pip_requirements=[f"{package}=={version(package)}" for package in _PACKAGES],
    )


def _load_pyfunc(data_path: str) -> "ServedModel":
    """Load the model; MLflow calls this function by its name."""
    from pipeline.tracking.served_model import ServedModel  # noqa: PLC0415 -- torch and rdkit, not to log a model

    return ServedModel(Path(data_path))
