"""Serve MLflow's pages of a member's store for `hocket ui`, to browsers that open the printed address.

MLflow has no login, so the address contains a token.
"""

import json
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from secrets import token_urlsafe
from urllib.error import HTTPError
from urllib.parse import quote

from pipeline.errors import ConfigError
from pipeline.plan.member_configs import role_in
from pipeline.runtime.redact import without_password
from pipeline.tracking import local_server
from pipeline.tracking.descriptions import experiment_name
from pipeline.tracking.local_server import HOST, ask, check_home, show
from pipeline.tracking.tracker import TrackedMember, read_member

# gunicorn with MLflow's pages alone: MLflow's default server adds an assistant that runs shell commands on request, and
# a dozen processes for jobs
_SERVER = ("--workers", "1", "--threads", "4", "--worker-class", "gthread", "--no-control-socket")
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
    "GUNICORN_CMD_ARGS": "",  # the user's arguments might log every address, with the token
}


@dataclass(frozen=True, slots=True)
class _Address:
    """Port and token of the server."""

    port: int
    token: str = field(default_factory=lambda: token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie, with the port: a browser has one set of cookies for all ports of a host."""
        return f"hocket-ui-{self.port}"

    def ask(self, path: str, timeout_s: float) -> bytes:
        """Get a page of the server. Raises HTTPError, URLError and OSError."""
        return ask(self.port, path, {"Cookie": f"{self.cookie}={self.token}"}, timeout_s)

    def url(self, page: str) -> str:
        """URL of a page, to be opened in a browser; the part after # survives the redirect that removes the token."""
        return f"http://{HOST}:{self.port}/?token={self.token}#{page}"


def serve_ui(config_file: Path, port: int) -> None:
    """Bring the store up to date, serve it, print the experiment's URL, and end at a signal.

    Raises ConfigError for a store that is a server already, a missing home, a port in use, or a server that does not
    start.
    """
    member = read_member(config_file, role_in(config_file))
    if member.store.startswith("http"):
        raise ConfigError(f"{config_file}: the store is a server already, open {without_password(member.store)}")
    check_home(member, config_file)
    address = _Address(port)
    with local_server.ended_by_signals(), local_server.listener_on(port) as listener:
        local_server.bring_up_to_date(member, "records")
        with _server(member, address, listener) as process:
            show(f"{member.config.name}: {address.url(_experiment_page(member, address))}")
            local_server.wait_for_end(process, _log_file(member))


def _log_file(member: TrackedMember) -> Path:
    return member.home.folder / "ui.log"


def _server(
    member: TrackedMember, address: _Address, listener: socket.socket
) -> "AbstractContextManager[subprocess.Popen[bytes]]":
    command = [sys.executable, "-P", "-m", "gunicorn", *_SERVER]
    command += ["--bind", f"fd://{listener.fileno()}", "pipeline.tracking.ui_pages:pages()"]
    return local_server.running(
        command,
        listener,
        lambda: address.ask("/health", timeout_s=5),
        home=member.home.folder,
        log_file=_log_file(member),
        more=_SETTINGS | _secrets(member, address),
    )


def _secrets(member: TrackedMember, address: _Address) -> dict[str, str]:
    """Environment variables with the token, and the store's URI, which may contain a password.

    `mlflow server` gives MLflow's two variables to its workers too.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": member.store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(member.home.folder / "mlartifacts"),
        "HOCKET_UI_COOKIE": address.cookie,
        "HOCKET_UI_TOKEN": address.token,
    }


def _experiment_page(member: TrackedMember, address: _Address) -> str:
    """Page of the federation's runs; without `workflowType` MLflow would open its pages for language models."""
    query = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment_name(member.plan))}"
    try:
        number = json.loads(address.ask(query, timeout_s=60))["experiment"]["experiment_id"]
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return "/experiments?workflowType=machine_learning"
    return f"/experiments/{number}/runs?workflowType=machine_learning"
