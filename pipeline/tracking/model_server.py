"""The server process of `hocket serve`: `python -m pipeline.tracking.model_server DESCRIPTOR`, an inherited listener.

It is the application of `mlflow models serve` without an environment manager, each request checked for the token.
"""

import os
import socket
import sys

import mlflow
import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from pipeline.tracking.bearer_door import BearerDoor
from pipeline.tracking.descriptions import KEPT
from pipeline.tracking.local_server import NO_MODEL
from pipeline.tracking.serve import MODEL, STORE, TOKEN

# of MLflow's errors: no such model, or none with the alias
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def door() -> BearerDoor:
    """Load the model from the store's registry, and make the application that serves it behind the token check.

    Ends the process with the exit code NO_MODEL if the registry does not have it.
    """
    store, name = os.environ[STORE], os.environ[MODEL]
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    model = mlflow.pyfunc.load_model(f"models:/{name}/{_kept_version(name)}")
    return BearerDoor(scoring_server.init(model), os.environ.pop(TOKEN))


def _kept_version(name: str) -> str:
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(name, KEPT).version
    except MlflowException as error:
        if error.error_code in _NOT_THERE:
            sys.exit(NO_MODEL)
        raise
    return str(version)


def main(descriptor: int) -> None:
    """Serve until the process is ended; the listener is bound already."""
    config = uvicorn.Config(door(), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
