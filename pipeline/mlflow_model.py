"""The finished model in a partner's MLflow: logged to its run as a pyfunc, and registered.

It is as private as the home's model folder, of which it is a part; so the store must be the partner's own. MLflow loads
it through this module of the installed package; nothing is unpickled.
"""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.model_description import COMPOUNDS_FILE, DESCRIPTION_FILE, Description, output_columns, weights_file

if TYPE_CHECKING:
    from pipeline.served_model import ServedModel

# what the code of a served model imports; pinned as they are here
_PACKAGES = (
    "hocket",
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
_EXAMPLES = ["CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]  # aspirin and caffeine: public, nobody's compounds


def registered_name(description: Description) -> str:
    """Name of the model in the registry: federation and member, without blanks."""
    federation = description.federation.replace(" ", "_")
    return f"{federation}-{description.federation_id[:8]}-{description.partner}"


def log_final_model(folder: Path, store: str, run_id: str) -> None:
    """Log the kept model in `folder` to the run and register it as a new version; nothing where that was done before.

    store : MLflow's tracking URI, which is its registry too
    A home without a model, as the aggregator's, has none to log.
    """
    if not folder.exists():
        return
    import mlflow  # noqa: PLC0415 -- seconds to import, only in the tracking process

    description = Description.read(folder)
    name = registered_name(description)
    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    if any(found.run_id == run_id for found in client.search_model_versions(f"name = '{name}'")):
        return
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    mlflow.set_experiment(experiment_id=client.get_run(run_id).info.experiment_id)
    needed = folder.with_name(".model.logged")  # in the home, where nobody else can look; always this name, so that
    shutil.rmtree(needed, ignore_errors=True)  # what a killed process left is removed
    try:
        needed.mkdir(mode=0o700)
        for file in (DESCRIPTION_FILE, COMPOUNDS_FILE, weights_file(description.kept)):
            shutil.copyfile(folder / file, needed / file)
        _log(needed, description, name, run_id)
    finally:
        shutil.rmtree(needed, ignore_errors=True)


def _log(model: Path, description: Description, name: str, run_id: str) -> None:
    import mlflow  # noqa: PLC0415
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    from data_prep.prediction_files import Texts, as_pandas  # noqa: PLC0415 -- polars: not at an aggregator

    numbers = [ColSpec(kind, column) for column, kind in output_columns(description).items()]
    Model.log(
        artifact_path=None,
        name="model",
        flavor=mlflow.pyfunc,
        run_id=run_id,
        registered_model_name=name,
        loader_module=__name__,
        data_path=str(model),
        signature=ModelSignature(
            inputs=Schema([ColSpec("string", "smiles")]),
            outputs=Schema([ColSpec("string", "reason", required=False), *numbers]),
        ),
        input_example=as_pandas({"smiles": Texts(_EXAMPLES)}),
        pip_requirements=[f"{package}=={version(package)}" for package in _PACKAGES],
    )


def _load_pyfunc(data_path: str) -> "ServedModel":
    """MLflow's way in."""
    from pipeline.served_model import ServedModel  # noqa: PLC0415 -- torch and rdkit, not to log a model

    return ServedModel(Path(data_path))
