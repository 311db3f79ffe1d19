"""Run the members of a demo, one process each, until all are done."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.errors import DemoFailed, ExitCode
from pipeline.runtime.log import Log, as_json_line
from pipeline.runtime.restart import may_start_again, wait_or_kill

_POLL_S = 0.3  # seconds between two checks of the processes


@dataclass(frozen=True, slots=True)
class MemberProcess:
    """The command and the folder of a member's process."""

    name: str
    role: str
    config: Path
    folder: Path

    @property
    def log_file(self) -> Path:
        """The file with the output of the member's process."""
        return self.folder / "run.log"

    def start(self, *, log_json: bool) -> "subprocess.Popen[bytes]":
        """Start the member's run."""
        command = [sys.executable, "-P", "-m", "pipeline.cli", self.role, "run", str(self.config)]
        command += ["--log-format", "json"] if log_json else []
        with self.log_file.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def run_members(members: Sequence[MemberProcess], log: Log) -> None:
    """Run all members to their end and show the last line of each.

    A member that was killed is restarted: its state is in its files. Raises DemoFailed as soon as one ends with an
    error; the others are stopped then.
    """
    console = Console(stderr=True)
    shows_live = console.is_terminal and not log.as_json
    with ExitStack() as stack:
        runs = [stack.enter_context(_MemberRun(member, log_json=log.as_json)) for member in members]
        for run in runs:
            stack.callback(run.stop)  # all are asked to end before the first is waited for
        live = stack.enter_context(Live(console=console, transient=True)) if shows_live else None
        while True:
            done = [run.is_done() for run in runs]
            if log.as_json:
                _forward_as_json([run.log for run in runs])
            else:
                _show(console, live, [run.log for run in runs])
            if all(done):
                return
            time.sleep(_POLL_S)


class _MemberRun:
    """A member's process, stopped at the end of the `with` block."""

    def __init__(self, member: MemberProcess, *, log_json: bool) -> None:
        self.log = _Log(member)
        self._member, self._log_json = member, log_json
        self._n_starts = 1
        self._process = member.start(log_json=log_json)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        wait_or_kill(self._process)

    def stop(self) -> None:
        """Ask the process to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def is_done(self) -> bool:
        """Whether the member is done; restarts it if it was killed or its home was in use."""
        code = self._process.poll()
        if code is None or code == ExitCode.DONE:
            return code is not None
        if may_start_again(code, self._n_starts):
            self._n_starts += 1
            self._process = self._member.start(log_json=self._log_json)
            return False
        raise _failure(self.log, code)


class _Log:
    """New lines of a member's log."""

    def __init__(self, member: MemberProcess) -> None:
        self.member = member
        self._read = member.log_file.stat().st_size if member.log_file.exists() else 0
        self.last = "starting"

    def new_lines(self) -> list[str]:
        """Complete lines that were written since the last call."""
        with self.member.log_file.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        complete = written[: written.rfind(b"\n") + 1]
        self._read += len(complete)
        lines = complete.decode(errors="replace").splitlines()
        self.last = lines[-1] if lines else self.last
        return lines

    def tail(self, n_lines: int) -> list[str]:
        """The last lines of the whole log."""
        return self.member.log_file.read_text(errors="replace").splitlines()[-n_lines:]


def _forward_as_json(logs: Sequence["_Log"]) -> None:
    for log in logs:
        for line in log.new_lines():
            sys.stderr.write(f"{as_json_line(log.member.name, line)}\n")
    sys.stderr.flush()


def _show(console: Console, live: Live | None, logs: Sequence[_Log]) -> None:
    for log in logs:
        for line in log.new_lines():
            if live is None:
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    if live is not None:
        table = Table("member", "now", box=None)
        for log in logs:
            table.add_row(log.member.name, log.last)
        live.update(table)


def _failure(log: _Log, code: int) -> DemoFailed:
    known = set(ExitCode)
    error = DemoFailed(
        f"{log.member.name} ended with exit code {code}; its log is {log.member.log_file}",
        ExitCode(code) if code in known else ExitCode.BUG,
    )
    for line in log.tail(12):
        error.add_note(line)
    return error
