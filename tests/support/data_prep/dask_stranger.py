"""What another account of the machine can do at Dask's ports; see tests/support/other_account.py.

At every port of standard input, {"ports": [...], "folder": FOLDER}, it asks for pages and for its code to be run, which
makes a folder in FOLDER, as scheduler, nanny and worker do it for Dask's own client. Prints by port what came of it.
"""

import asyncio
import json
import os
import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from distributed.core import rpc
from distributed.protocol.pickle import dumps
from distributed.security import Security

from tests.support.other_account import become_nobody

PATIENCE_S = 3
PAGES = ("", "status", "health", "metrics", "info/main/workers.html", "json/counts.json", "statics/css/base.css")
REFUSED = "refused"


async def made(port: int, scheme: str, operation: str, folder: str) -> str:
    """Send code to a server of Dask, as its client does."""
    arguments = SECURITY[scheme].get_connection_args("client")
    code = {"function": dumps(os.mkdir), "args": dumps((f"{folder}/{scheme}-{port}-{operation}",))}
    async with rpc(f"{scheme}://127.0.0.1:{port}", timeout=PATIENCE_S, connection_args=arguments) as server:
        try:
            return str(await asyncio.wait_for(getattr(server, operation)(**code), PATIENCE_S))
        except (OSError, ValueError):  # the latter where the server talks of its own accord, or not at all
            return REFUSED


def shown(port: int, page: str) -> str:
    """Ask for a page."""
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/{page}", timeout=PATIENCE_S) as answer:
            return str(answer.read())
    except HTTPError as refused:
        return REFUSED if refused.code == 404 else str(refused)
    except (OSError, HTTPException):
        return REFUSED


async def tried(port: int, folder: str) -> list[str]:
    """Everything at one port."""
    ways = [(scheme, operation) for scheme in SECURITY for operation in ("run", "run_function")]
    return [await made(port, *way, folder) for way in ways] + [shown(port, page) for page in PAGES]


async def tried_at_all(ports: list[int], folder: str) -> dict[int, list[str]]:
    """Everything at every port."""
    return {port: await tried(port, folder) for port in ports}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    SECURITY = {"tcp": Security(), "tls": Security.temporary()}
    asyncio.run(tried_at_all([1], question["folder"]))  # loads everything, where nobody listens
    become_nobody()
    json.dump(asyncio.run(tried_at_all(question["ports"], question["folder"])), sys.stdout)
