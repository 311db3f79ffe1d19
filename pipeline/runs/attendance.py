"""Let others know how a member's run goes: signs of life and trouble, notices, and a file of metrics."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import Self, TypeVar

from pipeline.errors import ExchangeUnreachable, ExitCode, NotYet, PipelineError
from pipeline.exchange.begun import advice, nothing_here
from pipeline.exchange.mailbox import Mailbox, last_signed_at
from pipeline.exchange.signs import ALIVE_S, Sign, trouble_text
from pipeline.home.paths import Home
from pipeline.runs.notices import Notices
from pipeline.runs.own_signs import OwnSigns
from pipeline.runs.run_metrics import write_metrics
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import FULL, Machine
from pipeline.tracking.tracker import TrackedMember
from secure.errors import SecureError
from secure.messages.messages import utc

_TICK_S = 15.0  # between two looks of the second thread; a file of metrics is as new as that
_FAILURES = (PipelineError, SecureError, OSError)  # of posting and notifying, which stop no run
_LAST_S = 5.0  # longest wait at the end for what the second thread is doing

Result = TypeVar("Result")


class Attendance:
    """Context manager that posts a run's signs of life and notices, and how it ended.

    clock : seconds since 1970
    """

    def __init__(
        self, member: TrackedMember, reporter: ProgressReporter, clock: Callable[[], float] = time.time
    ) -> None:
        self._member, self._reporter, self._clock = member, reporter, clock
        self._notices = Notices(member, reporter, clock)
        self._over, self._thread = Event(), Thread(target=self._tick_until_over, daemon=True)
        self._mailbox: Mailbox | None = None
        self._signs: OwnSigns | None = None
        self._began = self._progressed_at = clock()
        self._looked_at = 0.0  # when the others' signs were read
        self._in_trouble: dict[str, Sign] = {}  # other members
        self._is_waiting = False
        self._failures: set[str] = set()  # that were reported

    def __enter__(self) -> Self:
        self._reporter.on_event = self._event
        self._quietly(self._write_metrics)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Post and notify trouble if the run ends with an error; a stop and a wait for others are none."""
        self._over.set()
        if isinstance(error, Exception) and (code := _exit_code_of(error)) != ExitCode.NOT_YET:
            self._trouble(code)
        if self._thread.is_alive() and not isinstance(error, KeyboardInterrupt):
            self._thread.join(_LAST_S)
        self._quietly(self._write_metrics)
        self._reporter.on_event = None

    def begin(self, mailbox: Mailbox) -> None:
        """Post by this mailbox from now on. Raises ExchangeUnreachable if the exchange has lost what it had."""
        mailbox.expect_begun()
        if mailbox.me == mailbox.plan.federation.custodian and not mailbox.is_begun:
            self._reporter.report(f"{nothing_here(mailbox.plan, mailbox.exchange)}; this run begins it with the deal")
        self._mailbox, self._signs = mailbox, OwnSigns(mailbox, self._reporter, self._clock)
        self._quietly(self._write_metrics)  # the first sign of life follows at the first wait or tick: with a step

    def begin_if_possible(self, open_mailbox: Callable[[], Mailbox]) -> None:
        """Open the mailbox of a finished member and begin; a failure, such as of deleted keys, gives a warning."""
        self._quietly(lambda: self.begin(open_mailbox()))

    def attend(self, machine: Machine) -> Machine:
        """The same step machine, whose waits are noticed."""
        return _Attended(machine, self)

    def attend_call(self, act: Callable[[], Result]) -> Callable[[], Result]:
        """The same function, whose waits for the exchange and the disk are noticed."""

        def attended() -> Result:
            with self.noting_waits():
                return act()

        return attended

    @contextmanager
    def noting_waits(self) -> Iterator[None]:
        """Note a wait if the code inside ends with an error that is tried again."""
        try:
            yield
        except (NotYet, ExchangeUnreachable) as error:
            self.waits(error)
            raise
        except OSError as error:
            if error.errno in FULL:
                self.waits(error)
            raise
        self._is_waiting = False

    def finished(self) -> bool:
        """Post that this member's run is done, by a sign and a notice; False if one of them failed."""
        is_signed = self._signs is not None and self._quietly(self._signs.finished)
        me = self._member.config.name
        is_notified = self._notices.send("finished", me, f"{me} is finished", fact=self._member.plan.digest)
        if not is_notified:
            self._notices.forget("finished", me)  # the next start tries again
        return is_signed and is_notified

    def progressed(self) -> None:
        """Note that a step succeeded."""
        self._progressed_at = self._clock()

    def waits(self, error: NotYet | ExchangeUnreachable | OSError) -> None:
        """Note that a step waits; raises another error instead if the exchange is not the plan's."""
        self._is_waiting, why = True, _without_path(error)
        try:
            if isinstance(error, NotYet) and self._mailbox:
                self._reporter.step = "waiting"
                self._expect_begun(self._mailbox, error)
                self._goes_on()
        except NotYet:
            why = "the exchange has nothing of this plan"
            raise
        except ExchangeUnreachable as unreachable:
            why = _without_path(unreachable)
            raise
        finally:
            self._notify_wait(why)

    def _notify_wait(self, why: str) -> None:
        since = self._waits_since
        if self._clock() - since >= self._notices.waiting_s:
            me = self._member.config.name
            text = f"{me} has waited since {utc(int(since))}: {why}"
            self._notices.send("waiting", me, text, fact=int(since), since=utc(int(since)))

    @property
    def _waits_since(self) -> float:
        """When this member last posted something, after restarts too, or this run began."""
        if self._mailbox:
            signed_at = self._mailbox.signed_at
        else:
            signed_at = last_signed_at(Home(self._member.config.home_folder, self._member.plan.folder))
        return self._began if signed_at is None else signed_at

    @staticmethod
    def _expect_begun(mailbox: Mailbox, wait: NotYet) -> None:
        if mailbox.is_begun:
            return
        mailbox.expect_begun()
        error = NotYet(f"{nothing_here(mailbox.plan, mailbox.exchange)}; {wait}")
        error.add_note(advice(mailbox.plan))
        raise error from wait

    def _goes_on(self) -> None:
        """Withdraw this member's trouble, once it waits for others as it should."""
        signs = self._signs
        if signs:
            self._quietly(lambda: signs.alive(goes_on=True))
            self._quietly(self._look_at_others)
        self._notices.forget("trouble", self._member.config.name)

    def _trouble(self, code: ExitCode) -> None:
        signs, me = self._signs, self._member.config.name
        if signs:
            self._quietly(lambda: signs.trouble(int(code)))  # JSON has no IntEnum
        trouble = Sign(int(self._clock()), *self._reporter.place, self._reporter.step, int(code))
        self._notify_trouble(me, trouble, fact=trouble.body())

    def _look_at_others(self) -> None:
        """Report the trouble of other members, each once, and no more often than signs of life come."""
        if self._signs is None or self._clock() - self._looked_at < ALIVE_S:
            return
        self._looked_at = self._clock()
        in_trouble = self._signs.others_in_trouble()
        for name, trouble in in_trouble.items():
            if trouble != self._in_trouble.get(name):
                self._reporter.warn(trouble_text(name, trouble))
                self._notify_trouble(name, trouble, fact=trouble.time)
        self._in_trouble = in_trouble

    def _notify_trouble(self, about: str, trouble: Sign, *, fact: object) -> None:
        text = trouble_text(about, trouble)
        self._notices.send("trouble", about, text, fact=fact, exit_code=trouble.exit_code, step=trouble.step)

    def _event(self, event: str, text: str, fields: Mapping[str, object]) -> None:
        me = self._member.config.name
        self._notices.send(event, me, f"{me}: {text}", fact=list(self._reporter.place), **fields)

    def _tick_until_over(self) -> None:
        while not self._over.wait(_TICK_S):
            self._tick()

    def _tick(self) -> None:
        if self._signs:
            self._quietly(self._signs.alive)
            self._quietly(self._look_at_others)
        self._quietly(self._write_metrics)

    def _write_metrics(self) -> None:
        write_metrics(
            self._member,
            self._reporter,
            now=self._clock(),
            progressed_at=self._progressed_at,
            is_waiting=self._is_waiting,
            is_in_trouble=bool(self._signs and self._signs.is_in_trouble),
            n_in_trouble=len(self._in_trouble),
        )

    def _quietly(self, act: Callable[[], None]) -> bool:
        """Call; a failure gives a warning in the log, each once: a storage that is down fails every few seconds.

        False if it failed.
        """
        try:
            act()
        except _FAILURES as error:
            if (text := str(error)) not in self._failures:
                self._failures.add(text)
                self._reporter.warn(f"signs of life or the metrics file failed: {text}")
            return False
        return True


class _Attended:
    """A step machine whose progress and waits an attendance notes."""

    def __init__(self, machine: Machine, attendance: Attendance) -> None:
        self._machine, self._attendance = machine, attendance

    def advance(self) -> bool:
        """Do the next step, see the machine's own."""
        with self._attendance.noting_waits():
            more = self._machine.advance()
        self._attendance.progressed()
        return more


def _exit_code_of(error: Exception) -> ExitCode:
    from pipeline.runtime.exit_codes import exit_code_of  # noqa: PLC0415 -- it knows all folders' errors

    return exit_code_of(error)


def _without_path(error: NotYet | ExchangeUnreachable | OSError) -> str:
    """Why a run waits, for a notice: of the exchange and the disk without paths, which are this member's own."""
    if isinstance(error, NotYet):
        return str(error)
    return "the exchange does not answer" if isinstance(error, ExchangeUnreachable) else "the disk is full"
