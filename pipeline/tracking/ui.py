"""`hocket ui`: MLflow's pages on a member's store, for whoever has the address that it prints, until they are stopped.

127.0.0.1 is open to every account of a machine, and MLflow asks nobody who he is, so its pages stand behind a token.
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
_LONGEST_START_S = 300.0  # MLflow takes some ten seconds, more where the disk is slow
_LOOK_S = 0.2
_LONGEST_END_S = 10.0
# gunicorn serves MLflow's own pages only: its default server adds an assistant that runs shell commands for whoever
# asks, and a dozen processes for jobs
_SERVER = ("--workers", "1", "--threads", "4", "--worker-class", "gthread", "--no-control-socket")
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
    "GUNICORN_CMD_ARGS": "",  # the user's own might log every address, with the token
}
_LOCAL = build_opener(ProxyHandler({}))  # whatever proxy the machine has


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the server listens, and the token that opens it."""

    port: int
    token: str = field(default_factory=lambda: token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie: a browser has one set of them for all ports, and several of these servers may run."""
        return f"hocket-ui-{self.port}"

    def ask(self, path: str, timeout_s: float) -> bytes:
        """Return what the server answers us. Raises HTTPError, URLError and OSError."""
        request = Request(f"http://{_HOST}:{self.port}{path}", headers={"Cookie": f"{self.cookie}={self.token}"})
        with _LOCAL.open(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
        return content

    def address(self, page: str) -> str:
        """Return the address of a page, for a person; what follows # stays when the server takes the token out."""
        return f"http://{_HOST}:{self.port}/?token={self.token}#{page}"


def serve_ui(config_file: Path, port: int) -> None:
    """Serve the store, after sending it what it does not have yet; print the experiment's URL; end at a signal.

    Raises ConfigError for a store that is a server already, a home that is not there, a port in use, and where the
    server does not start.
    """
    member = read_member(config_file, role_in(config_file))
    home = member.home.folder
    if member.store.startswith("http"):
        raise ConfigError(f"{config_file}: the store is a server already, open {without_password(member.store)}")
    if not home.is_dir():
        error = ConfigError(f"{home}: no such folder, expected the home of {member.config.name}")
        error.add_note(f"it is there after `hocket {member.role} run {config_file}`")
        raise error
    place = _Place(port)
    try:
        with _interruptible(), _listener(port) as listener:
            if not send_rest(member):
                _say(f"the store may lack the latest records; why: {home / 'tracking.log'}", error=True)
            with _server(member, place, listener) as process:
                _say(f"{member.config.name}: {place.address(_experiment_page(member, place))}")
                _say("MLflow serves this until Ctrl-C", error=True)
                process.wait()
                raise _ended(member, process)
    except KeyboardInterrupt:
        return  # as asked


def _listener(port: int) -> socket.socket:
    """Take the port at once: another account that took it while MLflow starts would be told the token."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago is free
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
    """SIGTERM and SIGHUP do what Ctrl-C does."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _server(member: TrackedMember, place: _Place, listener: socket.socket) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server once it answers, at a port that it inherits; it and all its children end with the block."""
    home = member.home.folder
    command = [sys.executable, "-P", "-m", "gunicorn", *_SERVER]
    command += ["--bind", f"fd://{listener.fileno()}", "pipeline.tracking.ui_pages:pages()"]
    with (home / "ui.log").open("wb") as log, listener:  # which is the server's alone from then on
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment() | _SETTINGS | _secrets(member, place),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # one group to end, and Ctrl-C reaches it through us alone
        )
    try:
        _wait_until_it_answers(member, process, place)
        yield process
    finally:
        _end(process)


def _secrets(member: TrackedMember, place: _Place) -> dict[str, str]:
    """What the server is told by its environment, which its own account alone can read; a command line is seen by all.

    The store's address may hold a password. `mlflow server` tells its workers both of MLflow's by the same names.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": member.store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(member.home.folder / "mlartifacts"),
        "HOCKET_UI_COOKIE": place.cookie,
        "HOCKET_UI_TOKEN": place.token,
    }


def _wait_until_it_answers(member: TrackedMember, process: "subprocess.Popen[bytes]", place: _Place) -> None:
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            place.ask("/health", timeout_s=5)
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
    for line in [line for line in lines if not line.startswith("[")][-3:]:  # gunicorn's own say which process ended
        error.add_note(line)
    return error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server's whole group, kindly first."""
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


def _experiment_page(member: TrackedMember, place: _Place) -> str:
    """Page of the federation's runs; without the last part MLflow would open its pages for language models."""
    query = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment_name(member.plan))}"
    try:
        number = json.loads(place.ask(query, timeout_s=60))["experiment"]["experiment_id"]
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return "/experiments?workflowType=machine_learning"
    return f"/experiments/{number}/runs?workflowType=machine_learning"


def _say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)
