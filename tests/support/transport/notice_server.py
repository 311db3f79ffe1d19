"""A real HTTP server that takes notices, and others that fail in the ways that servers do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Taking(BaseHTTPRequestHandler):
    """Keeps every notice in the server's list, then answers with the server's code."""

    server: "NoticeServer"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.notices.append(json.loads(content))
        self.server.types.append(self.headers["Content-Type"])
        self.send_response(self.server.code)
        self.send_header("Content-Length", "0")
        if self.server.code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.n_others += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        """Not to stderr."""


class NoticeServer(ThreadingHTTPServer):
    """Listens on a free port of this machine; answers every notice with `code`."""

    def __init__(self, code: int) -> None:
        self.code, self.notices, self.types, self.n_others = code, list[dict[str, Any]](), list[str](), 0
        super().__init__(("127.0.0.1", 0), _Taking)

    @property
    def address(self) -> str:
        """The address for the configuration, with a secret in its path as chat services have it."""
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/T0KEN"


@contextmanager
def notice_server(code: int = 200) -> Iterator[NoticeServer]:
    """A server that runs until the end of the block."""
    with NoticeServer(code) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
