"""Run preparation steps on a Dask cluster. Its machines must be trusted: they receive the structures themselves.

A Dask task is a few texts, processed under the watchdog: a text that crashes its process ends a child of the worker,
not the worker. Only results come back, and only the caller stores them. This uses distributed directly: with joblib's
Dask backend the caller waits without end for a task whose workers died too often, and for a scheduler that is gone.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import dask
import rdkit
from distributed import Client, Future, LocalCluster, wait
from distributed.scheduler import KilledWorker
from distributed.security import Security

from data_prep.errors import ChildError, ClusterError
from data_prep.structures.steps import CRASHED, Step, StepResult
from data_prep.structures.watchdog import end_idle, guarded
from data_prep.version import CODE_VERSION

LOCAL = "local:"
_CONNECT_S = 20.0  # limit for the scheduler's answer
_FIRST_WORKER_S = 20.0
_LOOK_S = 2.0  # between two checks whether there are any workers
_AHEAD = 3  # tasks sent per thread of the cluster: one runs, the others wait


def library_versions() -> dict[str, str]:
    """Versions that must be equal on all machines."""
    return {"hocket": version("hocket"), "preparation": str(CODE_VERSION), "rdkit": rdkit.__version__}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some texts sent to a worker; kept out of repr, which Dask logs."""

    step: Step
    texts: list[str | None] = field(repr=False)
    timeout_s: float
    library_versions: dict[str, str]  # of the caller

    def made(self) -> list[StepResult] | str | ChildError:
        """Return the results, or how this machine's versions differ, or why it starts no process. Runs on a worker."""
        if library_versions() != self.library_versions:
            return f"it has {_listed(library_versions())}"
        try:
            return guarded(self.step, self.texts, self.timeout_s)
        except ChildError as error:
            return error.with_traceback(None)  # returned, it keeps message and notes; raised, only its type


