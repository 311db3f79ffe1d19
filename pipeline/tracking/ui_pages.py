"""What the server of `hocket ui` serves: MLflow's pages behind a door, and nothing without it."""

import os
from wsgiref.types import WSGIApplication

from mlflow.server import app
from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from mlflow.server.handlers import initialize_backend_stores

from pipeline.tracking.token_door import TokenDoor


def pages() -> WSGIApplication:
    """Return the application; called by gunicorn, in the server's process, which `pipeline.ui` starts."""
    store, artifacts = (os.environ[name] for name in (BACKEND_STORE_URI_ENV_VAR, ARTIFACT_ROOT_ENV_VAR))
    initialize_backend_stores(store, store, artifacts)
    return TokenDoor(app, os.environ["HOCKET_UI_COOKIE"], os.environ.pop("HOCKET_UI_TOKEN"))
