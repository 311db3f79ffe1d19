"""A server process of MLflow on 127.0.0.1: bind its port, start it, wait until it answers, end it.

127.0.0.1 is open to every account of the machine, so every server has a token, which its process gets by the
environment: only its own account can read that, unlike a command line.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from pipeline.errors import ConfigError
from pipeline.tracking.tracker import TrackedMember, environment, relocate_store, send_rest

HOST = "127.0.0.1"
_LONGEST_START_S = 300.0  # MLflow takes some ten seconds, more on a slow disk
_LOOK_S = 0.2
_LONGEST_END_S = 10.0
_N_LINES = 3  # of the log, shown if the server ends
NO_MODEL = 4  # exit code of the server of `hocket serve` if the store has no such model
_LOCAL = build_opener(ProxyHandler({}))  # never through the machine's proxy


def show(text: str, *, error: bool = False) -> None:
    """Print a line at once, for who reads from a pipe; error : on standard error."""
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


class ServerEnded(ConfigError):
    """A server ended or does not answer; its exit code is None if it is still there."""

    def __init__(self, message: str, server_code: int | None) -> None:
        super().__init__(message)
        self.server_code = server_code


def check_home(member: TrackedMember, config_file: Path) -> None:
    """Raise ConfigError if the home of the member with this configuration is missing."""
    home = member.home.folder
    if not home.is_dir():
        error = ConfigError(f"{home}: no such folder, expected the home of {member.config.name}")
        error.add_note(f"`hocket {member.role} run {config_file}` makes it")
        raise error


def listener_on(port: int) -> socket.socket:
    """Bind the port before MLflow starts: another account that bound it meanwhile would receive the token.

    Raises ConfigError for a port in use.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # allow a port that was in use a moment ago
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        refused = ConfigError(f"port {port}: cannot be used: {error.strerror}")
        refused.add_note("give another one: --port")
        raise refused from error
    return listener


def ask(port: int, path: str, headers: Mapping[str, str], timeout_s: float) -> bytes:
    """Get a page of the server. Raises HTTPError, URLError and OSError."""
    request = Request(f"http://{HOST}:{port}{path}", headers=dict(headers))
    with _LOCAL.open(request, timeout=timeout_s) as answer:
        content: bytes = answer.read()
    return content


def bring_up_to_date(member: TrackedMember, latest: str) -> None:
    """Send to the store what it does not have yet, and warn if that fails; latest : what it may then lack.

    Raises ConfigError for a database that cannot be used.
    """
    relocate_store(member)
    if not send_rest(member):
        show(f"the store may lack the latest {latest}; why: {member.home.folder / 'tracking.log'}", error=True)


def wait_for_end(process: "subprocess.Popen[bytes]", log_file: Path) -> NoReturn:
    """Wait until a signal ends this process; raises ServerEnded if the server ends before."""
    show("MLflow serves this until Ctrl-C", error=True)
    process.wait()
    raise server_ended(process, log_file)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Context that Ctrl-C, SIGTERM and SIGHUP end without an error."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        return  # as asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def running(
    command: Sequence[str],
    listener: socket.socket,
    answers: Callable[[], object],
    *,
    home: Path,
    log_file: Path,
    more: Mapping[str, str],
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server on the listener's socket, wait until it answers, and end it when the block ends.

    answers : a request to the server; raises URLError or OSError while it does not answer
    more    : environment variables, secrets among them
    Raises ServerEnded, with the last lines of its log, for a server that does not start.
    """
    with open(log_file, "wb", opener=_private) as log, listener:  # closed here after the server has inherited it
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment() | dict(more),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            umask=0o077,
            start_new_session=True,  # a process group that can be ended, and that Ctrl-C does not reach directly
        )
    try:
        _wait_until_it_answers(process, answers, log_file)
        yield process
    finally:
        _end(process)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", answers: Callable[[], object], log_file: Path) -> None:
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            answers()
        except (URLError, OSError):
            time.sleep(_LOOK_S)
        else:
            return
    raise server_ended(process, log_file)


def server_ended(process: "subprocess.Popen[bytes]", log_file: Path) -> ServerEnded:
    """The error of a server that ended or does not answer, with the last lines of its log."""
    how = "does not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    error = ServerEnded(f"MLflow's server {how}; its log is {log_file}", process.returncode)
    lines = log_file.read_text(errors="replace").splitlines()
    for line in [line for line in lines if not line.startswith("[")][-_N_LINES:]:  # gunicorn's own begin with [
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
