"""How a step machine is driven: until it is done, or once and no further than others allow.

What comes by itself is waited for: the others' messages, an exchange that does not answer, space on a full disk.
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.errors import ExchangeError, ExchangeUnreachable, NotYet
from pipeline.runtime.progress import ProgressReporter

_RAREST = 10  # looks for messages grow up to this many times rarer while nothing comes
_LONGEST_DISK_S = 600.0  # between two tries of a step for which there was no space, where none was given back
FULL = {errno.ENOSPC, errno.EDQUOT}
_TOLERANCE = 1 << 20  # bytes that come and go on any disk

Result = TypeVar("Result")


class Machine(Protocol):
    """A member whose state is the files that exist."""

    def advance(self) -> bool:
        """Do the next step; False when nothing is left. Raises NotYet when it depends on others."""


class RetryPolicy:
    """What a member waits for, how often it looks and when it gives up.

    timeout_s : longest wait without any progress; None is for ever
    once      : others are not waited for at all; exchange and disk only where there is a timeout
    folder    : on the disk that may be full
    """

    def __init__(
        self, reporter: ProgressReporter, folder: Path, *, once: bool, poll_s: float, timeout_s: float | None = None
    ) -> None:
        self._reporter, self._folder = reporter, folder
        self._once, self._poll_s, self._timeout_s = once, poll_s, timeout_s
        self.progressed()

    def progressed(self) -> None:
        """Start to count anew: something was done."""
        self._pause_s = self._poll_s
        self._until: float | None = None

    def wait(self, error: NotYet | ExchangeError | OSError) -> None:
        """Wait for another try of what failed so. Raises the error where no wait helps, or the time is up."""
        if isinstance(error, OSError) and error.errno not in FULL:
            raise error
        if self._once and (self._timeout_s is None or isinstance(error, NotYet)):
            raise error
        if self._timeout_s is not None:
            self._until = self._until or time.monotonic() + self._timeout_s
            if time.monotonic() >= self._until:
                error.add_note(f"nothing came in {self._timeout_s:g} s (--timeout); the same command goes on from here")
                raise error
        if isinstance(error, OSError):
            self._reporter.warn(f"{error}: waiting for space")
            self._wait_for_space()
        else:
            self._reporter.report(str(error))
            self._sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 1.2, _RAREST * self._poll_s)

    def call(self, act: Callable[[], Result]) -> Result:
        """The result of `act`, again and again until the exchange answers and the disk has space."""
        while True:
            try:
                found = act()
            except (ExchangeUnreachable, OSError) as error:
                self.wait(error)
            else:
                self.progressed()
                return found

    def _wait_for_space(self) -> None:
        """Until some was given back: the step may have taken hours. A quota does not show, so try now and then."""
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
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize


def drive(machine: Machine, policy: RetryPolicy, *, idle: Callable[[], None]) -> None:
    """Advance until done; what must be waited for, and may not, is handed to the caller.

    idle is called after every step that changed something, e.g. to hand metrics on.
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
