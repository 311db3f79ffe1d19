"""Run steps in child processes, so that no structure can stall or end the run.

A text that takes longer than its time limit ends its child (reason `timeout`); one that ends its child twice in any
other way is rejected too (`crashed`). The other texts go to a new child. Children are plain processes, so this works
inside a worker of any kind, and only their parent can reach them, through a socket that nobody else holds.
"""

import mmap
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Pipe

from data_prep.errors import ChildError
from data_prep.structures.steps import CRASHED, TIMEOUT, Step, StepResult

DEFAULT_TIMEOUT_S = 60.0
_CRASHES = 2  # a child may die once for another reason than its text, such as memory used elsewhere


class _Child:
    """A process that runs a step on texts; it ends when its connection closes."""

    def __init__(self) -> None:
        """Start the process. Raise ChildError if the machine has no process, file or memory left for it."""
        self.dismissed = False
        try:
            self._start()
        except OSError as cause:
            error = ChildError(f"a process for structures cannot be started: {cause}, expected room for one more")
            error.add_note(
                "raise the machine's limits of open files (ulimit -n) and processes (ulimit -u), or use fewer workers"
            )
            raise error from cause
        _alive.add(self)

    def _start(self) -> None:
        with ExitStack() as ours, ExitStack() as childs:
            self.connection, far = Pipe()
            ours.callback(self.connection.close)
            childs.callback(far.close)
            memory = os.memfd_create("hocket")
            childs.callback(os.close, memory)
            os.ftruncate(memory, mmap.PAGESIZE)
            self._index_memory = ours.enter_context(mmap.mmap(memory, mmap.PAGESIZE))
            inherited = (far.fileno(), memory)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "data_prep.structures.child", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,  # Ctrl-C is the parent's to handle
            )
            ours.pop_all()  # the child has started: its connection and memory stay open

    def wait_until_ready(self) -> None:
        """Wait until the process can work. Raise ChildError if it ends before."""
        try:
            self.connection.recv()
        except (EOFError, OSError):
            error = ChildError(
                f"a process for structures ended at its start with exit code {self.end()}, expected it to start"
            )
            error.add_note(
                "its own message is printed above; possible causes: too little memory, an incomplete installation"
            )
            raise error from None

    @property
    def current_index(self) -> int:
        """Index of the text that the child works on, among those sent to it last."""
        return int.from_bytes(self._index_memory[:8], "little")

    def reset_current_index(self) -> None:
        """Set the current index to 0, until the child sets it itself."""
        self._index_memory[:8] = bytes(8)

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> int:
        """Let the process end, wait for it and return its exit code, negative for a signal."""
        self.connection.close()
        return self._process.wait()

    def dismiss(self) -> None:
        """Kill the process, even at work; the thread that uses it gets an error."""
        self.dismissed = True
        self._process.kill()

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.dismiss()
        self.end()


_alive: "weakref.WeakSet[_Child]" = weakref.WeakSet()
_idle: deque[_Child] = deque()
_keepers = 0  # callers inside worker_pool
_keepers_lock = threading.Lock()


def _forget_after_fork() -> None:
    """In a forked process, close the connections to its parent's children and forget them."""
    global _keepers, _keepers_lock
    _keepers, _keepers_lock = 0, threading.Lock()
    for child in _alive:
        child.connection.close()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


@contextmanager
def worker_pool() -> Iterator[None]:
    """Keep idle children for the next call; the last caller that leaves ends all children of this process."""
    global _keepers  # noqa: PLW0603 - children belong to the process, and so does the number of their keepers
    with _keepers_lock:
        _keepers += 1
    try:
        yield
    finally:
        with _keepers_lock:
            _keepers -= 1
            if not _keepers:
                _end_all()


def end_idle() -> None:
    """End the idle children of this process; for a cluster's workers, where no caller is inside worker_pool."""
    while _idle:
        with suppress(IndexError):  # another thread took the last
            _idle.pop().kill()


def _end_all() -> None:
    end_idle()
    for child in list(_alive):  # at work for a thread whose caller has left, after Ctrl-C
        child.dismiss()


def guarded(step: Step, texts: Sequence[str | None], timeout_s: float) -> list[StepResult]:
    """Return the result of `step` for each text, in order; `timeout_s` limits the time for each text.

    Raises ChildError when no child process can be started.
    """
    results: list[StepResult | None] = [None] * len(texts)
    crashes: Counter[int] = Counter()
    while missing := [i for i, result in enumerate(results) if result is None]:
        with _borrowed() as child:
            child_results = _results(child, step, timeout_s, [texts[i] for i in missing])
            try:
                for i, result in zip(missing, child_results, strict=True):
                    results[i] = result
            except (EOFError, OSError):
                culprit, code = missing[child.current_index], child.end()
                if child.dismissed:
                    raise ChildError(
                        "a process for structures was stopped, since the run that used it has ended"
                    ) from None
                crashes[culprit] += code != -signal.SIGALRM
                if code == -signal.SIGALRM:
                    results[culprit] = StepResult(reason=TIMEOUT)
                elif crashes[culprit] == _CRASHES:
                    results[culprit] = StepResult(reason=CRASHED)
    return [result for result in results if result is not None]


@contextmanager
def _borrowed() -> Iterator[_Child]:
    """Lend a child for a call; one that ended, or whose work was interrupted (Ctrl-C), is not used again."""
    child, is_done = _idle_or_new_child(), False
    try:
        yield child
        is_done = not child.connection.closed
    finally:
        if is_done:
            _idle.append(child)
        else:
            child.kill()  # it would work on texts whose results nobody uses


def _idle_or_new_child() -> _Child:
    while _idle:
        with suppress(IndexError):  # another thread took the last
            child = _idle.pop()
            if child.is_alive:
                return child
            child.end()  # it was killed while idle, so no text caused it
    child = _Child()
    child.wait_until_ready()
    return child


def _results(child: _Child, step: Step, timeout_s: float, texts: list[str | None]) -> Iterator[StepResult]:
    child.reset_current_index()  # an index of earlier texts would blame the wrong text if the child has died since
    child.connection.send((step, timeout_s, texts))
    n_received = 0
    while n_received < len(texts):
        batch: list[StepResult] = child.connection.recv()
        yield from batch
        n_received += len(batch)
