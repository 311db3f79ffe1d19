"""A member's whole run, as the run commands start it: under the home's lock, with tracking in another process."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from pipeline.errors import ConfigError, OutOfStep
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.json_files import read_json, write_json
from pipeline.home.lock import Holder
from pipeline.home.paths import Home
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.protocol.aggregator import AggregatorRun
from pipeline.protocol.open_mailbox import open_aggregator_mailbox, open_partner_mailbox
from pipeline.runs.attendance import Attendance
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine, RetryPolicy, drive
from pipeline.tracking.tracker import TrackedMember, Tracker, read_member, relocate_store

_FINISHED = "the federation is finished, nothing is left to do"


@dataclass(frozen=True)
class _Opening:
    """How a run opens its mailbox, and the step machine that works with it."""

    mailbox: Callable[[], Mailbox]
    machine_of: Callable[[Mailbox], Machine]

    def machine(self, attendance: Attendance) -> Machine:
        """Open the mailbox, begin the attendance and make the machine."""
        mailbox = self.mailbox()
        attendance.begin(mailbox)
        return self.machine_of(mailbox)


def run_partner(config_file: Path, *, once: bool, timeout_s: float | None = None, log: Log | None = None) -> None:
    """Take part in the federation until the report is written; with `once`, until others are awaited.

    timeout_s : see pipeline.runtime.retry.RetryPolicy
    """
    config = PartnerConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)

    def machine_of(mailbox: Mailbox) -> Machine:
        from pipeline.runs.partner_run import PartnerRun  # noqa: PLC0415 -- torch, rdkit: after all checks, never at an aggregator
        from pipeline.runs.report import WithPage  # noqa: PLC0415

        return WithPage(PartnerRun(config, mailbox, reporter), mailbox.home)

    opening = _Opening(lambda: open_partner_mailbox(config), machine_of)
    if Home(config.home_folder).finished.exists():
        from pipeline.runs.report import look_again  # noqa: PLC0415 -- not at an aggregator

        look_again(config)
    _run(opening, config_file, "partner", reporter, once=once, timeout_s=timeout_s)


def run_aggregator(config_file: Path, *, once: bool, timeout_s: float | None = None, log: Log | None = None) -> None:
    """Add sealed updates until the plan's last round; with `once`, until partners are awaited.

    timeout_s : see pipeline.runtime.retry.RetryPolicy
    """
    config = AggregatorConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)

    opening = _Opening(
        lambda: open_aggregator_mailbox(config),
        lambda mailbox: AggregatorRun(mailbox, reporter, workers=config.n_workers),
    )
    _run(opening, config_file, "aggregator", reporter, once=once, timeout_s=timeout_s)


def _run(
    opening: _Opening,
    config_file: Path,
    role: str,
    reporter: ProgressReporter,
    *,
    once: bool,
    timeout_s: float | None,
) -> None:
    member = read_member(config_file, role)
    config, home = member.config, member.home
    if _is_finished(member) and member.all_sent and _is_told(member):
        _relocate(member, reporter)
        reporter.report(_FINISHED)
        _report_model(member, config_file, reporter)
        return
    with (
        home.alone() as before,
        Tracker(member.config_file, member.role, home, reporter.report, reporter.warn) as tracker,
        Attendance(member, reporter) as attendance,
    ):
        _report_killed(before, reporter)
        if _is_finished(member):
            _do_rest(member, opening, attendance, tracker, reporter)
        else:
            policy = RetryPolicy(reporter, home.folder, once=once, poll_s=config.poll_s, timeout_s=timeout_s)
            machine = policy.call(attendance.attend_call(lambda: opening.machine(attendance)))
            policy.call(lambda: _take_up(home))
            policy.call(tracker.start)
            drive(attendance.attend(machine), policy, idle=tracker.poke)
            policy.call(lambda: _note_finished(member, is_told=False))
            reporter.set_round()
            _tell_finished(member, attendance, reporter)
            reporter.report("finished")
    _report_model(member, config_file, reporter)


def _do_rest(
    member: TrackedMember, opening: _Opening, attendance: Attendance, tracker: Tracker, reporter: ProgressReporter
) -> None:
    """Do what a finished run left undone: its last sign and notice, and what MLflow's store lacks."""
    if not _is_told(member):
        reporter.report(f"{_FINISHED} except posting its end")
        attendance.begin_if_possible(opening.mailbox)
        _tell_finished(member, attendance, reporter)
    if not member.all_sent:
        reporter.report(f"{_FINISHED} except sending to MLflow what is missing there")
        tracker.start_rest()


def _tell_finished(member: TrackedMember, attendance: Attendance, reporter: ProgressReporter) -> None:
    """Post that the run is finished; if that fails, the next start tries again."""
    if not attendance.finished():
        return
    try:
        _note_finished(member, is_told=True)
    except OSError as error:
        reporter.warn(f"{error}: the next start posts the end of this run again")


def _note_finished(member: TrackedMember, *, is_told: bool) -> None:
    write_json(member.home.finished, {"plan": member.plan.digest, "told": is_told})


def _relocate(member: TrackedMember, reporter: ProgressReporter) -> None:
    """Relocate the store of a home that was moved; a damaged one is no reason to fail."""
    try:
        relocate_store(member)
    except ConfigError as error:
        reporter.warn(str(error))


def _report_model(member: TrackedMember, config_file: Path, reporter: ProgressReporter) -> None:
    """Report the commands that use a partner's finished model, as the last line of its run."""
    if member.role == "partner":
        file = quote(str(config_file))
        reporter.report(f"use the model: `hocket predict {file} new.smi`, or `hocket serve {file}` for scripts")


def _take_up(home: Home) -> None:
    """Remove the notes of the end under the plan before: its federation goes on under this one."""
    for note in (home.tracked, home.finished):
        note.unlink(missing_ok=True)


def _report_killed(before: Holder | None, reporter: ProgressReporter) -> None:
    """Report that the last process was killed; warn if it ran on another machine, where it may still run."""
    if before is None:
        return
    reporter.report(f"{before} was killed; going on from its files")
    if before.host != (here := socket.gethostname()):
        reporter.warn(f"make sure that it no longer runs: {here} cannot see the processes of {before.host}")


def _is_finished(member: TrackedMember) -> bool:
    """Whether this plan's last round and report are done; needs no torch or rdkit.

    False if those of the plan before are done, which this plan goes on from. Raises OutOfStep if the federation ended
    under another plan.
    """
    file = member.home.finished
    if not file.exists():
        return False
    try:
        plan = str(read_json(file)["plan"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is damaged; remove it, and the run finds out what is left to do") from error
    continues, expected = member.plan.continues, member.plan.digest
    if continues and plan == continues.plan:
        return False
    if plan != expected:
        elsewhere = OutOfStep(f"{file}: the federation ended under plan {plan[:12]}..., expected {expected[:12]}...")
        elsewhere.add_note("go on under a revision that continues that plan: `hocket init revision` writes it")
        raise elsewhere
    return True


def _is_told(member: TrackedMember) -> bool:
    """Whether a finished run has posted its last sign and sent its notice; an earlier version did not note it."""
    return read_json(member.home.finished).get("told") is not False
