"""Serve MLflow's pages of a member's store for `hocket ui`, to browsers that open the printed address.

127.0.0.1 is open to every account of the machine, and MLflow has no login, so the address contains a token.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from secrets import token_urlsafe
from types import FrameType
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from pipeline.errors import ConfigError
from pipeline.plan.member_configs import role_in
from pipeline.runtime.redact import without_password
from pipeline.tracking.descriptions import experiment_name
from pipeline.tracking.tracker import TrackedMember, environment, read_member, send_rest

_HOST = "127.0.0.1"
_LONGEST_START_S = 300.0  # MLflow takes some ten seconds, more on a slow disk
_LOOK_S = 0.2
_LONGEST_END_S = 10.0
# gunicorn with MLflow's pages alone: MLflow's default server adds an assistant that runs shell commands on request, and
# a dozen processes for jobs
_SERVER = ("--workers", "1", "--threads", "4", "--worker-class", "gthread", "--no-control-socket")
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
    "GUNICORN_CMD_ARGS": "",  # the user's arguments might log every address, with the token
}
_LOCAL = build_opener(ProxyHandler({}))  # never through the machine's proxy


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
        request = Request(f"http://{_HOST}:{self.port}{path}", headers={"Cookie": f"{self.cookie}={self.token}"})
        with _LOCAL.open(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
        return content

    def url(self, page: str) -> str:
        """URL of a page, to be opened in a browser; the part after # survives the redirect that removes the token."""
        return f"http://{_HOST}:{self.port}/?token={self.token}#{page}"


def serve_ui(config_file: Path, port: int) -> None:
    """Bring the store up to date, serve it, print the experiment's URL, and end at a signal.

    Raises ConfigError for a store that is a server already, a missing home, a port in use, or a server that does not
    start.
    """
    member = read_member(config_file, role_in(config_file))
    home = member.home.folder
    if member.store.startswith("http"):
        raise ConfigError(f"{config_file}: the store is a server already, open {without_password(member.store)}")
    if not home.is_dir():
        error = ConfigError(f"{home}: no such folder, expected the home of {member.config.name}")
        error.add_note(f"`hocket {member.role} run {config_file}` makes it")
        raise error
    address = _Address(port)
    try:
        with _interruptible(), _listener(port) as listener:
            if not send_rest(member):
                _print(f"the store may lack the latest records; why: {home / 'tracking.log'}", error=True)
            with _server(member, address, listener) as process:
                _print(f"{member.config.name}: {address.url(_experiment_page(member, address))}")
                _print("MLflow serves this until Ctrl-C", error=True)
                process.wait()
                raise _ended(member, process)
    except KeyboardInterrupt:
        return  # as asked


def _listener(port: int) -> socket.socket:
    """Bind the port before MLflow starts: another account that bound it meanwhile would receive the token."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # allow a port that was in use a moment ago
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        refused = ConfigError(f"port {port}: cannot be used: {error.strerror}")
        refused.add_note("give another one: --port")
        raise refused from error
    return listener


@contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _server(member: TrackedMember, address: _Address, listener: socket.socket) -> Iterator["subprocess.Popen[bytes]"]:
    """Start MLflow's server on the listener's port, wait until it answers, and end it when the block ends."""
    home = member.home.folder
    command = [sys.executable, "-P", "-m", "gunicorn", *_SERVER]
    command += ["--bind", f"fd://{listener.fileno()}", "pipeline.tracking.ui_pages:pages()"]
    with (home / "ui.log").open("wb") as log, listener:  # closed here after the server has inherited it
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment() | _SETTINGS | _secrets(member, address),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a process group that can be ended, and that Ctrl-C does not reach directly
        )
    try:
        _wait_until_it_answers(member, process, address)
        yield process
    finally:
        _end(process)


def _secrets(member: TrackedMember, address: _Address) -> dict[str, str]:
    """Environment variables with secrets for the server: only its own account can read them, unlike a command line.

    The store's URI may contain a password. `mlflow server` gives MLflow's two variables to its workers too.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": member.store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(member.home.folder / "mlartifacts"),
        "HOCKET_UI_COOKIE": address.cookie,
        "HOCKET_UI_TOKEN": address.token,
    }


def _wait_until_it_answers(member: TrackedMember, process: "subprocess.Popen[bytes]", address: _Address) -> None:
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            address.ask("/health", timeout_s=5)
        except (URLError, OSError):
            time.sleep(_LOOK_S)
        else:
            return
    raise _ended(member, process)


def _ended(member: TrackedMember, process: "subprocess.Popen[bytes]") -> ConfigError:
    log = member.home.folder / "ui.log"
    how = "does not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    error = ConfigError(f"MLflow's server {how}; its log is {log}")
    lines = log.read_text(errors="replace").splitlines()
    for line in [line for line in lines if not line.startswith("[")][
        -3:
    ]:  # without gunicorn's own lines about its processes
        error.add_note(line)
    return error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server's process group, with SIGTERM first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


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


def _print(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)
