"""Stop a run at SIGTERM, SIGINT or SIGHUP at once: its state is its files, so nothing is lost.

The signal becomes a KeyboardInterrupt in the main thread. A long call of a library does not let that through; then a
second thread ends the process and its children after GRACE_S, as `kill -9` would.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from pipeline.errors import ExitCode

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_S = 6.0  # for the present step; batch systems send SIGKILL after ten seconds or more
STOPPED = "stopped; start the same command again to go on"
ABANDONED = "stopped in the middle of a step; start the same command again, it begins that step again"
BEGINS_ANEW = "stopped; the same command begins again from the start"  # of commands whose work is one step
_REPORT_S = 1.0  # longest wait for stderr to take the last message
_GONE_S = 1.0  # longest wait for killed processes to be gone; one that waits for a hung disk takes longer
_LOOK_S = 0.005  # between two looks whether they are
_PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)


class Stoppable:
    """A block that the three signals end with KeyboardInterrupt, after which no child process is left.

    report       : called with `abandoned` from another thread before that ends the process, after `grace_s` seconds
    ends_process : only the end of the process comes after the block, so that signals change nothing from then on
    Signals that were ignored at the start (nohup) stay ignored; after the first signal others change nothing.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        grace_s: float = GRACE_S,
        abandoned: str = ABANDONED,
        *,
        ends_process: bool = False,
    ) -> None:
        self._report, self._grace_s, self._abandoned, self._ends_process = report, grace_s, abandoned, ends_process
        self._is_stopping = False
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        self._signals, self._wakeup = os.pipe()
        for end in (self._signals, self._wakeup):
            os.set_blocking(end, end == self._signals)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore or ignore the signals; after a stop the watching thread stays, in case the process does not end."""
        if self._is_stopping:
            kill_descendants()
            if not isinstance(error, KeyboardInterrupt):  # a library caught it, or raised another error from it
                raise KeyboardInterrupt from error
            return
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._ends_process else before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wakeup)  # ends the watching thread

    @property
    def was_stopped(self) -> bool:
        """Whether one of the signals came."""
        return self._is_stopping

    @staticmethod
    def end() -> NoReturn:
        """End the process at once: in the interpreter's own end libraries may take seconds or wait for threads."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.NOT_YET)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Wait for a signal, which the C part of Python's handler writes at once even if the main thread is busy."""
        while number := os.read(self._signals, 1):
            if number[0] in self._before:
                threading.Event().wait(self._grace_s)
                self._abandon()
        os.close(self._signals)

    def _abandon(self) -> NoReturn:
        try:
            # in a thread, because the main one may hold stderr's lock: it blocks in a write that nobody reads
            reporting = threading.Thread(target=self._report, args=(self._abandoned,), daemon=True)
            reporting.start()
            reporting.join(_REPORT_S)
        finally:
            kill_descendants()
            os._exit(ExitCode.NOT_YET)


def kill_descendants() -> None:
    """Kill every process that this one started, and what those started, until none is left.

    One that is started between a look and the kill of its parent becomes this process's child, so the next look finds
    it. While it changes hands a look may miss it: the end is two looks in a row that find nothing.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    until, n_in_vain = time.monotonic() + _GONE_S, 0
    while n_in_vain < 2 and time.monotonic() < until:  # noqa: PLR2004 -- explained above
        living = [process for process in list(_descendants(os.getpid())) if not _has_ended(process)]
        n_in_vain = 0 if living else n_in_vain + 1
        for process in living:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_LOOK_S if living else 0)


def _has_ended(process: int) -> bool:
    """Whether it is gone, or a zombie: this process may still want its exit status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except OSError:
        return True


def _descendants(process: int) -> Iterator[int]:
    """Process numbers, parents before children."""
    for child in _children(process):
        yield child
        yield from _descendants(child)


def _children(process: int) -> list[int]:
    """Linux lists the children of each thread."""
    found: list[int] = []
    with suppress(OSError):  # the process has ended
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found += map(int, (thread / "children").read_text().split())
    return found
