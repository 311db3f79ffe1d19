"""P02's run with a step machine whose outcomes a test gives, and the signs that it leaves."""

import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import NotYet
from pipeline.exchange.signs import Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import read_plan
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.runs.attendance import Attendance
from pipeline.runtime.progress import ProgressReporter
from pipeline.tracking.tracker import read_member
from tests.support.federation import Federation

ME = "P02"
ON, DONE = True, False  # what a step machine answers
SECRET = "CC(=O)Oc1ccccc1C(=O)O is active"  # noqa: S105 -- a structure and a label, which no notice may have


class Clock:
    """A clock that tests set; it begins now, because files have the machine's times."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


class Steps:
    """A step machine with given outcomes: ON, DONE or an error; a number before one moves the clock."""

    def __init__(self, clock: Clock, *outcomes: object) -> None:
        self._clock, self._left = clock, list(outcomes)

    def advance(self) -> bool:
        """The next outcome."""
        outcome = self._left.pop(0)
        if type(outcome) in (int, float):
            self._clock.now += outcome
            outcome = self._left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return bool(outcome)


def configure(federation: Federation, lines: str, name: str = ME) -> None:
    """Add a table [notify]."""
    with federation.config(name).open("a") as config:
        config.write(f"\n[notify]\n{lines}\n")


def run(
    federation: Federation, clock: Clock, *outcomes: object, step: str = "training", place: tuple[int, int] = (1, 1)
):
    """A run of P02 whose machine has these outcomes; ends as the machine does. Waits are gone on from."""
    member = read_member(federation.config(ME), "partner")
    reporter = ProgressReporter(ME)
    with Attendance(member, reporter, clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        reporter.set_round(*place)
        machine = attendance.attend(Steps(clock, *outcomes))
        while True:
            reporter.step = step
            try:
                if not machine.advance():
                    break
            except NotYet:
                pass
        reporter.set_round()
        attendance.finished()


def ended(error: type[BaseException], federation: Federation, clock: Clock, *outcomes: object, **options: Any) -> None:  # noqa: ANN401 -- those of `run`
    """A run that ends with this error."""
    with pytest.raises(error):
        run(federation, clock, *outcomes, **options)


def sign_of(federation: Federation, name: str = ME) -> Sign | None:
    """A member's newest sign in the exchange, verified."""
    return SignBoard(read_plan(federation.plan_file), Exchange(f"file://{federation.exchange}")).latest(name)


def file_of(federation: Federation, kind: str) -> Path:
    """P02's sign of a kind."""
    return federation.exchange / sign_name(kind, ME).manifest
