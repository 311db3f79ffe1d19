"""The aggregator's part of an NVFlare job: a controller that keeps its mirror and the sites' mirrors alike.

The rounds are run by the aggregator's ordinary run, a child process. Nothing here may import torch, rdkit or polars.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.fqcn import FQCN

from pipeline.errors import PipelineError
from pipeline.plan.member_configs import AggregatorConfig
from pipeline.plan.plan import read_plan
from pipeline.runtime.printable import printable
from pipeline.transport.child_process import ChildRun
from pipeline.transport.endpoints import ServerEndpoint
from pipeline.transport.job_monitor import JobMonitor
from pipeline.transport.mirror import Mirror, mirror_folder
from pipeline.transport.nvflare.file_transfer import FileTransfer, keep_loaded
from pipeline.transport.nvflare.identity import Kit, expect_name
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, CONTENT, TASK, config_file
from pipeline.transport.nvflare.wakeup import notify
from pipeline.transport.sync import MirrorSync, Wire, rules_at_server
from secure.errors import SecureError

_POLL_S = 0.2  # seconds between two checks of the run and the links
_SHORTEST_S, _LONGEST_S = 0.05, 0.5  # between the starts of two turns with a site; the longer one if no message came


class FederationController(Controller):  # type: ignore[misc] # NVFlare ships no types
    """Asks all sites for messages until the runs of the aggregator and the partners are done.

    answer_s  : how long a site may take to fetch a question and answer it, its wait for news of 5 s included
    silence_s, stall_s : see pipeline.transport.job_monitor.JobMonitor
    """

    def __init__(self, answer_s: int = 30, silence_s: float = 120.0, stall_s: float = 900.0) -> None:
        super().__init__(task_check_period=0.1)
        self._answer_s, self._silence_s, self._stall_s = answer_s, silence_s, stall_s
        self._over = threading.Event()
        self._is_ready = False  # NVFlare may call control_flow after a failed start too

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read configuration, plan and startup kit, and check that the configuration is the aggregator's."""
        # at a job's end NVFlare loads torch, if installed, to free tensors; this job sends none
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type] # None: not importable
        with self._panicking(fl_ctx):
            self._file = config_file(AGGREGATOR_FILE, os.environ)
            config = AggregatorConfig.read(self._file)
            self._plan = read_plan(config.plan_file)
            expect_name(config.name, self._plan.aggregator_name, f"{self._file}: name")
            self._kit = Kit.at(Path(fl_ctx.get_workspace().get_startup_kit_dir()), "server")
            self._mirror = Mirror(self._plan, mirror_folder(config))
            self._is_ready = True

    def stop_controller(self, fl_ctx: FLContext) -> None:  # noqa: ARG002 -- NVFlare's signature
        """End all turns."""
        self._over.set()

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run the federation to its end; panics if it cannot go on."""
        if not self._is_ready:
            return
        keep_loaded()
        links = [self._link(site, abort_signal, fl_ctx) for site in self._plan.partner_names]
        threads = [threading.Thread(target=self._run_turns, args=(link,), daemon=True) for link in links]
        with self._panicking(fl_ctx):
            run = ChildRun("aggregator", self._file, self._file.with_name("run.log"), self._report)
            try:
                for thread in threads:
                    thread.start()
                monitor = JobMonitor(
                    links, self._plan.rounds, silence_s=self._silence_s, stall_s=self._stall_s, clock=time.monotonic
                )
                while not abort_signal.triggered and not monitor.is_over(run.poll()):
                    self._over.wait(_POLL_S)
            finally:
                self._over.set()
                run.stop()
                for thread in threads:
                    thread.join(self._answer_s)

    def process_result_of_unknown_task(self, *_: object) -> None:
        """Ignore an answer that came too late: its messages are offered again."""

    def _link(self, site: str, abort_signal: Signal, fl_ctx: FLContext) -> ServerEndpoint:
        cell, address = fl_ctx.get_engine().get_cell(), FQCN.join([site, fl_ctx.get_job_id()])

        def open_sync() -> MirrorSync:
            transfer = FileTransfer(cell, address, abort_signal)
            me = self._plan.aggregator_name
            rules = rules_at_server(site)
            return MirrorSync(self._mirror, transfer, rules, me=me, report=self._report, clock=time.monotonic)

        def notify_if_news() -> bool:
            has_news = link.has_news
            if has_news:
                notify(cell, address)
            return has_news

        link = ServerEndpoint(
            site,
            ask=lambda question: self._ask(site, question, notify_if_news),
            open_sync=open_sync,
            prover=self._kit,
            plan=self._plan.digest,
            report=self._report,
            clock=time.monotonic,
        )
        return link

    def _run_turns(self, link: ServerEndpoint) -> None:
        while not self._over.is_set() and not link.refused:
            moved, until = link.n_moved, time.monotonic() + _LONGEST_S
            link.turn()
            wait_s = until - time.monotonic() if link.n_moved == moved else 0.0
            self._over.wait(max(wait_s, _SHORTEST_S))
        link.close()

    def _ask(self, site: str, question: Wire, notify_if_news: Callable[[], bool]) -> object | None:
        """Send a question as an NVFlare task to this site only, and return its answer; None if none came in time.

        notify_if_news : asks the site to answer at once if there are new messages for it; returns whether it did
        """
        answers: list[object] = []
        answered = threading.Event()

        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:  # noqa: ARG001 -- NVFlare's signature
            # called under NVFlare's lock: the link's thread checks the content later
            if client_task.client.name == site and client_task.result.get_return_code() == ReturnCode.OK:
                answers.append(client_task.result.get(CONTENT))
            client_task.result = None
            answered.set()

        task = Task(
            name=TASK,
            data=Shareable({CONTENT: question}),
            timeout=self._answer_s,
            result_received_cb=received,
            task_done_cb=lambda **_: answered.set(),
        )
        with self._engine.new_context() as fl_ctx:
            self.send(task, fl_ctx, targets=[site])
        is_notified = False
        while not answered.wait(_POLL_S) and not self._over.is_set():
            is_notified = is_notified or notify_if_news()
        return answers[0] if answers else None

    def _report(self, text: str) -> None:
        self.logger.info(printable(text, keep=""))

    @contextmanager
    def _panicking(self, fl_ctx: FLContext) -> Iterator[None]:
        """End the NVFlare job with the message of any error raised inside."""
        try:
            yield
        except (PipelineError, SecureError, OSError) as error:
            self.system_panic(" ".join([str(error), *getattr(error, "__notes__", [])]), fl_ctx)
