"""NVFlare's file download alone, without any message of ours: the measure for tests/benchmarks/nvflare_transfer.py."""

import json
import os
import threading
import time
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

BARE = "HOCKET_BARE"  # environment: folder of the files


def told(task: Shareable | None = None, **content: object) -> Shareable:
    """What bare tasks and answers hold."""
    return Shareable({**(task or {}), **content})


class BareController(Controller):  # type: ignore[misc] # NVFlare ships no types
    """Pulls a file from every site by reference, then lets every site pull one; notes the seconds.

    Says that it is ready, and waits for the word to go.
    """

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
        (folder / "ready").touch()
        while not (folder / "go").exists():
            threading.Event().wait(0.1)
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
