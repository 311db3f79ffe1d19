"""Peak memory of sealing, adding and opening, at the size of MELLODDY's largest layer: 32,000 x 6,000 parameters.

Every step runs in a process of its own; counted are the peak resident sets of that process and of all its workers, as
the kernel keeps them (VmHWM), added up. usage: secure_memory.py [millions of parameters] [partners] [bits]
"""

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from tests.secure.consortium import Consortium, make_consortium

CORES = len(os.sched_getaffinity(0))
AGGREGATOR_LIMIT_MB = 300.0
PARTNER_LIMIT = 3.0  # times the trunk
_PIECE = 1 << 22


def change_of(n_params: int, seed: int) -> np.ndarray:
    """(n_params,) float32, made piece by piece."""
    rng, change = np.random.default_rng(seed), np.empty(n_params, dtype=np.float32)
    for start in range(0, n_params, _PIECE):
        part = change[start : start + _PIECE]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= np.float32(1e-3)
    return change


def seal(consortium: Consortium, name: str, n_params: int, path: Path) -> None:
    """Seal a change with a carried residual; the new residual takes the change's place."""
    change, carried = change_of(n_params, 1), change_of(n_params, 2)
    consortium.seal(name, change, path, residual=carried, residual_out=change, workers=CORES)


def open_mean(consortium: Consortium, path: Path, n_params: int) -> None:
    """Open the sum and compute the mean change."""
    _ = consortium.open(path, n_params, workers=CORES).mean


def apart(step: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and peak MB of a step in a process of its own, with its workers."""
    context = multiprocessing.get_context("fork")  # shares the consortium's keys, which are never pickled
    ours, theirs = context.Pipe()
    process = context.Process(target=_measured, args=(step, theirs))
    process.start()
    theirs.close()
    seconds, peak = ours.recv()
    process.join()
    return seconds, peak


def _measured(step: Callable[[], object], connection: Connection) -> None:
    done, peaks, started = threading.Event(), dict[int, float](), time.monotonic()
    watcher = threading.Thread(target=_watch, args=(done, peaks))
    watcher.start()
    step()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    connection.send((seconds, sum(peaks.values())))


def _watch(done: threading.Event, peaks: dict[int, float]) -> None:
    """Keep the peak MB of this process and of its children, as long as they live."""
    me = os.getpid()
    while not done.wait(0.05):
        children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        for pid in (me, *map(int, children)):
            with suppress(OSError, IndexError):  # ended meanwhile
                peaks[pid] = int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def main(millions: str = "192", partners: str = "10", bits: str = "16") -> None:
    """Measure and print."""
    n_params, n_partners = int(float(millions) * 1e6), int(partners)
    trunk_mb = 4 * n_params / 2**20
    consortium = make_consortium(n_partners, bits=int(bits), max_partners=n_partners)
    table = Table(title=f"{n_params / 1e6:g} M parameters ({trunk_mb:.0f} MB), {n_partners} partners, {bits} bits")
    for column in ("", "wall s", "peak MB", "limit MB"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        files, total = [Path(name) / partner for partner in consortium.partners], Path(name) / "sum"
        sealed = [
            apart(lambda file=file: seal(consortium, file.name, n_params, file))  # type: ignore[misc]
            for file in files
        ]
        _row(table, "partner: seal", sealed[0], PARTNER_LIMIT * trunk_mb)
        _row(table, "aggregator: add", apart(lambda: consortium.add(files, total, workers=CORES)), AGGREGATOR_LIMIT_MB)
        _row(table, "partner: open", apart(lambda: open_mean(consortium, total, n_params)), PARTNER_LIMIT * trunk_mb)
    Console(width=100).print(table)


def _row(table: Table, what: str, measured: tuple[float, float], limit: float) -> None:
    table.add_row(what, f"{measured[0]:.0f}", f"{measured[1]:.0f}", f"{limit:.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
