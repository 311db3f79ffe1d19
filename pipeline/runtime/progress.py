"""What is said on stderr: bars on a terminal, plain lines in a log, JSON lines for a program."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.runtime.log import Level, Log, for_people

_LINE_S = 10.0  # seconds between two lines of progress where there is no terminal
_LONG_S = 1.0  # what takes longer is worth a line at its end


class Advance(Protocol):
    """Tells how far a long step is; `note` is shown beside it: a loss, a score."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Say that `done` of `total` are done."""


class ProgressReporter:
    """Tells what a member is doing; never a label, a structure or a secret."""

    def __init__(self, member: str, log: Log | None = None) -> None:
        self.member = member
        self.log = log or Log()
        self.log.member = member
        self._console = Console(stderr=True, highlight=False)
        self._told = ("", "")

    def at(self, round_no: int | None = None, attempt: int | None = None) -> None:
        """What is told from now on is about this round and attempt; None: about none. See Log.at."""
        self.log.at(round_no, attempt)

    def report(self, text: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """One line, with the time of day; the same line is not repeated. fields : for programs alone."""
        self._tell(text, "info", fields)

    def warn(self, text: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """The same as a warning."""
        self._tell(text, "warning", fields)

    def _tell(self, text: str, level: Level, fields: Mapping[str, Any]) -> None:
        if (text, level) == self._told:
            return
        self._told = text, level
        if self.log.as_json:
            self.log.write(text, level, **fields)
            return
        line = f"{time.strftime('%H:%M:%S')} {self.member}: {for_people(text, level)}"
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[Advance]:
        """Hand out a callback (done, total, note); draws a bar on a terminal, a line now and then elsewhere."""
        started = time.monotonic()
        if self._console.is_terminal and not self.log.as_json:
            with self._bars() as bars:
                task = bars.add_task(label, total=None, note="")
                yield lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)
        else:
            yield self._lines(label)
        seconds = time.monotonic() - started
        if seconds >= _LONG_S:
            self.report(f"{label}: done in {seconds:.1f} s", seconds=round(seconds, 3))

    def _bars(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(
            *columns, TextColumn("{task.fields[note]}", markup=False), console=self._console, transient=True
        )

    def _lines(self, label: str) -> Advance:
        told = time.monotonic()
        pace = _Pace()

        def advance(done: int, total: int, note: str = "", /) -> None:
            nonlocal told
            now = time.monotonic()
            seconds_left = pace.seconds_left(now, done, total)
            if now - told >= _LINE_S and 0 < done < total:
                told = now
                parts = (f"{label}: {done} of {total}", note, "" if seconds_left is None else f"{seconds_left} s left")
                said = ", ".join(part for part in parts if part)
                self.report(said, done=done, total=total, note=note, seconds_left=seconds_left)

        return advance


class _Pace:
    """How fast a step is since it was first heard of: what it took to start says nothing of what is left."""

    def __init__(self) -> None:
        self._since = 0.0
        self._n_first: int | None = None
        self._n_last = 0

    def seconds_left(self, now: float, done: int, total: int) -> int | None:
        """At this pace; None where nothing was done since the step, or the next part of it, was first heard of."""
        if self._n_first is None or done < self._n_last:
            self._since, self._n_first = now, done
        self._n_last = done
        if done == self._n_first:
            return None
        return round((now - self._since) / (done - self._n_first) * (total - done))
