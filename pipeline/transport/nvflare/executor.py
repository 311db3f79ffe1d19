"""A partner's part of an NVFlare job: an executor that starts its ordinary run and answers the server's questions."""

import os
import time
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.fqcn import FQCN

from pipeline.errors import ConfigError, PipelineError
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.runtime.printable import printable
from pipeline.transport.child_process import ChildRun
from pipeline.transport.endpoints import SiteEndpoint, refusal
from pipeline.transport.mirror import Mirror, mirror_folder
from pipeline.transport.nvflare.file_transfer import FileTransfer, keep_loaded
from pipeline.transport.nvflare.identity import Kit, expect_name, server_of
from pipeline.transport.nvflare.names import CONTENT, PARTNER_FILE, config_file
from pipeline.transport.nvflare.wakeup import Wakeup
from pipeline.transport.sync import MirrorSync, rules_at_site
from secure.errors import SecureError


class PartnerExecutor(Executor):  # type: ignore[misc] # NVFlare ships no types
    """Keeps this site's mirror and the aggregator's alike during a job."""

    def __init__(self) -> None:
        super().__init__()
        self._endpoint: SiteEndpoint | None = None
        self._stop = Signal()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002
        """Answer one question; an error is logged, reported to the server and ends this site's part."""
        try:
            if self._endpoint is None:
                self._endpoint = self._open(fl_ctx)
                keep_loaded()
            return Shareable({CONTENT: self._endpoint.answer(shareable.get(CONTENT))})
        except (PipelineError, SecureError, OSError) as error:
            self.log_error(fl_ctx, printable(" ".join([str(error), *getattr(error, "__notes__", [])]), keep=""))
            self._close()
            return Shareable({CONTENT: refusal(error)})

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:  # noqa: ARG002
        """End this site's part when the job ends or is aborted."""
        if event_type in (EventType.ABOUT_TO_END_RUN, EventType.END_RUN):
            self._close()

    def _open(self, fl_ctx: FLContext) -> SiteEndpoint:
        file = config_file(PARTNER_FILE, os.environ)
        config = PartnerConfig.read(file)
        plan = read_plan(config.plan_file)
        if config.name not in plan.partner_names:
            raise ConfigError(f"{config.plan_file}: {config.name} is not one of the partners {plan.partner_names}")
        startup = Path(fl_ctx.get_workspace().get_startup_kit_dir())
        kit = Kit.at(startup, "client")
        expect_name(kit.name, config.name, f"{kit.certificate_file.name}: common name")
        expect_name(str(fl_ctx.get_identity_name()), config.name, "NVFlare's name of this site")
        self._stop = Signal(parent=fl_ctx.get_prop(ReservedKey.RUN_ABORT_SIGNAL))  # ends a wait for news at once
        return SiteEndpoint(
            self._open_sync(plan, config, fl_ctx),
            kit,
            lambda: ChildRun("partner", file, file.with_name("run.log"), self._report),
            plan=plan.digest,
            server=server_of(startup),
            wait_for_news=Wakeup(fl_ctx.get_engine().get_cell(), self._stop).wait_for_news,
        )

    def _open_sync(self, plan: Plan, config: PartnerConfig, fl_ctx: FLContext) -> MirrorSync:
        cell, job = fl_ctx.get_engine().get_cell(), fl_ctx.get_job_id()
        transfer = FileTransfer(cell, FQCN.join([FQCN.ROOT_SERVER, job]), self._stop)
        mirror = Mirror(plan, mirror_folder(config))
        rules = rules_at_site(plan.aggregator_name)
        return MirrorSync(mirror, transfer, rules, me=config.name, report=self._report, clock=time.monotonic)

    def _report(self, text: str) -> None:
        self.logger.info(printable(text, keep=""))

    def _close(self) -> None:
        self._stop.trigger("the job is over")
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
