"""Drive a step machine until it is done, with retries; or, with `once`, until others are awaited.

A retry follows while another member's message is missing, the exchange does not answer or a disk is full.
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.errors import ExchangeError, ExchangeUnreachable, NotYet
from pipeline.runtime.progress import ProgressReporter

_RAREST = 10  # the pause between two retries grows up to this many times poll_s
_LONGEST_DISK_S = 600.0  # longest pause before a step is tried again on a disk that stays full
FULL = {errno.ENOSPC, errno.EDQUOT}
_TOLERANCE = 1 << 20  # bytes; the free space of any disk changes by less all the time

Result = TypeVar("Result")


class Machine(Protocol):
    """A step machine whose state is the files of a member's home."""

    def advance(self) -> bool:
        """Do the next step; False when nothing is left. Raises NotYet while others are awaited."""


class RetryPolicy:
    """When a failed step is tried again, after which pause, and when a member gives up.

    timeout_s : longest wait without any progress; None: no limit
    once      : never wait for other members; for exchange and disk only if there is a timeout
    folder    : folder on the disk that may be full
    """

    def __init__(
        self, reporter: ProgressReporter, folder: Path, *, once: bool, poll_s: float, timeout_s: float | None = None
    ) -> None:
        self._reporter, self._folder = reporter, folder
        self._once, self._poll_s, self._timeout_s = once, poll_s, timeout_s
        self.progressed()

    def progressed(self) -> None:
        """Start the pauses and the timeout again, after a step that succeeded."""
        self._pause_s = self._poll_s
        self._until: float | None = None

    def wait(self, error: NotYet | ExchangeError | OSError) -> None:
        """Wait before a retry of the step that failed with this error; raise it if no wait helps or time is up."""
        if isinstance(error, OSError) and error.errno not in FULL:
            raise error
        if self._once and (self._timeout_s is None or isinstance(error, NotYet)):
            raise error
        if self._timeout_s is not None:
            self._until = self._until or time.monotonic() + self._timeout_s
            if time.monotonic() >= self._until:
                error.add_note(f"no progress in {self._timeout_s:g} s (--timeout); the same command goes on from here")
                raise error
        if isinstance(error, OSError):
            self._reporter.warn(f"{error}: waiting for space")
            self._wait_for_space()
        else:
            self._reporter.report(str(error))
            self._sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 1.2, _RAREST * self._poll_s)

    def call(self, act: Callable[[], Result]) -> Result:
        """The result of `act`, called again while the exchange does not answer or the disk is full."""
        while True:
            try:
                result = act()
            except (ExchangeUnreachable, OSError) as error:
                self.wait(error)
            else:
                self.progressed()
                return result

    def _wait_for_space(self) -> None:
        """Wait until the disk has more free space, or for a growing time: a quota's space cannot be seen."""
        before, waited_s, pause_s = self._free_bytes(), 0.0, self._poll_s
        while waited_s < self._pause_s * _RAREST and not self._is_late():
            self._sleep(pause_s)
            waited_s += pause_s
            if self._free_bytes() > before + _TOLERANCE:
                return
        self._pause_s = min(self._pause_s * 2, _LONGEST_DISK_S / _RAREST)

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _sleep(self, seconds: float) -> None:
        left = seconds if self._until is None else self._until - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize


def drive(machine: Machine, policy: RetryPolicy, *, idle: Callable[[], None]) -> None:
    """Advance until done, with retries by `policy`; raises the error of a step that may not be tried again.

    idle : called after every step that succeeded, e.g. to pass on metrics
    """
    while True:
        try:
            if not machine.advance():
                return
        except (NotYet, ExchangeError, OSError) as error:
            policy.wait(error)
        else:
            policy.progressed()
            idle()
