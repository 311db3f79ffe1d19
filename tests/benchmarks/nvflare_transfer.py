"""Sealed files over NVFlare, three sites and a server on this machine: ours, a bare download, one folder.

A round's transfer: every site's file to the server, then one file to every site. Ours includes finding the message,
checking signature and digest, writing durably and both sides' confirmation, with the pauses that `export` writes and
every member's ordinary run waiting beside it; bare is the same downloads by reference with no message at all; the
folder is what `Exchange` does with the same files, in one process. Ways take turns; seconds and CPU are medians over
them, peaks (VmHWM, of the engine's job processes) the largest.
usage: nvflare_transfer.py [--full]   100 MB files three times; --full: 1 GB once as well
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the federation of the tests

from pipeline.exchange.storage import Exchange
from tests.support.federation import AGGREGATOR, Federation
from tests.support.transport.bare_transfer import BARE
from tests.support.transport.big_messages import arrived, place, prepare, reveal, with_large_trunk
from tests.support.transport.nvflare_sites import HOST, Sites, sites
from tests.support.waiting import wait_until

LIMIT = 1.3  # times the bare transfer
MB = 1_000_000
ASK_S = 0.2  # as `hocket engine nvflare export` writes it; its sites nearly always have a question, and ask rarely
BARE_ASK_S = 0.5  # often enough for no wait to count, rarely enough for no CPU to
SERVER_JOB, SITE_JOB = "server.runner_process", "client.worker_process"
STARTED = 0.1  # CPU seconds a second of all processes, below which they only wait


@dataclass(frozen=True)
class Found:
    """Cost of a round's transfer: wall and CPU seconds, peak MB of the server's and the largest site's job process."""

    seconds: float
    cpu_s: float
    server_mb: int = 0
    site_mb: int = 0


Way = Callable[[Federation, int], Found]


def ours(federation: Federation, n_bytes: int) -> Found:
    """Transfer by MirrorSync, as for users."""
    with_usual_pauses(federation)
    with sites(federation, job={"stall_s": 3600.0}, ask_s=ASK_S) as made:
        made.start(HOST, *federation.partners)
        made.submit()
        known = [f"{name} has proved its identity" for name in federation.partners]
        made.wait_for(lambda: all(said in made.log(HOST).read_text() for said in known))
        runs = [federation.config(name).with_name("run.log") for name in federation.partners]
        made.wait_for(lambda: all(log.exists() and log.stat().st_size for log in runs))
        posted = [prepare(federation, "update", name, n_bytes)[1] for name in federation.partners]
        posted_down = [prepare(federation, "sum", AGGREGATOR, n_bytes)[1]]
        wait_for_quiet(made)
        cpu_s = made.cpu_s()
        seconds = timed(made, posted, lambda name: arrived(federation, "update", name, AGGREGATOR))
        seconds += timed(made, posted_down, lambda name: arrived(federation, "sum", AGGREGATOR, name))
        return found(made, seconds, made.cpu_s() - cpu_s)


def with_usual_pauses(federation: Federation) -> None:
    """Set the members' pauses between looks at the exchange to the users' default."""
    for name in (*federation.partners, AGGREGATOR):
        config = federation.config(name)
        text = config.read_text()
        assert "poll_s = 0.02\n" in text
        config.write_text(text.replace("poll_s = 0.02\n", ""))


def wait_for_quiet(made: Sites) -> None:
    """Wait until the processes have started, so that their imports are not measured."""
    os.sync()
    while True:
        before = made.cpu_s()
        time.sleep(2)  # the time over which is measured
        if 0 <= made.cpu_s() - before < 2 * STARTED * len(made.started):
            return


def timed(made: Sites, posted: list[Path], is_there: Callable[[str], bool]) -> float:
    """Seconds from the moment the messages are visible until every partner has them."""
    started = time.monotonic()
    for hidden in posted:
        reveal(hidden)
    made.wait_for(lambda: all(is_there(name) for name in made.federation.partners), 600)
    return time.monotonic() - started


