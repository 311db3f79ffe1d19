"""Tracking servers of every kind: real, failing, hanging, absent. All on this machine, gone with their block."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from pipeline.tracking.tracker import environment
from tests.support.waiting import wait_until

_PATIENCE_S = 300.0


class _Failing(BaseHTTPRequestHandler):
    def _fail(self) -> None:
        self.send_error(500)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _fail  # noqa: N815 -- the base class names them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        """Not to stderr."""


@contextmanager
def failing_server() -> Iterator[int]:
    """Port of a server whose every answer is 500."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def hanging_server() -> Iterator[int]:
    """Port on which every connection is accepted, by the system's queue, and nothing is ever answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield int(listener.getsockname()[1])


class _Half(_Failing):
    """Answers that it is well, and nothing else."""

    closing = threading.Event()

    def _wait(self) -> None:
        if self.path == "/health":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"OK")
        else:
            self.closing.wait()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _wait  # noqa: N815 -- the base class names them so


@contextmanager
def half_hanging_server() -> Iterator[int]:
    """Port of a server that says that it is well, and hangs when it is asked for anything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Half)
    _Half.closing.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        _Half.closing.set()
        server.shutdown()
        server.server_close()


class ArtifactServer(ThreadingHTTPServer):
    """Takes artifacts as MLflow's server does, and holds every answer back once it has taken so many."""

    def __init__(self, n_quick: int) -> None:
        super().__init__(("127.0.0.1", 0), _Artifacts)
        self.n_quick = n_quick
        self.taken: dict[str, list[bytes]] = {}  # by path, each time that it came
        self.holds, self.may_go_on = threading.Event(), threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}/artifacts"

    @property
    def n_taken(self) -> int:
        """Answers given."""
        return sum(map(len, self.taken.values()))


class _Artifacts(_Failing):
    server: ArtifactServer

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.n_taken >= self.server.n_quick:
            self.server.holds.set()
            self.server.may_go_on.wait()
            return  # whoever waited is gone
        self.server.taken.setdefault(self.path.removeprefix("/artifacts/"), []).append(content)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


@contextmanager
def artifact_server(n_quick: int) -> Iterator[ArtifactServer]:
    """A server for artifacts alone that hangs after `n_quick` of them, until that is raised."""
    server = ArtifactServer(n_quick)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.may_go_on.set()
        server.shutdown()
        server.server_close()


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """URL of a real tracking server that keeps runs and artifacts in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--workers", "1", "--gunicorn-opts", "--threads 4 --worker-class gthread --no-control-socket"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers; fails when its process ends."""

    def answers() -> bool:
        try:
            with build_opener(ProxyHandler({})).open(url, timeout=5):
                return True
        except (URLError, OSError):
            assert process.poll() is None
            return False

    wait_until(answers, patience_s=_PATIENCE_S, pause_s=0.1)
