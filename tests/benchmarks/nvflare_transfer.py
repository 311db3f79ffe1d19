"""Sealed files over NVFlare, three sites and a server on this machine: ours, the engine's bare download, one folder.

A round's transfer: every site's file to the server, then one file to every site. Ours includes finding the message,
checking signature and digest, and both sides' confirmation; bare is the same downloads by reference with no message at
all; the folder is what `Exchange` does with the same files, in one process. Peaks are the kernel's (VmHWM).
usage: nvflare_transfer.py [--full]   100 MB files; --full: 1 GB as well
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the federation of the tests

from pipeline.exchange import Exchange
from tests.pipeline.bare_transfer import BARE
from tests.pipeline.big_messages import arrived, place, prepare, reveal, with_large_trunk
from tests.pipeline.federation import AGGREGATOR, Federation
from tests.pipeline.nvflare_sites import HOST, Sites, sites, wait_until

LIMIT = 1.3  # times the bare transfer
MB = 1_000_000
SERVER_JOB, SITE_JOB = "server.runner_process", "client.worker_process"


Way = Callable[[Federation, int], tuple[float, dict[str, int]]]


def ours(federation: Federation, n_bytes: int) -> tuple[float, dict[str, int]]:
    """Seconds of a round's transfer, and peak MB."""
    with sites(federation, job={"stall_s": 3600.0}) as made:
        made.start(HOST, *federation.partners)
        made.submit()
        known = [f"{name} has proved who it is" for name in federation.partners]
        made.wait_for(lambda: all(said in made.log(HOST).read_text() for said in known))
        posted = [prepare(federation, "update", name, n_bytes)[1] for name in federation.partners]
        seconds = timed(made, posted, lambda name: arrived(federation, "update", name, AGGREGATOR))
        posted = [prepare(federation, "sum", AGGREGATOR, n_bytes)[1]]
        seconds += timed(made, posted, lambda name: arrived(federation, "sum", AGGREGATOR, name))
        return seconds, peaks(made)


def timed(made: Sites, posted: list[Path], is_there: Callable[[str], bool]) -> float:
    """Seconds from the moment at which the messages can be seen, until they are there for every partner."""
    started = time.monotonic()
    for hidden in posted:
        reveal(hidden)
    made.wait_for(lambda: all(is_there(name) for name in made.federation.partners), 600)
    return time.monotonic() - started


def peaks(made: Sites) -> dict[str, int]:
    """Peak MB of the server's and the largest site's job process."""
    return {"server": made.peak_mb(SERVER_JOB), "site": made.peak_mb(SITE_JOB)}


def bare(federation: Federation, n_bytes: int) -> tuple[float, dict[str, int]]:
    """The same by the engine alone."""
    folder = federation.folder / "bare"
    folder.mkdir()
    for name in federation.partners:
        shutil.move(place(federation, "update", name, n_bytes), folder / f"{name}.file")
    (folder / "names.json").write_text(json.dumps(federation.partners))
    os.environ[BARE] = str(folder)
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])  # where the engine's processes find its classes
    with sites(federation) as made:
        rename_classes(made)
        made.start(HOST, *federation.partners)
        made.submit()
        wait_until((folder / "seconds.json").exists, made.logs, 600)
        seconds = json.loads((folder / "seconds.json").read_text())
        return seconds["up"] + seconds["down"], peaks(made)


def rename_classes(made: Sites) -> None:
    """Let the job name the bare classes instead, and the sites allow them."""
    here = "tests.pipeline.bare_transfer"
    renamed = {
        "pipeline.engines.server_job.FederationController": f"{here}.BareController",
        "pipeline.engines.site_job.PartnerExecutor": f"{here}.BareExecutor",
        "hocket_sync": "bare",
    }
    for file in (*made.folder.glob("job/app/config/*.json"), *made.kits.glob("*/local/resources.json")):
        text = file.read_text()
        for before, after in renamed.items():
            text = text.replace(before, after)
        file.write_text(text)


def folder(federation: Federation, n_bytes: int) -> tuple[float, dict[str, int]]:
    """The same through a shared folder, by one process."""
    posted = [place(federation, "update", name, n_bytes) for name in federation.partners]
    exchange, copies = Exchange(f"file://{federation.folder / 'shared'}"), federation.folder / "copies"
    started = time.monotonic()
    for file in posted:
        exchange.send(file, file.name)
        exchange.fetch(file.name, copies / file.name, n_bytes)
    exchange.send(posted[0], "sum")
    for name in federation.partners:
        exchange.fetch("sum", copies / f"{name}.sum", n_bytes)
    return time.monotonic() - started, {}


def measured(way: Way, n_bytes: int) -> tuple[float, dict[str, int]]:
    """One way, with a federation of its own."""
    with tempfile.TemporaryDirectory() as place_of_all:
        federation = Federation(Path(place_of_all) / "federation")
        with_large_trunk(federation, max(1, n_bytes // 60_000))
        seconds, found = way(federation, n_bytes)
    return seconds, found


def main() -> None:
    """Measure and print."""
    table = Table("file", "way", "s per round", "ratio to bare", "limit", "server peak MB", "site peak MB")
    for size in (100, 1000) if "--full" in sys.argv else (100,):
        found = {way.__name__: measured(way, size * MB) for way in (bare, ours, folder)}
        for name, (seconds, peak) in found.items():
            ratio = f"{seconds / found['bare'][0]:.2f}"
            limit = f"{LIMIT}" if name == "ours" else ""
            most = [str(peak.get(kind, "")) for kind in ("server", "site")]
            table.add_row(f"{size} MB", name, f"{seconds:.1f}", ratio, limit, *most)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
