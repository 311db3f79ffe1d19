"""S3 servers for tests: moto's as its users start it, and moto's with faults that a test decides on."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import fsspec
import pytest
from botocore.exceptions import BotoCoreError
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.support.waiting import wait_until

BUCKET = "room"
_ACCESS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",  # s3fs tries again by itself
    "AWS_EC2_METADATA_DISABLED": "true",
}
Fault = Callable[[str, str], int | None]  # method and path of a request to the status that is answered instead


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to find that server: as with any S3-compatible storage."""
    return _ACCESS | {"AWS_ENDPOINT_URL": endpoint}


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let this process find that server; fsspec's open file systems are forgotten."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def client(endpoint: str) -> Any:  # noqa: ANN401 -- boto3 makes its classes as it runs
    """A client of its own, to look at what is really there."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=endpoint, **keys)


@contextmanager
def moto_server(port: int) -> Iterator[str]:
    """`python -m moto.server` as a process; yields its endpoint when it answers, with an empty bucket."""
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
        try:
            wait_until(lambda: _answers(endpoint, process), lambda: "moto's server does not answer", pause_s=0)
            yield endpoint
        finally:
            process.kill()


def _answers(endpoint: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "moto's server ended"
    try:
        client(endpoint).create_bucket(Bucket=BUCKET)
    except BotoCoreError:
        return False
    return True


class FaultyServer:
    """Moto's server in a thread; every request may be answered with an error instead."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.requests: list[tuple[str, str]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        method, path = request["REQUEST_METHOD"], request["PATH_INFO"]
        self.requests.append((method, path))
        status = self.fault(method, path) if self.fault else None
        if status is None:
            return self._moto(request, start)
        request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        start(f"{status} as the test wants", [("Content-Length", "0")])
        return [b""]
