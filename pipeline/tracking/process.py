"""The tracking process: `python -m pipeline.tracking.process CONFIG ROLE`, started by pipeline.tracking.tracker.

It brings the store up to date with the records at its start, at every poke (a byte on its standard input), and when the
input ends. MLflow, which takes seconds and much memory, is loaded only when there is a record. If the store cannot be
reached, there is a retry at the next poke and every 30 s, and one line on standard output.
"""

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.errors import ConfigError, HomeInUse
from pipeline.home.lock import hold
from pipeline.runtime.redact import without_password
from pipeline.tracking.relocation import relocate
from pipeline.tracking.tracker import BUSY, QUIET, UNREACHABLE, TrackedMember, read_member
from secure.files import atomic_path_in_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_AGAIN_S = 30.0  # between two tries of a store that cannot be reached, if no poke comes
_SOON_S = 10.0  # so soon after a failed try, the end of the input causes no other
_ANSWER_S = 5  # in which a server must answer its health check
_POKES = 65536  # bytes read at once: many pokes cause one update


class Store:
    """A member's MLflow store, which is updated whenever it can be reached."""

    def __init__(self, member: TrackedMember, news: BinaryIO, client: "MlflowClient | None" = None) -> None:
        self._member = member
        self._client = client  # None: made at the first try, because it opens the database
        self._news = news
        self._was_reported = self._closed = False
        self._failed_at: float | None = None
        self._machine: SystemMetricsMonitor | None = None

    @property
    def failed(self) -> bool:
        """Whether the last try failed."""
        return self._failed_at is not None

    @property
    def failed_just_now(self) -> bool:
        """Whether it is too soon for another try."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < _SOON_S

    def follow(self) -> None:
        """Try to bring the store up to date, if there are records."""
        if self._member.has_records:
            self.update()

    def update(self) -> None:
        """Try to bring the store up to date with the records."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- seconds and much memory: only in this process

        from pipeline.tracking.sync import sync  # noqa: PLC0415

        try:
            _check_answers(self._member.store)
            _make_store(self._member)
            self._client = self._client or _opened(self._member)
            run_id = sync(self._member, self._client)
        # OSError: of requests, and of the artifacts' storage; ConfigError: of a damaged database
        except (MlflowException, OSError, ConfigError) as error:
            self._failed_at = time.monotonic()
            self._report_failure(error)
            self._machine = None  # it stops by itself at such an error
        else:
            self._failed_at = None
            self._watch_machine(run_id)

    def _report_failure(self, error: Exception) -> None:
        if not self._was_reported:
            self._was_reported = True
            where, reason = without_password(self._member.store), without_password(str(error))
            print(f"{where} cannot be reached: {reason}", file=sys.stderr, flush=True)  # noqa: T201 -- the log
            with suppress(BrokenPipeError):  # the member was killed
                self._news.write(UNREACHABLE)
                self._news.flush()

    def _watch_machine(self, run_id: str) -> None:
        """Start to log processor, memory, disk and network of the machine, if the configuration says so."""
        if self._closed or self._machine or not self._member.config.tracking.system_metrics:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # noqa: PLC0415 -- needs psutil

        self._machine = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._member.store)  # type: ignore[no-untyped-call]
        self._machine.start()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Stop the system metrics, before the last update, which ends the MLflow run."""
        self._closed = True
        if self._machine:
            self._machine.finish()  # type: ignore[no-untyped-call]
            self._machine = None


def open_store(member: TrackedMember) -> "MlflowClient":
    """Open a member's store, which is made first if it is missing; raises MlflowException, OSError or ConfigError."""
    _check_answers(member.store)
    _make_store(member)
    return _opened(member)


def _check_answers(store: str) -> None:
    """Raise MlflowException for a server that does not answer a health check soon; other requests may take longer."""
    if not store.startswith("http"):
        return
    from mlflow.utils.credentials import get_default_host_creds  # noqa: PLC0415 -- seconds: only in this process
    from mlflow.utils.rest_utils import http_request  # noqa: PLC0415

    login = get_default_host_creds(store)  # type: ignore[no-untyped-call]
    http_request(login, "/health", "GET", timeout=_ANSWER_S, max_retries=0)  # type: ignore[no-untyped-call]


def _poked(again_s: float | None) -> bool:
    """Wait for a poke, at most again_s seconds; False at the end of the input."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], again_s)
    return not ready or bool(os.read(sys.stdin.fileno(), _POKES))


def follow(store: Store) -> int:
    """Update until the input ends; return the exit code, 1 if the store does not have everything."""
    store.follow()
    while _poked(_AGAIN_S if store.failed else None):
        store.follow()
    store.close()
    if not store.failed_just_now:
        store.follow()
    return int(store.failed)


def _make_store(member: TrackedMember) -> None:
    """Make the home's own store atomically: MLflow cannot go on with a database that is half made."""
    if not member.own_store or member.store_file.exists():
        return
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds and much memory: only in this process

    # in a folder: the member's process, which holds another lock, removes unfinished files from the home
    with atomic_path_in_folder(member.store_file) as unfinished:
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)


def _opened(member: TrackedMember) -> "MlflowClient":
    """Open the store; one in the home names its artifacts where the home is now."""
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds and much memory: only in this process

    if member.own_store:
        relocate(member.store_file)
    return MlflowClient(tracking_uri=member.store)


def main(config_file: str, role: str, *, once: bool) -> int:
    """Follow the member's records; with `once`, bring the store up to date unless another process does."""
    os.environ.update(QUIET)
    os.umask(0o077)  # database, artifacts and log are as private as the home
    news = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for libraries that print: it goes to the log
    member = read_member(Path(config_file), role)
    try:
        # waits, because an earlier tracking process may still be writing after its member was killed
        with hold(member.home.folder / "tracking.lock", waits=not once):
            store = Store(member, news)
            if once:
                store.close()
                store.update()
                return int(store.failed)
            return follow(store)
    except HomeInUse:
        return BUSY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], once=sys.argv[3:] == ["once"]))
