"""How a run is stopped: SIGTERM, SIGINT and SIGHUP end it where it stands, for its files are its state.

The signal becomes a KeyboardInterrupt in the main thread. Where that stands in a long call of a library, the interrupt
cannot get through: then, after a grace, a thread of its own ends the process and all below it, as `kill -9` would.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from pipeline.errors import ExitCode

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_S = 6.0  # for the step under way; batch systems use force after ten seconds or more
STOPPED = "stopped; start the same command again to go on"
ABANDONED = "stopped in the middle of a step; start the same command again, it begins that step anew"
BEGINS_ANEW = "stopped; the same command will begin anew"  # of commands whose work is one step
_TELL_S = 1.0  # longest that the end waits for somebody to read why


class Stoppable:
    """A block that the three signals leave with KeyboardInterrupt, and with no process below this one.

    tell : called with `abandoned` from another thread before the process is ended, when the grace has passed
    Signals that were ignored at the start (nohup) stay ignored; all but the first change nothing.
    """

    def __init__(self, tell: Callable[[str], None], grace_s: float = GRACE_S, abandoned: str = ABANDONED) -> None:
        self._tell, self._grace_s, self._abandoned = tell, grace_s, abandoned
        self._is_stopping = False
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        self._told, self._wakeup = os.pipe()
        for end in (self._told, self._wakeup):
            os.set_blocking(end, end == self._told)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back; where the block was stopped, the watch goes on until the process is gone."""
        if self._is_stopping:
            kill_descendants()
            if not isinstance(error, KeyboardInterrupt):  # it was lost, or made into something else on its way
                raise KeyboardInterrupt from error
            return
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wakeup)  # ends the watch
        atexit.register(_ignore, tuple(self._before))  # all is done; the interpreter takes its time to end

    @property
    def was_stopped(self) -> bool:
        """Whether one of the signals came."""
        return self._is_stopping

    @staticmethod
    def end() -> NoReturn:
        """End the process without what an interpreter still does: libraries may take seconds, or wait for threads."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.NOT_YET)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Wait for a signal, which the C part of Python's handler writes at once, whatever the main thread does."""
        while number := os.read(self._told, 1):
            if number[0] in self._before:
                threading.Event().wait(self._grace_s)
                self._abandon()
        os.close(self._told)

    def _abandon(self) -> NoReturn:
        try:
            # in a thread, because the main one may hold stderr's lock for ever: it writes, and nobody reads
            telling = threading.Thread(target=self._tell, args=(self._abandoned,), daemon=True)
            telling.start()
            telling.join(_TELL_S)
        finally:
            kill_descendants()
            os._exit(ExitCode.NOT_YET)


def _ignore(signals: tuple[signal.Signals, ...]) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def kill_descendants() -> None:
    """Kill every process that this one started, and what those started."""
    for process in list(_descendants(os.getpid())):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _descendants(process: int) -> Iterator[int]:
    """Process numbers, parents before children; Linux tells them for each thread."""
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            for child in map(int, listed.read_text().split()):
                yield child
                yield from _descendants(child)
