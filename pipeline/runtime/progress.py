"""Messages and progress of a run on stderr: bars on a terminal, plain lines in a log, JSON lines for a program."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.runtime.log import Level, Log, as_text

_LINE_S = 10.0  # seconds between two lines of progress if stderr is no terminal
_LONG_S = 1.0  # a step that takes longer gets a line at its end


class Advance(Protocol):
    """Callback of a long step for its progress; `note` is shown with it, for example a loss or a score."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report that `done` of `total` are done."""


class ProgressReporter:
    """Writes what a member does to stderr; never a label, a structure or a secret."""

    def __init__(self, member: str, log: Log | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.member = member
        self._clock = clock
        self.log = log or Log()
        self.log.member = member
        self._console = Console(stderr=True, highlight=False)
        self._last = ("", "")
        self.place = (0, 0)  # round and attempt; attempt 0: outside the rounds
        self.step = "starting"  # what the run does now, one word
        self.on_event: Callable[[str, str, Mapping[str, object]], None] | None = None

    def set_round(self, round_no: int | None = None, attempt: int | None = None) -> None:
        """Give round and attempt to all following lines, see Log.set_round."""
        self.place = (round_no or 0, attempt or 0)
        self.log.set_round(round_no, attempt)

    def announce(self, event: str, text: str, **fields: object) -> None:
        """Write a line about an event that others may want to know, and pass it on to `on_event`."""
        self.report(text)
        if self.on_event:
            self.on_event(event, text, fields)

    def report(self, text: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Write one line with the time of day, unless it equals the last one. fields : only in JSON lines."""
        self._write(text, "info", fields)

    def warn(self, text: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Write one line as a warning."""
        self._write(text, "warning", fields)

    def _write(self, text: str, level: Level, fields: Mapping[str, Any]) -> None:
        if (text, level) == self._last:
            return
        self._last = text, level
        if self.log.as_json:
            self.log.write(text, level, **fields)
            return
        line = f"{time.strftime('%H:%M:%S')} {self.member}: {as_text(text, level)}"
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[Advance]:
        """Yield a callback (done, total, note) that draws a bar on a terminal, or writes a line every ten seconds."""
        started = self._clock()
        if self._console.is_terminal and not self.log.as_json:
            with self._bars() as bars:
                task = bars.add_task(label, total=None, note="")
                yield lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)
        else:
            yield self._lines(label)
        seconds = self._clock() - started
        if seconds >= _LONG_S:
            self.report(f"{label}: done in {seconds:.1f} s", seconds=round(seconds, 3))

    def _bars(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(
            *columns, TextColumn("{task.fields[note]}", markup=False), console=self._console, transient=True
        )

    def _lines(self, label: str) -> Advance:
        last_line = self._clock()
        pace = _Pace()

        def advance(done: int, total: int, note: str = "", /) -> None:
            nonlocal last_line
            now = self._clock()
            seconds_left = pace.seconds_left(now, done, total)
            if now - last_line >= _LINE_S and 0 < done < total:
                last_line = now
                parts = (f"{label}: {done} of {total}", note, "" if seconds_left is None else f"{seconds_left} s left")
                text = ", ".join(part for part in parts if part)
                self.report(text, done=done, total=total, note=note, seconds_left=seconds_left)

        return advance


class _Pace:
    """Pace of a step since its first report: the time before that, for starting, says nothing about the pace."""

    def __init__(self) -> None:
        self._since = 0.0
        self._n_first: int | None = None
        self._n_last = 0

    def seconds_left(self, now: float, done: int, total: int) -> int | None:
        """Seconds left at the pace so far; None if nothing was done since the first report of the step or its part."""
        if self._n_first is None or done < self._n_last:
            self._since, self._n_first = now, done
        self._n_last = done
        if done == self._n_first:
            return None
        return round((now - self._since) / (done - self._n_first) * (total - done))
