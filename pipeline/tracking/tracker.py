"""MLflow beside a member's run, in a process of its own (pipeline.tracking.process), so that it never slows a round.

The member's process writes records (pipeline.home.round_metrics) and pokes the other one through its standard input. A
tracking server that is slow, down or hanging costs nothing: the records wait, in this run and for the next start. And
the aggregator's process stays free of MLflow's imports.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.home.paths import Home
from pipeline.plan.member_configs import MemberConfig, read_member_config
from pipeline.plan.plan import Plan, read_plan
from pipeline.tracking.uploads import Remaining

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Unless the user sets them. No retries: the records are kept, and every look at them is one
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
# for the tracking process to get a file through, at a run's end: it gives up a dead store by itself, within seconds
_LONGEST_WAIT_S = 300.0
_LONGEST_WAIT_STOPPED_S = 2.0  # the same where the run was stopped
_LONGEST_REST_S = 3600.0  # the same where sending the rest is all there is to do
UNREACHABLE = b"unreachable\n"  # the tracking process says so once
BUSY = 3  # its exit code where another one holds the store's lock


def environment() -> dict[str, str]:
    """Of every process that loads MLflow: nothing is sent to anyone but the configured store."""
    return _PATIENCE | os.environ | QUIET


@dataclass(frozen=True, slots=True)
class TrackedMember:
    """Whose run is tracked."""

    config: MemberConfig
    config_file: Path
    plan: Plan
    role: str

    @property
    def home(self) -> Home:
        """The member's home."""
        return Home(self.config.home_folder)

    @property
    def own_store(self) -> bool:
        """Whether the store lies in the home."""
        return not self.config.tracking.uri

    @property
    def store(self) -> str:
        """MLflow tracking URI: the configured one, or an SQLite file in the home."""
        return self.config.tracking.uri or f"sqlite:///{self.store_file}"

    @property
    def store_file(self) -> Path:
        """The home's own store."""
        return self.home.folder / "mlflow.db"

    @property
    def finished(self) -> bool:
        """Whether the member's last file is there."""
        return self.home.finished.exists()

    @property
    def has_records(self) -> bool:
        """Whether there is anything to log: a run that waits for the others has nothing yet."""
        return next(self.home.metrics.glob("step-*.json"), None) is not None

    @property
    def all_sent(self) -> bool:
        """Whether the store has everything, as far as can be said without asking it."""
        if not self.finished or not self.home.tracked.exists():
            return False
        if self.own_store and not self.store_file.exists():
            return False
        try:
            return bool(json.loads(self.home.tracked.read_text())["report"] == report_digest(self.home))
        except (ValueError, KeyError, TypeError):
            return False  # damaged, or of an earlier version: ask


def report_files(home: Home) -> list[Path]:
    """Files of the report, those half-written left out."""
    found = sorted(home.report.rglob("*"))
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def report_digest(home: Home) -> str:
    """SHA-256, hexadecimal, over the report's names and bytes; "" where there is no report."""
    files = report_files(home)
    lines = [f"{path.relative_to(home.report)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if files else ""


def read_member(config_file: Path, role: str) -> TrackedMember:
    """Read a member's configuration and plan."""
    config = read_member_config(config_file, role)
    return TrackedMember(config, config_file.resolve(), read_plan(config.plan_file), role)


class Tracker:
    """The member's side: starts the tracking process, pokes it, waits for it at the end.

    tell : says a line to a person
    warn : says a warning, once, where the store cannot be reached
    """

    def __init__(
        self, config_file: Path, role: str, home: Home, tell: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._command = [sys.executable, "-P", "-m", "pipeline.tracking.process", str(config_file.resolve()), role]
        self.log_file = home.folder / "tracking.log"
        self._note = home.sent
        self._tell, self._warn = tell, warn
        self._warned = self._was_ended = False
        self._longest_wait_s = _LONGEST_WAIT_S
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start the process, if that was not done."""
        if self._process is not None:
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                start_new_session=True,  # Ctrl-C stops the member; this process ends by itself at the end of its input
            )
        for end in (self._process.stdin, self._process.stdout):
            if end:
                os.set_blocking(end.fileno(), False)  # it may hang, and the member goes on

    def start_rest(self) -> None:
        """Start the process where nothing else is left to do, so that each file may take its time."""
        self._longest_wait_s = _LONGEST_REST_S
        self.start()

    def poke(self) -> None:
        """Say that there may be new records, and warn, once, as soon as the process says that it cannot send them."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return
        with suppress(BlockingIOError, BrokenPipeError):  # as many pokes as fit are waiting, or it has ended
            os.write(self._process.stdin.fileno(), b"\n")
        if UNREACHABLE in (self._process.stdout.read() or b"") or self._process.poll():
            self._warn_once("the run goes on, the records are kept and sent later")

    def _warn_once(self, what_now: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"MLflow's store cannot be reached; {what_now}. Why: {self.log_file}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it write the rest, but not for ever: a store that does not answer gets it at the next start."""
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        was_stopped = isinstance(error, KeyboardInterrupt)
        try:
            self._wait(self._process, was_stopped=was_stopped)
        finally:  # a stop may come now
            self._process.kill()
            self._process.wait()
        self._tell_end(was_stopped=was_stopped)
        if self._process.stdout:
            self._process.stdout.close()

    def _wait(self, process: "subprocess.Popen[bytes]", *, was_stopped: bool) -> None:
        """As long as file after file gets through; where the run was stopped, for a moment."""
        seen = None
        while not self._was_ended:
            try:
                process.wait(timeout=_LONGEST_WAIT_STOPPED_S if was_stopped else self._longest_wait_s)
            except subprocess.TimeoutExpired:
                left = Remaining.read(self._note)
                self._was_ended = was_stopped or left == seen
                seen = left
            else:
                return

    def _tell_end(self, *, was_stopped: bool) -> None:
        left = Remaining.read(self._note)
        if self._was_ended and left and left.n_files:
            self._tell(f"{left} of report and model are still to be sent to MLflow's store; the next start goes on")
        elif was_stopped:
            pass  # the next start sends the rest
        elif self.failed:
            what = f"{left} of report and model" if left and left.n_files else "the records"
            self._warn_once(f"{what} are kept and sent by the next start")
        elif self._warned:
            self._tell("MLflow's store was reached again and has all records")

    @property
    def failed(self) -> bool:
        """Whether the last records could not be logged; they are kept."""
        return bool(self._process and self._process.returncode)


def send_rest(member: TrackedMember) -> bool:
    """Send what the member's store does not have yet, records and report; whether it has all then.

    True as well where a run is under way in the home, whose own tracking process does it.
    """
    if member.all_sent:
        return True
    command = [sys.executable, "-P", "-m", "pipeline.tracking.process", str(member.config_file), member.role, "once"]
    with (member.home.folder / "tracking.log").open("ab") as log:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                timeout=_LONGEST_REST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode in (0, BUSY)
