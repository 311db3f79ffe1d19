"""Process blocks in several processes, results in order.

SEAL's Python binding holds the interpreter's lock, so threads would gain nothing. A worker receives everything through
a separate pipe and ends when the pipe is closed, also when its parent is killed.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import cycle
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from secure.errors import SecureError

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # chunks done, chunks in all

_END_S = 10.0  # for a worker to end after its pipe is closed
_FEWEST_BLOCKS = 64  # per worker: half a second of work, twice its start


def n_workers_for(n_blocks: int, at_most: int) -> int:
    """Number of workers that is worth their start; 1 means no other process."""
    return max(1, min(at_most, n_blocks // _FEWEST_BLOCKS))


class Workers(Generic[Task, Result]):
    """Worker processes that each call `build(*arguments)` once and its result with one task after the other.

    here : `build(*arguments)`, if this process has it already: called when n = 1, as there is then no other process
    A SecureError of a task is raised in this process.
    """

    def __init__(
        self,
        build: Callable[..., Callable[[Task], Result]],
        arguments: tuple[Any, ...],
        n: int,
        *,
        here: Callable[[Task], Result] | None = None,
    ) -> None:
        self._build, self._arguments, self._n, self._here = build, arguments, n, here
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
        with ExitStack() as started:
            for _ in range(self._n if self._n > 1 else 0):
                self._workers.append(_Worker(context, self._build, self._arguments))
                started.callback(self._workers[-1].stop)
            self._started = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def in_order(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the results in the order of the tasks; each worker processes one task at a time."""
        if not self._workers:
            yield from map(self._build(*self._arguments) if self._here is None else self._here, tasks)
            return
        busy: deque[_Worker] = deque()
        for task, worker in zip(tasks, cycle(self._workers), strict=False):
            if len(busy) == len(self._workers):  # then it is this worker's turn
                result = busy.popleft().receive()
                worker.send(task)
                busy.append(worker)
                yield result
            else:
                worker.send(task)
                busy.append(worker)
        while busy:
            yield busy.popleft().receive()


class ProgressCounter:
    """Count finished chunks and report the progress."""

    __slots__ = ("_n_all", "_n_done", "_progress")

    def __init__(self, progress: Progress | None, n_all: int) -> None:
        self._progress, self._n_all, self._n_done = progress, n_all, 0

    def __call__(self, n: int) -> None:
        """Add n finished chunks and report the progress."""
        self._n_done += n
        if self._progress:
            self._progress(self._n_done, self._n_all)


class _Worker:
    def __init__(self, context: Any, build: Callable[..., Any], arguments: tuple[Any, ...]) -> None:  # noqa: ANN401 -- untyped in typeshed
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the worker closes the pipe

    def send(self, task: Any) -> None:  # noqa: ANN401 -- any task
        try:
            self._connection.send(task)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> Any:  # noqa: ANN401 -- any result
        try:
            result = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(result, SecureError):
            raise result
        return result

    def stop(self) -> None:
        self._connection.close()
        self._process.kill()  # it has nothing to clean up, and a stopped process (SIGSTOP) handles no other signal
        self._process.join()

    def _died(self) -> ChildProcessError:
        self._process.join(_END_S)  # its exit code is known only then
        self._process.kill()
        self._process.join()
        return ChildProcessError(f"a worker process ended with code {self._process.exitcode}: is there enough memory?")


def _serve(connection: Connection, build: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    work = build(*arguments)
    with suppress(EOFError, OSError):  # the parent is gone, perhaps in the middle of a message
        while True:
            task = connection.recv()
            try:
                result = work(task)
            except SecureError as error:
                result = error
            connection.send(result)
