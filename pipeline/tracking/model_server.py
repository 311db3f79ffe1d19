"""The server process of `hocket serve`: `python -m pipeline.tracking.model_server DESCRIPTOR`, an inherited listener.

It is the application of `mlflow models serve` without an environment manager, each request checked for the token.
"""

import os
import socket
import sys

import mlflow
import uvicorn
from mlflow.pyfunc import scoring_server

from pipeline.tracking.bearer_door import BearerDoor
from pipeline.tracking.serve import MODEL, STORE, TOKEN


def door() -> BearerDoor:
    """Load the model from the store's registry, and make the application that serves it behind the token check."""
    store = os.environ[STORE]
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    model = mlflow.pyfunc.load_model(os.environ[MODEL])
    return BearerDoor(scoring_server.init(model), os.environ.pop(TOKEN))


def main(descriptor: int) -> None:
    """Serve until the process is ended; the listener is bound already."""
    config = uvicorn.Config(door(), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
