"""The jobs behind the commands: a member's run under its lock, with tracking beside it."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigError, OutOfStep
from pipeline.home.json_files import write_json
from pipeline.home.lock import Holder
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.protocol.aggregator import AggregatorRun
from pipeline.protocol.open_mailbox import open_aggregator_mailbox, open_partner_mailbox
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine, RetryPolicy, drive
from pipeline.tracking.tracker import TrackedMember, Tracker, read_member

_NOTHING_LEFT = "the federation is finished, nothing is left to do"


def run_partner(config_file: Path, *, once: bool, timeout_s: float | None = None, log: Log | None = None) -> None:
    """Take part in the federation until the report is written (or, with once, as far as others allow).

    timeout_s : see pipeline.runtime.retry.Patience
    """
    config = PartnerConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)

    def open_machine() -> Machine:
        mailbox = open_partner_mailbox(config)
        from pipeline.runs.partner_run import PartnerRun  # noqa: PLC0415 -- torch, rdkit: after all refusals, never an aggregator
        from pipeline.runs.report import WithPage  # noqa: PLC0415

        return WithPage(PartnerRun(config, mailbox, reporter), mailbox.home)

    _run(open_machine, read_member(config_file, "partner"), reporter, once=once, timeout_s=timeout_s)


def run_aggregator(config_file: Path, *, once: bool, timeout_s: float | None = None, log: Log | None = None) -> None:
    """Add sealed updates until the plan's last round (or, with once, as far as partners allow).

    timeout_s : see pipeline.runtime.retry.Patience
    """
    config = AggregatorConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)

    def open_machine() -> Machine:
        return AggregatorRun(open_aggregator_mailbox(config), reporter, workers=config.n_workers)

    _run(open_machine, read_member(config_file, "aggregator"), reporter, once=once, timeout_s=timeout_s)


def _run(
    open_machine: Callable[[], Machine],
    member: TrackedMember,
    reporter: ProgressReporter,
    *,
    once: bool,
    timeout_s: float | None,
) -> None:
    config, home = member.config, member.home
    if _is_finished(member) and member.all_sent:
        reporter.report(_NOTHING_LEFT)
        return
    with (
        home.alone() as before,
        Tracker(member.config_file, member.role, home, reporter.report, reporter.warn) as tracker,
    ):
        _warn_of(before, reporter)
        if _is_finished(member):
            reporter.report(f"{_NOTHING_LEFT} but to send to MLflow what its store lacks")
            tracker.start_rest()
        else:
            policy = RetryPolicy(reporter, home.folder, once=once, poll_s=config.poll_s, timeout_s=timeout_s)
            machine = policy.call(open_machine)
            policy.call(tracker.start)
            drive(machine, policy, idle=tracker.poke)
            ended = {"plan": member.plan.digest}
            policy.call(lambda: write_json(home.finished, ended))
            reporter.at()
            reporter.report("finished")


def _warn_of(before: Holder | None, reporter: ProgressReporter) -> None:
    """Say that the last process was killed, and where that cannot be known for sure."""
    if before is None:
        return
    reporter.report(f"{before} did not end by itself; going on from its files")
    if before.host != (here := socket.gethostname()):
        reporter.warn(f"make sure that it no longer runs, for {here} cannot see the processes of {before.host}")


def _is_finished(member: TrackedMember) -> bool:
    """Whether this plan's last round and report are done, so that nothing heavy need be loaded.

    Raises OutOfStep where another plan's are: there is no round left to go on with.
    """
    file = member.home.finished
    if not file.exists():
        return False
    try:
        ended = str(json.loads(file.read_text())["plan"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is damaged; remove it, and the run looks for itself what is left to do") from error
    if ended != (expected := member.plan.digest):
        raise OutOfStep(f"{file}: the federation ended here under plan {ended[:12]}..., not {expected[:12]}...")
    return True
