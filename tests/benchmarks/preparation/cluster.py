"""Preparation of structures on a Dask cluster of this machine against its own processes: rate and cost.

A scheduler and one or two workers of one thread each, with real structures of the dev data and MELLODY's settings.
CPU seconds are those of all processes that take part: caller, scheduler, workers and their children, start-up left out.
Where the machine is busy, read the CPU seconds; the wall clock shows what was left for us.
usage: cluster.py [T2_FILE] [--structures 500] [--price 0.05]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # run as a script

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.cluster import DaskCluster
from data_prep.structures.structures import Structures, StructureWorkers, standardise_all
from data_prep.structures.watchdog import worker_pool
from tests.support.data_prep.dask_processes import DaskProcesses

SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[4] / "shared"))
EXTRAPOLATED = (16, 64)
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Rate and cost of one way to prepare the structures."""

    wall_s: float
    cpu_s: float
    found: Structures


def measure(smiles: list[str], workers: StructureWorkers) -> Measured:
    """Standardise all structures; the worker processes are warm, because the first structures are done before."""
    with worker_pool():
        standardise_all(smiles[:64], Chemistry(), Fingerprint(), workers=workers)
        before, started = cpu_seconds(), time.monotonic()
        found = standardise_all(smiles, Chemistry(), Fingerprint(), workers=workers)
        return Measured(time.monotonic() - started, cpu_seconds() - before, found)


def cpu_seconds() -> float:
    """CPU seconds of this process and all its children, scheduler and workers included."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True)))


def on_dask(smiles: list[str], n_workers: int) -> Measured:
    """Measure on a number of Dask workers."""
    with tempfile.TemporaryDirectory() as name, DaskProcesses(Path(name)) as dask:
        for _ in range(n_workers):
            dask.add_worker()
        with DaskCluster(dask.address) as cluster:
            dask.wait_for(lambda: cluster.n_workers == n_workers)
            return measure(smiles, cluster)


def show(found: dict[str, tuple[int, Measured]], n: int, price: float) -> None:
    """Print rate, scaling and cost; more workers are extrapolated from one and two."""
    table = Table(
        title=f"{n:,} structures, canonical tautomers; {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    columns = ("wall s", "structures/s", "speed-up", "CPU ms each", "core hours per million", f"at {price:g}/core hour")
    for column in ("", *columns, "hours per million"):
        table.add_column(column, justify="right" if column else "left")
    first = {"here": found["here, 1 process"][1], "dask": found["Dask, 1 worker"][1]}
    for name, (_, run) in found.items():
        base = first["dask" if "Dask" in name else "here"]
        core_hours = run.cpu_s / n * MILLION / 3600
        cells = [f"{run.wall_s:.1f}", f"{n / run.wall_s:.0f}", f"{base.wall_s / run.wall_s:.2f}"]
        cells += [f"{1e3 * run.cpu_s / n:.1f}", f"{core_hours:.1f}", f"{core_hours * price:.2f}"]
        table.add_row(name, *cells, f"{run.wall_s / n * MILLION / 3600:.1f}")
    n_most, most = found["Dask, 2 workers"]
    for n_workers in EXTRAPOLATED:
        core_hours = most.cpu_s / n * MILLION / 3600
        cost = [f"{1e3 * most.cpu_s / n:.1f}", f"{core_hours:.1f}", f"{core_hours * price:.2f}"]
        hours = core_hours / n_workers
        table.add_row(
            f"{n_workers} workers, extrapolated", "", f"{MILLION / hours / 3600:.0f}", "", *cost, f"{hours:.2f}"
        )
    Console(width=150).print(table)
    Console(width=150).print(
        f"extrapolated: the CPU time measured with {n_most} workers, spread evenly over workers with a free core each"
    )


def main() -> None:
    """Measure and print; fails if workers' results differ from those of one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=SHARED / "data/dev_p3/P01/T2.csv.gz")
    parser.add_argument("--structures", type=int, default=500)
    parser.add_argument("--price", type=float, default=0.05, help="of a core hour, in any currency: an assumption")
    given = parser.parse_args()
    if not given.table.is_file():
        Console().print(f"cluster.py: skipped, needs {given.table} (set HOCKET_SHARED)")
        return
    smiles = pl.read_csv(given.table)["smiles"].unique(maintain_order=True).sample(given.structures, seed=1).to_list()
    ways: dict[str, tuple[int, Callable[[], Measured]]] = {
        "here, 1 process": (1, lambda: measure(smiles, 1)),
        "here, 2 processes": (2, lambda: measure(smiles, 2)),
        "Dask, 1 worker": (1, lambda: on_dask(smiles, 1)),
        "Dask, 2 workers": (2, lambda: on_dask(smiles, 2)),
    }
    found = {name: (n_workers, way()) for name, (n_workers, way) in ways.items()}
    expected = found["here, 1 process"][1].found
    for name, (_, run) in found.items():
        assert run.found.smiles == expected.smiles, name
        assert run.found.bits.tobytes() == expected.bits.tobytes(), name
    show(found, len(smiles), given.price)


if __name__ == "__main__":
    main()
