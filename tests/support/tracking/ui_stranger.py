"""What another account of the machine gets from a server and its processes; see tests/support/other_account.py.

Asks every request of standard input, {"requests": [[METHOD, URL, COOKIE], ...], "pids": [...], "files": [...]}, and
prints the answers, [STATUS, TEXT], what /proc shows of the processes, and what comes of reading the files.
"""

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.support.other_account import become_nobody


def asked(method: str, url: str, cookie: str) -> tuple[int, str]:
    """Status and text of an answer."""
    body = None if method == "GET" else b"{}"
    request = Request(url, body, {"Cookie": cookie, "Content-Type": "application/json"}, method=method)  # noqa: S310 -- http
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=240) as answer:
            return answer.status, answer.read(100).decode(errors="replace")
    except HTTPError as refused:
        return refused.code, refused.read().decode(errors="replace")


def shown(pid: int, name: str) -> str:
    """A file of /proc, "" where it is refused."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except PermissionError:
        return ""


def content_of(path: str) -> str:
    """A file's content, or why it cannot be read."""
    try:
        return Path(path).read_text()
    except OSError as refused:
        return str(refused.strerror)


if __name__ == "__main__":
    question = json.load(sys.stdin)
    become_nobody()
    found = {
        "answers": [asked(*one) for one in question.get("requests", ())],
        "processes": [{name: shown(pid, name) for name in ("cmdline", "environ")} for pid in question.get("pids", ())],
        "files": [content_of(path) for path in question.get("files", ())],
    }
    json.dump(found, sys.stdout)
