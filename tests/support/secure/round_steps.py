"""Time and memory of a round's steps on made-up changes, each in a separate process.

Counted are that process and all its workers: CPU time as the kernel charges it, peak resident sets (VmHWM) added up.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.support.secure.consortium import Consortium

_PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and memory of a step."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def change_of(n_params: int, seed: int) -> np.ndarray:
    """A made-up change, (n_params,) float32; a shorter one begins like a longer one, up to a piece."""
    rng, change = np.random.default_rng(seed), np.empty(n_params, dtype=np.float32)
    for start in range(0, n_params, _PIECE):
        part = change[start : start + _PIECE]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= np.float32(1e-3)
    return change


def changes_of(consortium: Consortium, name: str, n_params: int) -> tuple[np.ndarray, np.ndarray]:
    """A partner's change and its residual of the round before."""
    place = consortium.partners.index(name)
    return change_of(n_params, 2 * place), change_of(n_params, 2 * place + 1)


def seal_apart(consortium: Consortium, name: str, n_params: int, path: Path, *, workers: int, weight: int = 1) -> Cost:
    """Cost of sealing a partner's change; the new residual takes the change's place."""

    def seal(change: np.ndarray, carried: np.ndarray) -> None:
        consortium.seal(name, change, path, residual=carried, residual_out=change, workers=workers, weight=weight)

    return apart(seal, lambda: changes_of(consortium, name, n_params))


def open_mean(consortium: Consortium, path: Path, n_params: int, *, workers: int) -> np.ndarray:
    """Open the sum and compute the mean change, (n_params,) float32."""
    return consortium.open(path, n_params, workers=workers).mean


def apart(step: Callable[..., object], made: Callable[[], tuple[object, ...]] = tuple) -> Cost:
    """Cost of a step in a separate process, with its workers.

    made : makes what the step is given; its time does not count, its memory does
    """
    context = multiprocessing.get_context("fork")  # shares the consortium's keys, which are never pickled
    ours, theirs = context.Pipe()
    process = context.Process(target=_measured, args=(step, made, theirs))
    process.start()
    theirs.close()
    cost: Cost = ours.recv()
    process.join()
    return cost


def _measured(step: Callable[..., object], made: Callable[[], tuple[object, ...]], connection: Connection) -> None:
    done, peaks = threading.Event(), dict[int, float]()
    given = made()
    watcher = threading.Thread(target=_watch, args=(done, peaks))
    watcher.start()
    started, cpu_before = time.monotonic(), _cpu_s()
    try:
        step(*given)
        wall_s, cpu_s = time.monotonic() - started, _cpu_s() - cpu_before
    finally:  # the process ends with its error only after the watcher
        done.set()
        watcher.join()
    connection.send(Cost(wall_s, cpu_s, sum(peaks.values())))


def _cpu_s() -> float:
    """CPU seconds of this process and its ended children, user and system."""
    return sum(os.times()[:4])


def _watch(done: threading.Event, peaks: dict[int, float]) -> None:
    """Record the peak MB of this process and its living children."""
    me = os.getpid()
    is_done = False
    while not is_done:
        is_done = done.wait(0.05)
        children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        for pid in (me, *map(int, children)):
            with suppress(OSError, IndexError):  # ended meanwhile
                peaks[pid] = int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
