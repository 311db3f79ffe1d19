"""The application of `hocket ui`'s server: MLflow's pages, each request checked for the token."""

import os
from wsgiref.types import WSGIApplication

from mlflow.server import app
from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from mlflow.server.handlers import initialize_backend_stores

from pipeline.tracking.token_door import TokenDoor


def pages() -> WSGIApplication:
    """Make the application; gunicorn calls this in the server's process (pipeline.tracking.ui)."""
    store, artifacts = (os.environ[name] for name in (BACKEND_STORE_URI_ENV_VAR, ARTIFACT_ROOT_ENV_VAR))
    initialize_backend_stores(store, store, artifacts)
    return TokenDoor(app, os.environ["HOCKET_UI_COOKIE"], os.environ.pop("HOCKET_UI_TOKEN"))
