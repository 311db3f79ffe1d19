"""The tracking process: `python -m pipeline.tracking.process CONFIG ROLE`, started by pipeline.tracking.tracker.

Brings the store up to the records at its start, at every poke on its standard input, and when that ends. As long as
there is none, MLflow, which takes seconds and much memory, is not loaded. A store that cannot be reached is tried again
at the next poke and now and then in between; standard output hears of it once.
"""

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.errors import HomeInUse
from pipeline.home.lock import hold
from pipeline.runtime.redact import without_password
from pipeline.tracking.tracker import BUSY, QUIET, UNREACHABLE, TrackedMember, read_member

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_AGAIN_S = 30.0  # between two tries of a store that cannot be reached, where no poke comes
_SOON_S = 10.0  # after a try that failed, the end of the input is no reason for another one
_KNOCK_S = 5  # in which a server must answer at all
_POKES = 65536  # bytes read at once: many pokes are one look


class Store:
    """A member's store as far as it can be reached."""

    def __init__(self, member: TrackedMember, news: BinaryIO, client: "MlflowClient | None" = None) -> None:
        self._member = member
        self._client = client  # None: made at the first try, for a database is asked then
        self._news = news
        self._told = self._closed = False
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
        """Try to bring the store up to the records, if there are any."""
        if self._member.has_records:
            self.update()

    def update(self) -> None:
        """Try to bring the store up to the records."""
        from mlflow import MlflowClient  # noqa: PLC0415 -- seconds and much memory: only in this process
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        from pipeline.tracking.sync import sync  # noqa: PLC0415

        try:
            _knock(self._member.store)
            _make_store(self._member)
            self._client = self._client or MlflowClient(tracking_uri=self._member.store)
            run_id = sync(self._member, self._client)
        except (MlflowException, OSError) as error:  # OSError: what requests raises, and artifacts' storage
            self._failed_at = time.monotonic()
            self._tell(error)
            self._machine = None  # it has stopped by itself
        else:
            self._failed_at = None
            self._watch_machine(run_id)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            where, reason = without_password(self._member.store), without_password(str(error))
            print(f"{where} cannot be reached: {reason}", file=sys.stderr, flush=True)  # noqa: T201 -- the log
            with suppress(BrokenPipeError):  # the member was killed
                self._news.write(UNREACHABLE)
                self._news.flush()

    def _watch_machine(self, run_id: str) -> None:
        """Processor, memory, disk and network of the whole machine, where the member wants that."""
        if self._closed or self._machine or not self._member.config.tracking.system_metrics:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # noqa: PLC0415 -- needs psutil

        self._machine = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._member.store)  # type: ignore[no-untyped-call]
        self._machine.start()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Stop what runs beside; before the last update, which ends the run."""
        self._closed = True
        if self._machine:
            self._machine.finish()  # type: ignore[no-untyped-call]
            self._machine = None


def _knock(store: str) -> None:
    """Raise MlflowException for a server that does not answer soon; one that does may take its time over the rest."""
    if not store.startswith("http"):
        return
    from mlflow.utils.credentials import get_default_host_creds  # noqa: PLC0415 -- seconds: only in this process
    from mlflow.utils.rest_utils import http_request  # noqa: PLC0415

    login = get_default_host_creds(store)  # type: ignore[no-untyped-call]
    http_request(login, "/health", "GET", timeout=_KNOCK_S, max_retries=0)  # type: ignore[no-untyped-call]


def _poked(again_s: float | None) -> bool:
    """Wait for a poke, or for again_s seconds; False at the end of the input."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], again_s)
    return not ready or bool(os.read(sys.stdin.fileno(), _POKES))


def follow(store: Store) -> int:
    """Update until the input ends; the exit code: 1 where the store does not have everything."""
    store.follow()
    while _poked(_AGAIN_S if store.failed else None):
        store.follow()
    store.close()
    if not store.failed_just_now:
        store.follow()
    return int(store.failed)


def _make_store(member: TrackedMember) -> None:
    """Make the home's own store whole or not at all: MLflow never goes on with one that it was killed in making."""
    if not member.own_store or (store := member.store_file).exists():
        return
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds and much memory: only in this process

    for leftover in store.parent.glob("mlflow.db.new*"):  # its journal too
        leftover.unlink()
    # not with secure.files.PART: who sweeps such files from a home does not hold the lock under which this one is made
    unfinished = store.with_name("mlflow.db.new")
    MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.replace(store)


def main(config_file: str, role: str, *, once: bool) -> int:
    """Follow the member's records; with `once`, bring the store up to them unless another process does."""
    os.environ.update(QUIET)
    news = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print there, and it goes to the log
    member = read_member(Path(config_file), role)
    try:
        # waits, for a predecessor may still be writing after its member was killed
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
