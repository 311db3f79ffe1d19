"""Steps under guard: each text is made in a child process, so that none can stall or end the run.

A text that takes longer than its time costs its child (reason `timeout`); one that ends its child in any other way,
twice, is left out too (`crashed`). The rest goes on in a new child. Children are plain processes, so this works
inside a worker of any kind, and they talk to their parent alone, through a socket nobody else holds.
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
_CRASHES = 2  # a child may die of something else than its text, say of memory used elsewhere, but not twice


class _Child:
    """A process that makes texts; it ends when its connection does."""

    def __init__(self) -> None:
        """Raise ChildError where the machine has no process, file or memory left for it."""
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
            self._in_hand = ours.enter_context(mmap.mmap(memory, mmap.PAGESIZE))
            inherited = (far.fileno(), memory)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "data_prep.structures.child", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,  # Ctrl-C is the parent's to handle
            )
            ours.pop_all()  # it has started: they stay open as long as it works

    def wait_until_ready(self) -> None:
        """Raise ChildError when the process ends before it can work."""
        try:
            self.connection.recv()
        except (EOFError, OSError):
            error = ChildError(f"a process for structures ended at its start with code {self.end()}, expected it ready")
            error.add_note("its own message stands above; memory or an incomplete installation may be the cause")
            raise error from None

    @property
    def current_index(self) -> int:
        """Place of the text that the child works on, among those it was given last."""
        return int.from_bytes(self._in_hand[:8], "little")

    def take_in_hand(self, place: int) -> None:
        """Say what the child works on until it says so itself."""
        self._in_hand[:8] = place.to_bytes(8, "little")

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> int:
        """Let the process end, wait for it and return its exit code, negative for a signal."""
        self.connection.close()
        return self._process.wait()

    def dismiss(self) -> None:
        """Stop the process whatever it does; who uses it notices."""
        self.dismissed = True
        self._process.kill()

    def kill(self) -> None:
        """Stop the process and wait for its end."""
        self.dismiss()
        self.end()


_alive: "weakref.WeakSet[_Child]" = weakref.WeakSet()
_idle: deque[_Child] = deque()
_keepers = 0  # callers inside kept_children
_keepers_lock = threading.Lock()


def _forget_after_fork() -> None:
    """A forked process must neither use its parent's children nor keep their connections open."""
    global _keepers, _keepers_lock
    _keepers, _keepers_lock = 0, threading.Lock()
    for child in _alive:
        child.connection.close()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


@contextmanager
def worker_pool() -> Iterator[None]:
    """Keep idle children for the next call; the last to leave ends those of this process."""
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
    """End the children of this process that nobody uses, where no caller keeps them: on a cluster's workers."""
    while _idle:
        with suppress(IndexError):  # a thread took it for a new call
            _idle.pop().kill()


def _end_all() -> None:
    end_idle()
    for child in list(_alive):  # at work for a thread whose caller has left, after Ctrl-C
        child.dismiss()


def guarded(step: Step, texts: Sequence[str | None], timeout_s: float) -> list[StepResult]:
    """Return what `step` makes of each text, in order; `timeout_s` is the time of each.

    Raises ChildError when no child process can be started.
    """
    made: list[StepResult | None] = [None] * len(texts)
    crashes: Counter[int] = Counter()
    while missing := [i for i, outcome in enumerate(made) if outcome is None]:
        with _borrowed() as child:
            outcomes = _outcomes(child, step, timeout_s, [texts[i] for i in missing])
            try:
                for i, outcome in zip(missing, outcomes, strict=True):
                    made[i] = outcome
            except (EOFError, OSError):
                culprit, code = missing[child.current_index], child.end()
                if child.dismissed:
                    raise ChildError("a process for structures was stopped: nobody waits for it any more") from None
                crashes[culprit] += code != -signal.SIGALRM
                if code == -signal.SIGALRM:
                    made[culprit] = StepResult(reason=TIMEOUT)
                elif crashes[culprit] == _CRASHES:
                    made[culprit] = StepResult(reason=CRASHED)
    return [outcome for outcome in made if outcome is not None]


@contextmanager
def _borrowed() -> Iterator[_Child]:
    """Lend a child, idle again afterwards; one that ended, or whose work was cut short (Ctrl-C), is not used again."""
    child, is_done = _take(), False
    try:
        yield child
        is_done = not child.connection.closed
    finally:
        if is_done:
            _idle.append(child)
        else:
            child.kill()  # it would go on with what nobody waits for


def _take() -> _Child:
    while _idle:
        with suppress(IndexError):  # another thread took the last
            child = _idle.pop()
            if child.is_alive:
                return child
            child.end()  # somebody killed it while it was idle: no text is to blame
    child = _Child()
    child.wait_until_ready()
    return child


def _outcomes(child: _Child, step: Step, timeout_s: float, texts: list[str | None]) -> Iterator[StepResult]:
    child.take_in_hand(0)  # what was in hand before says nothing about a child that died since
    child.connection.send((step, timeout_s, texts))
    n_received = 0
    while n_received < len(texts):
        batch: list[StepResult] = child.connection.recv()
        yield from batch
        n_received += len(batch)
