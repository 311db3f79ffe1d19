"""`hocket ui`: MLflow's pages on a member's store, for this machine's user alone, until they are stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

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
# asks on this machine, and a dozen processes for jobs
_SERVER = ("--workers", "1", "--gunicorn-opts", "--threads 4 --worker-class gthread --no-control-socket")
_NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
_LOCAL = build_opener(ProxyHandler({}))  # whatever proxy the machine has


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
    _check_free(port)
    try:
        with _interruptible():
            if not send_rest(member):
                _say(f"the store may lack the latest records; why: {home / 'tracking.log'}", error=True)
            with _server(member, port) as process:
                _say(f"{member.config.name}: {_experiment_url(member, port)}")
                _say("MLflow serves this until Ctrl-C", error=True)
                process.wait()
                raise _ended(member, process)
    except KeyboardInterrupt:
        return  # as asked


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago is free
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            refused = ConfigError(f"port {port}: cannot be used: {error.strerror}")
            refused.add_note("give another one: --port")
            raise refused from error


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
def _server(member: TrackedMember, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server once it answers; it and all its children end with the block."""
    home = member.home.folder
    command = [sys.executable, "-P", "-m", "mlflow", "server", *_SERVER]
    command += ["--no-serve-artifacts", "--default-artifact-root", str(home / "mlartifacts")]
    command += ["--host", _HOST, "--port", str(port)]
    with (home / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment() | _NO_JOBS | {"MLFLOW_BACKEND_STORE_URI": member.store},  # a command line is seen by all
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # one group to end, and Ctrl-C reaches it through us alone
        )
    try:
        _wait_until_it_answers(member, process, port)
        yield process
    finally:
        _end(process)


def _wait_until_it_answers(member: TrackedMember, process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with _LOCAL.open(f"http://{_HOST}:{port}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(_LOOK_S)
    raise _ended(member, process)


def _ended(member: TrackedMember, process: "subprocess.Popen[bytes]") -> ConfigError:
    log = member.home.folder / "ui.log"
    how = "does not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    error = ConfigError(f"MLflow's server {how}; its log is {log}")
    for line in log.read_text(errors="replace").splitlines()[-3:]:
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


def _experiment_url(member: TrackedMember, port: int) -> str:
    """Page of the federation's runs; without the last part MLflow would open its pages for language models."""
    server = f"http://{_HOST}:{port}"
    query = f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment_name(member.plan))}"
    try:
        with _LOCAL.open(query, timeout=60) as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return f"{server}/#/experiments?workflowType=machine_learning"
    return f"{server}/#/experiments/{number}/runs?workflowType=machine_learning"


def _say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)
