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
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.streaming.file_downloader import add_file, download_file
from nvflare.fuel.f3.streaming.obj_downloader import ObjectDownloader
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the federation of the tests

from pipeline.exchange import Exchange
from tests.pipeline.big_messages import arrived, place, prepare, reveal, with_large_trunk
from tests.pipeline.federation import AGGREGATOR, Federation
from tests.pipeline.nvflare_sites import HOST, Sites, sites, wait_until

LIMIT = 1.3  # times the bare transfer
MB = 1_000_000
BARE = "HOCKET_BARE"  # environment: folder of the bare transfer's files
SERVER_JOB, SITE_JOB = "server.runner_process", "client.worker_process"


Way = Callable[[Federation, int], tuple[float, dict[str, int]]]


def told(task: Shareable | None = None, **content: object) -> Shareable:
    """What bare tasks and answers hold."""
    return Shareable({**(task or {}), **content})


class BareController(Controller):  # type: ignore[misc] # NVFlare ships no types
    """Pulls a file from every site by reference, then lets every site pull one; notes the seconds."""

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to do."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to do."""

    def process_result_of_unknown_task(self, *_: object) -> None:
        """Nothing to do."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:  # noqa: ARG002
        """One round's transfer."""
        cell, job, folder = fl_ctx.get_engine().get_cell(), fl_ctx.get_job_id(), Path(os.environ[BARE])
        names = json.loads((folder / "names.json").read_text())
        references = {name: self._ask(name, told(do="offer"))["reference"] for name in names}
        started = time.monotonic()
        with ThreadPoolExecutor(len(names)) as pool:
            where = {name: FQCN.join([name, job]) for name in names}
            pulls = [
                pool.submit(download_file, where[name], references[name], 60.0, cell, str(folder)) for name in names
            ]
            kept = [pull.result() for pull in pulls]
        up_s = time.monotonic() - started
        files = [Path(path) for error, path in kept if not error]
        references = {name: offer(cell, files[0]) for name in names}
        started = time.monotonic()
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self._ask(name, told(do="pull", reference=references[name])), names))
        seconds = {"up": up_s, "down": time.monotonic() - started}
        (folder / "seconds.json.part").write_text(json.dumps(seconds))
        (folder / "seconds.json.part").rename(folder / "seconds.json")
        threading.Event().wait(3)  # for the peaks to be read

    def _ask(self, site: str, data: Shareable) -> Any:  # noqa: ANN401 -- any answer
        answers: list[Shareable] = []

        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:  # noqa: ARG001 -- NVFlare's signature
            answers.append(client_task.result)

        with self._engine.new_context() as fl_ctx:
            self.send_and_wait(Task("bare", data, timeout=600, result_received_cb=received), fl_ctx, targets=[site])
        return answers[0]


class BareExecutor(Executor):  # type: ignore[misc] # NVFlare ships no types
    """Offers this site's file, or pulls the server's."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002
        """Do what the task says."""
        cell, folder = fl_ctx.get_engine().get_cell(), Path(os.environ[BARE])
        if shareable["do"] == "offer":
            return told(reference=offer(cell, folder / f"{fl_ctx.get_identity_name()}.file"))
        server = FQCN.join([FQCN.ROOT_SERVER, fl_ctx.get_job_id()])
        error, _ = download_file(server, shareable["reference"], 60.0, cell, str(folder), abort_signal=abort_signal)
        return told(error=error or "")


def offer(cell: Any, file: Path) -> str:  # noqa: ANN401 -- NVFlare's cell
    """A reference to a file, for one receiver."""
    return str(add_file(ObjectDownloader(cell, timeout=600.0, num_receivers=1), str(file)))


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
    with sites(federation) as made:
        rename_classes(made)
        made.start(HOST, *federation.partners)
        made.submit()
        wait_until((folder / "seconds.json").exists, made.logs, 600)
        seconds = json.loads((folder / "seconds.json").read_text())
        return seconds["up"] + seconds["down"], peaks(made)


def rename_classes(made: Sites) -> None:
    """Let the job name this script's classes instead, and the sites allow them."""
    here = "tests.benchmarks.nvflare_transfer"
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
