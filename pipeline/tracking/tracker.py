"""MLflow tracking of a member's run, in a separate process (pipeline.tracking.process) that never delays a round.

The member's process writes records (pipeline.home.round_metrics) and pokes the tracking process through its standard
input. If the tracking server is slow or down, the records wait, if need be for the next start. The aggregator's process
does not import MLflow.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.model.description import Description
from pipeline.plan.member_configs import MemberConfig, read_member_config
from pipeline.plan.plan import Plan, read_plan
from pipeline.tracking.relocation import relocate_unless_busy
from pipeline.tracking.uploads import Remaining

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Unless the user sets them. No retries by MLflow: the tracking process has its own
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
# longest wait, at a run's end, for the tracking process to send one file; without a store it ends within seconds
_LONGEST_WAIT_S = 300.0
_LONGEST_WAIT_STOPPED_S = 2.0  # the same if the run was stopped
_LONGEST_REST_S = 3600.0  # the same if nothing else is left to do
UNREACHABLE = b"unreachable\n"  # line of the tracking process, written once
_FORMAT = 2  # of tracked.json; a home with another one is sent again, which adds what earlier versions did not send
_NOT_INSTALLED = "MLflow is not installed: the run goes on untracked, the records are kept"
BUSY = 3  # its exit code if another one holds the store's lock


def environment() -> dict[str, str]:
    """Environment of every process that loads MLflow: data go only to the configured store."""
    return _TIMEOUTS | os.environ | QUIET


@dataclass(frozen=True, slots=True)
class TrackedMember:
    """The member whose run is tracked: configuration, plan, role and store."""

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
        """Whether the store is in the home."""
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
        """Whether the member's run is finished."""
        return self.home.finished.exists()

    @property
    def has_records(self) -> bool:
        """Whether there is a record to log; there is none until the data are prepared."""
        return next(self.home.metrics.glob("step-*.json"), None) is not None

    @property
    def all_sent(self) -> bool:
        """Whether the store has everything, as far as the home knows."""
        if not self.finished or not self.home.tracked.exists():
            return False
        if self.own_store and not self.store_file.exists():
            return False
        try:
            tracked = read_json(self.home.tracked)
            same_model = tracked["model"] == model_edition(self.home)
            return bool(tracked["format"] == _FORMAT and tracked["report"] == report_digest(self.home) and same_model)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False  # damaged, or of an earlier version: sync again


def note_all_sent(home: Home, run_id: str, *, report: str, model: str) -> None:
    """Note in the home that the store has everything: a report with this digest, and a model with these assays."""
    write_json(home.tracked, {"format": _FORMAT, "run": run_id, "report": report, "model": model})


def relocate_store(member: TrackedMember) -> None:
    """Let the home's own store find its artifacts if the home was moved; a tracking process does so itself.

    Raises ConfigError for a database that cannot be used.
    """
    if member.own_store and member.store_file.exists():
        relocate_unless_busy(member.store_file)


def report_files(home: Home) -> list[Path]:
    """Files of the report, without half-written ones."""
    paths = sorted(home.report.rglob("*"))
    return [path for path in paths if path.is_file() and not path.name.startswith(".")]


def report_digest(home: Home) -> str:
    """SHA-256, hexadecimal, over the names and bytes of the report's files; "" if there is no report."""
    files = report_files(home)
    lines = [f"{path.relative_to(home.report)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if files else ""


def model_edition(home: Home) -> str:
    """Which assays `hocket extend` added to the finished model; "" without any, and without a model."""
    try:
        return Description.read(home.model).edition
    except ConfigError:
        return ""


def read_member(config_file: Path, role: str) -> TrackedMember:
    """Read a member's configuration and plan."""
    config = read_member_config(config_file, role)
    return TrackedMember(config, config_file.resolve(), read_plan(config.plan_file), role)


class Tracker:
    """Starts the tracking process from the member's process, pokes it, and waits for it at the end.

    report : writes a line for the user
    warn   : writes a warning for the user, once, if the store cannot be reached
    """

    def __init__(
        self, config_file: Path, role: str, home: Home, report: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._command = [sys.executable, "-P", "-m", "pipeline.tracking.process", str(config_file.resolve()), role]
        self.log_file = home.folder / "tracking.log"
        self._note = home.sent
        self._report, self._warn = report, warn
        self._warned = self._was_ended = False
        self._longest_wait_s = _LONGEST_WAIT_S
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start the process, unless it was started; without MLflow warn once, and keep the records."""
        if self._process is not None:
            return
        if find_spec("mlflow") is None:
            self._warn_once(_NOT_INSTALLED)
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                start_new_session=True,  # Ctrl-C stops only the member; this process ends when its input does
            )
        for end in (self._process.stdin, self._process.stdout):
            if end:
                os.set_blocking(end.fileno(), False)  # the member goes on even if the process hangs

    def start_rest(self) -> None:
        """Start the process if sending is all that is left to do, with more time for each file."""
        self._longest_wait_s = _LONGEST_REST_S
        self.start()

    def poke(self) -> None:
        """Signal the process that there may be new records; warn once if it reports that the store is unreachable."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return
        with suppress(BlockingIOError, BrokenPipeError):  # the pipe is full of pokes, or the process has ended
            os.write(self._process.stdin.fileno(), b"\n")
        if UNREACHABLE in (self._process.stdout.read() or b"") or self._process.poll():
            self._warn_once(self._unreachable("the run goes on, the records are kept and sent later"))

    def _unreachable(self, consequence: str) -> str:
        return f"MLflow's store cannot be reached; {consequence}. Why: {self.log_file}"

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the process to send the last records and files, then end it; the next start sends the others."""
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
        self._report_end(was_stopped=was_stopped)
        if self._process.stdout:
            self._process.stdout.close()

    def _wait(self, process: "subprocess.Popen[bytes]", *, was_stopped: bool) -> None:
        """Wait as long as the number of files to send falls; if the run was stopped, only for a moment."""
        before = None
        while not self._was_ended:
            try:
                process.wait(timeout=_LONGEST_WAIT_STOPPED_S if was_stopped else self._longest_wait_s)
            except subprocess.TimeoutExpired:
                remaining = Remaining.read(self._note)
                self._was_ended = was_stopped or remaining == before
                before = remaining
            else:
                return

    def _report_end(self, *, was_stopped: bool) -> None:
        remaining = Remaining.read(self._note)
        if self._was_ended and remaining and remaining.n_files:
            self._report(
                f"{remaining} of report and model are still to be sent to MLflow's store; the next start goes on"
            )
        elif was_stopped:
            pass  # the next start sends the rest
        elif self.failed:
            unsent = f"{remaining} of report and model" if remaining and remaining.n_files else "the records"
            self._warn_once(self._unreachable(f"{unsent} are kept and sent by the next start"))
        elif self._warned:
            self._report("MLflow's store was reached again and has all records")

    @property
    def failed(self) -> bool:
        """Whether the last records could not be logged; they are kept."""
        return bool(self._process and self._process.returncode)


def send_rest(member: TrackedMember) -> bool:
    """Send records and report that the member's store lacks; return whether it has all after that.

    True also if a run is going on in the home, because its own tracking process sends them.
    """
    if member.all_sent:
        return True
    command = [sys.executable, "-P", "-m", "pipeline.tracking.process", str(member.config_file), member.role, "once"]
    return run_to_its_end(command, member.home.folder / "tracking.log") in (0, BUSY)


def run_to_its_end(command: Sequence[str], log_file: Path) -> int | None:
    """Run a tracking process; its exit code, or None if it took too long for a store and was ended."""
    with log_file.open("ab") as log:
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
            return None
    return done.returncode