def found(made: Sites, seconds: float, cpu_s: float) -> Found:
    """Add the peaks of memory."""
    return Found(seconds, cpu_s, made.peak_mb(SERVER_JOB), made.peak_mb(SITE_JOB))


def bare(federation: Federation, n_bytes: int) -> Found:
    """Transfer by NVFlare's own download."""
    folder = federation.folder / "bare"
    folder.mkdir()
    for name in federation.partners:
        shutil.move(place(federation, "update", name, n_bytes), folder / f"{name}.file")
    (folder / "names.json").write_text(json.dumps(federation.partners))
    os.environ[BARE] = str(folder)
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])  # where the engine's processes find its classes
    with sites(federation, ask_s=BARE_ASK_S) as made:
        rename_classes(made)
        made.start(HOST, *federation.partners)
        made.submit()
        wait_until((folder / "ready").exists, made.logs, patience_s=600)
        wait_for_quiet(made)
        cpu_s = made.cpu_s()
        (folder / "go").touch()
        wait_until((folder / "seconds.json").exists, made.logs, patience_s=600)
        seconds = json.loads((folder / "seconds.json").read_text())
        return found(made, seconds["up"] + seconds["down"], made.cpu_s() - cpu_s)


def rename_classes(made: Sites) -> None:
    """Make the job use the bare classes, and the sites allow them."""
    here = "tests.support.transport.bare_transfer"
    renamed = {
        "pipeline.transport.nvflare.controller.FederationController": f"{here}.BareController",
        "pipeline.transport.nvflare.executor.PartnerExecutor": f"{here}.BareExecutor",
        "hocket_sync": "bare",
    }
    for file in (*made.folder.glob("job/app/config/*.json"), *made.kits.glob("*/local/resources.json")):
        text = file.read_text()
        for before, after in renamed.items():
            text = text.replace(before, after)
        file.write_text(text)


def folder(federation: Federation, n_bytes: int) -> Found:
    """Transfer through a shared folder, by one process."""
    posted = [place(federation, "update", name, n_bytes) for name in federation.partners]
    exchange, copies = Exchange(f"file://{federation.folder / 'shared'}"), federation.folder / "copies"
    started, cpu_s = time.monotonic(), time.process_time()
    for file in posted:
        exchange.send(file, file.name)
        exchange.fetch(file.name, copies / file.name, n_bytes)
    exchange.send(posted[0], "sum")
    for name in federation.partners:
        exchange.fetch("sum", copies / f"{name}.sum", n_bytes)
    return Found(time.monotonic() - started, time.process_time() - cpu_s)


def measured(way: Way, n_bytes: int) -> Found:
    """Measure one way of transfer, with a new federation."""
    with tempfile.TemporaryDirectory() as place_of_all:
        federation = Federation(Path(place_of_all) / "federation")
        with_large_trunk(federation, max(1, n_bytes // 60_000))
        return way(federation, n_bytes)


def main() -> None:
    """Measure and print."""
    table = Table("file", "way", "s per round", "ratio", "CPU s", "ratio", "limit", "server peak MB", "site peak MB")
    for size, n_turns in ((100, 3), (1000, 1)) if "--full" in sys.argv else ((100, 3),):
        turns = [{way.__name__: measured(way, size * MB) for way in (bare, ours, folder)} for _ in range(n_turns)]
        alone = [turn["bare"] for turn in turns]
        for name in turns[0]:
            each = [turn[name] for turn in turns]
            row = [f"{size} MB", name]
            for figure in ("seconds", "cpu_s"):
                here, there = (median(getattr(one, figure) for one in some) for some in (each, alone))
                row += [f"{here:.1f}", f"{here / there:.2f}"]
            peaks = [max(one.server_mb for one in each), max(one.site_mb for one in each)]
            table.add_row(*row, f"{LIMIT}" if name == "ours" else "", *(str(peak or "") for peak in peaks))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