class DaskCluster:
    """The workers of a Dask scheduler, or processes of this machine; connects at first use."""

    def __init__(self, scheduler: str, patience_s: float = 300.0) -> None:
        """Take `tcp://HOST:PORT`, `tls://HOST:PORT` or `local:N`.

        Raise ClusterError after `patience_s` without a worker.
        """
        self._scheduler, self._patience_s = scheduler, patience_s
        self._opened = ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        self._opened.close()

    @property
    def n_workers(self) -> int:
        """Number of texts that can be processed at the same time. Raises ClusterError as `results` does."""
        try:
            return max(1, _n_threads(self._connected()))
        except OSError as lost:
            raise self._lost() from lost

    def results(
        self, step: Step, texts: Sequence[str | None], chunks: Sequence[list[int]], timeout_s: float
    ) -> Iterator[tuple[list[int], list[StepResult]]]:
        """Yield the indices and results of each chunk, in the order in which they finish.

        Texts whose workers die repeatedly are processed again at the end, each alone, because a worker that dies takes
        other texts with it; a text that ends its workers alone, too, is `crashed`. Raises ClusterError if the scheduler
        cannot be reached or is gone, without workers, or if a worker fails or has other versions.
        """
        suspects: list[int] = []
        for places, made in self._attempted(step, texts, chunks, timeout_s):
            if made is None:
                suspects += places
            else:
                yield places, made
        for place in suspects:
            for places, made in self._attempted(step, texts, [[place]], timeout_s):
                yield places, made or [StepResult(reason=CRASHED)]

    def _attempted(
        self, step: Step, texts: Sequence[str | None], chunks: Sequence[list[int]], timeout_s: float
    ) -> Iterator[tuple[list[int], list[StepResult] | None]]:
        """Yield indices and results; None for a chunk whose workers died as often as the scheduler allows."""
        client = self._connected()
        waiting, under_way = deque(chunks), dict[Future, list[int]]()
        try:
            while waiting or under_way:
                n_ahead = _AHEAD * self.n_workers
                while waiting and len(under_way) < n_ahead:
                    places = waiting.popleft()
                    chunk = Chunk(step, [texts[i] for i in places], timeout_s, library_versions())
                    under_way[client.submit(chunk.made, pure=False)] = places
                yield from self._done(client, under_way)
        except (CancelledError, OSError) as lost:
            raise self._lost() from lost
        finally:
            if client.status == "running":
                client.cancel(list(under_way))

    def _done(
        self, client: Client, under_way: dict[Future, list[int]]
    ) -> Iterator[tuple[list[int], list[StepResult] | None]]:
        """Wait for finished tasks and yield their results."""
        idle_s, n_under_way = 0.0, len(under_way)
        while len(under_way) == n_under_way:
            try:
                for future in wait(list(under_way), timeout=_LOOK_S, return_when="FIRST_COMPLETED").done:
                    made = self._result(future)
                    yield under_way.pop(future), made
            except TimeoutError:
                idle_s = 0.0 if _n_threads(client) else idle_s + _LOOK_S
            if idle_s >= self._patience_s:
                error = ClusterError(f"{self._scheduler}: no worker for {idle_s:.0f} s, expected at least one")
                error.add_note("start workers and run again: it goes on from what is in the cache")
                raise error

    def _result(self, future: Future) -> list[StepResult] | None:
        """Return the result of a finished task; TimeoutError if its worker died, and Dask runs the task again."""
        made: list[StepResult] | str | ChildError | None = None
        try:
            if future.status != "error":
                made = future.result(timeout=_LOOK_S)
        except (KilledWorker, CancelledError, OSError):
            if future.status != "error":  # an error of the connection, not of a task that was restarted since
                raise
        if made is None:
            self._expect_killed(future)
        elif isinstance(made, str):
            raise self._differs({"a worker": made})
        elif isinstance(made, ChildError):
            raise self._without_processes(made)
        return made

    def _expect_killed(self, future: Future) -> None:
        """Raise ClusterError if the task failed for another reason than the death of its workers.

        The exception is asked for, not caught: a task's own OSError or TimeoutError looks like one of the connection.
        Its message may show a structure, and so may `strerror`, which Dask replaces when it is long; its type and
        number do not.
        """
        failed = future.exception(timeout=_LOOK_S)
        if isinstance(failed, KilledWorker):
            return
        number = failed.errno if isinstance(failed, OSError) else None
        reason = f" ({os.strerror(number)})" if isinstance(number, int) else ""
        error = ClusterError(f"{self._scheduler}: a task failed with {type(failed).__name__}{reason}, expected results")
        error.add_note("the workers' logs say where it failed; mend that and run again: it goes on from the cache")
        raise error

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Client:
        _silence_dask_log()
        place: str | LocalCluster = self._scheduler
        if self._scheduler.startswith(LOCAL):
            place = self._opened.enter_context(_local_cluster(int(self._scheduler.removeprefix(LOCAL))))
        else:
            self._expect_fit_settings()
        client = self._opened.enter_context(self._opened_client(place))
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
        except TimeoutError as cause:
            error = ClusterError(f"{self._scheduler}: no worker within {_FIRST_WORKER_S:g} s, expected at least one")
            error.add_note(f"start one, with the same version of hocket installed: dask worker {self._scheduler}")
            raise error from cause
        self._expect_equal_versions(client)
        self._opened.callback(_end_idle_children, client)
        return client

    def _opened_client(self, place: str | LocalCluster) -> Client:
        try:
            return Client(place, timeout=_CONNECT_S, name="hocket")
        except OSError as cause:
            error = ClusterError(f"{self._scheduler}: no Dask scheduler answers there: {cause}")
            error.add_note("start it: dask scheduler; a firewall, or tcp:// for tls://, may be the cause too")
            raise error from cause

    def _expect_fit_settings(self) -> None:
        """Raise ClusterError if Dask's settings on this machine do not fit the scheduler's address.

        Checked before a Client exists: a Client that fails over them is closed only by the garbage collector, and if
        that runs during another Client's start, it waits without end for the lock that the new Client holds.
        """
        try:
            found = Security().get_connection_args("client")
        except OSError as cause:
            raise self._unfit(f"Dask's certificates of this machine cannot be read: {cause}") from cause
        if self._scheduler.startswith("tls://"):
            if found["ssl_context"] is None:
                raise self._unfit("TLS is not configured on this machine, expected certificates")
        elif found["require_encryption"]:
            raise self._unfit("Dask's settings of this machine demand encryption, expected an address with tls://")

    def _unfit(self, what: str) -> ClusterError:
        error = ClusterError(f"{self._scheduler}: {what}")
        error.add_note("Dask's own settings name the files: distributed.comm.tls.ca-file, .client.cert, .client.key")
        return error

    def _expect_equal_versions(self, client: Client) -> None:
        ours = library_versions()
        found = client.run(library_versions, on_error="return")
        differing = {
            address: f"it has {_listed(theirs)}" if isinstance(theirs, dict) else f"{type(theirs).__name__}: {theirs}"
            for address, theirs in found.items()
            if theirs != ours
        }
        if differing:
            raise self._differs(differing)

    def _differs(self, complaints: dict[str, str]) -> ClusterError:
        address, what = next(iter(complaints.items()))
        said = f"{self._scheduler}: {len(complaints)} unfit worker(s); {address}: {what}"
        error = ClusterError(f"{said}, expected {_listed(library_versions())}")
        error.add_note("all machines need the same hocket and RDKit, or they would prepare compounds differently")
        return error

    def _without_processes(self, cause: ChildError) -> ClusterError:
        error = ClusterError(f"{self._scheduler}: on a worker, {cause}")
        for note in getattr(cause, "__notes__", []):
            error.add_note(note)
        return error

    def _lost(self) -> ClusterError:
        error = ClusterError(f"{self._scheduler}: the Dask scheduler is gone, in the middle of the work")
        error.add_note("run again when it is back: it goes on from what is in the cache")
        return error


def _silence_dask_log() -> None:
    """Keep distributed out of the caller's log: errors are raised instead."""
    for name in logging.root.manager.loggerDict:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[LocalCluster]:
    """Start worker processes on this machine that no other account can use, though 127.0.0.1 is open to all accounts.

    An account that reaches one of Dask's ports can run code behind it, with some ports in this process, so all ports
    expect a TLS key that is made here and stored nowhere. An account that writes to Dask's folder can run code too: the
    folder is in sys.path, and by default has a fixed name in /tmp, which another account may have made first. Dask's
    web pages are empty.
    """
    pages: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
    with (
        TemporaryDirectory(prefix="hocket-") as scratch,
        dask.config.set({"temporary-directory": scratch, **pages}),  # for restarted workers, too
    ):
        try:
            with LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=Security.temporary(),
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            ) as cluster:
                yield cluster
        finally:
            sys.path[:] = [place for place in sys.path if not place.startswith(scratch)]  # Dask may leave it there


def _n_threads(client: Client) -> int:
    """Number of threads of all workers. Raises OSError if no scheduler answers: Dask alone waits without end."""
    n_threads: int = sum(client.ncores(callback_timeout=_CONNECT_S).values())
    return n_threads


def _end_idle_children(client: Client) -> None:
    """End the idle child processes on the workers, if the scheduler still answers."""
    if client.status == "running":
        with suppress(OSError):  # the scheduler may not answer any more
            _n_threads(client)
            client.run(end_idle, on_error="ignore")


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())
