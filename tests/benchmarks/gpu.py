"""Training on a GPU beside the CPU: losses of equal steps, seconds of an epoch, memory.

Both train from the same trunk on the same batches with the same dropout, which are drawn on the CPU, so their losses
differ by rounding alone: sums are added up in other orders. The largest relative difference of a loss may be TOLERANCE.
Beside it stands a control: the CPU again, from a trunk of which half the weights are moved by their last bit.
Each runs in a process of its own, on a partner's real tables and on made-up compounds; hidden 2000, 32,000 bits.
Without a GPU that torch can use it says so and ends with 0; with losses further apart it ends with 1.
usage: gpu.py [--steps 50] [--compounds 1e6] [--tasks 10000] [--batch 4000] [--threads 1] [--data FOLDER_OF_T0_T1_T2]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script

from partners.network.device import device_of
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training.training import steps_per_epoch, train_in_place
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.trainer import bit_shares, real_set
from tests.support.benchmarks.forked import forked, peak_mb

TOLERANCE = 1e-4
HIDDEN = (2000,)
N_INPUTS = 32_000
LABELS_EACH = 10  # of a made-up compound, at most
SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[3] / "shared"))
MB = 1 << 20
_DENSE_FROM = 1 / 8  # share of compounds that set a bit, from which each compound is drawn by itself
_NOT_TIMED = 2  # first steps, in which memory is taken


@dataclass(frozen=True, slots=True)
class Trained:
    """Some steps of training on one device."""

    losses: NDArray[np.float64]  # (n_steps,)
    step_s: float  # wall clock, the first two left out
    host_mb: float  # peak of the process, data included
    device_mb: float  # peak of torch's memory on the GPU; 0 on the CPU


def wide_set(n_compounds: int, n_tasks: int, n_inputs: int = N_INPUTS) -> TrainingSet:
    """Made-up compounds with the bits of `trainer.power_law_set` and ten labels each, all of them for training."""
    rng = np.random.default_rng(0)
    columns = [_compounds_with(share, n_compounds, rng) for share in bit_shares(n_inputs)]
    starts = np.concatenate([[0], np.cumsum([column.size for column in columns])])
    ones = np.ones(starts[-1], dtype=np.float32)
    x = sparse.csc_matrix((ones, np.concatenate(columns), starts), shape=(n_compounds, n_inputs))[
        :, rng.permutation(n_inputs)
    ].tocsr()
    tasks = np.sort(rng.integers(0, n_tasks, (n_compounds, LABELS_EACH), dtype=np.int32), axis=1)
    is_first = np.diff(tasks, axis=1, prepend=-1) > 0
    starts = np.concatenate([[0], np.cumsum(is_first.sum(axis=1))])
    labels = np.where(rng.random(starts[-1], dtype=np.float32) < 0.2, np.float32(1), np.float32(-1))
    y = sparse.csr_matrix((labels, tasks[is_first], starts), shape=(n_compounds, n_tasks))
    weight = np.ones(n_tasks, dtype=np.float32)
    return TrainingSet(x=x, y=y, folding=np.full(n_compounds, 2), training_weight=weight)


def _compounds_with(share: float, n_compounds: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Compounds that set a bit, ascending; about this share of them."""
    if share > _DENSE_FROM:
        return np.flatnonzero(rng.random(n_compounds, dtype=np.float32) < share).astype(np.int32)
    return np.unique(rng.integers(0, n_compounds, rng.binomial(n_compounds, share), dtype=np.int32))


def train(
    data: TrainingSet, hidden: tuple[int, ...], training: Training, n_steps: int, *, moved: bool = False
) -> Trained:
    """Train at least three steps; moved: from a trunk of which half the weights have another last bit."""
    layout = trunk_layout(data.n_inputs, hidden)
    trunk, ticks = initial_trunk(layout, 0), list[float]()
    if moved:
        is_moved = np.random.default_rng(1).random(trunk.size, dtype=np.float32) < 0.5
        np.nextafter(trunk, np.float32(1), out=trunk, where=is_moved)
    settings = TrunkSettings(hidden=hidden, dropout=0.6)
    trained = train_in_place(
        data, trunk, None, layout, settings, training, 0, n_steps, progress=lambda *_: ticks.append(time.monotonic())
    )
    on_gpu = device_of(training) != "cpu"
    device_mb = torch.cuda.max_memory_allocated() / MB if on_gpu else 0.0
    step_s = (ticks[-1] - ticks[_NOT_TIMED - 1]) / (n_steps - _NOT_TIMED)
    return Trained(trained.losses, step_s, peak_mb(), device_mb)


def difference(losses: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Largest relative difference of a step's loss."""
    return float((np.abs(losses - expected) / np.abs(expected)).max())


@dataclass(frozen=True, slots=True)
class Compared:
    """One data set on both devices."""

    data: str
    n_per_epoch: int  # steps
    cpu: Trained
    gpu: Trained
    control: float  # difference of the CPU's losses from a trunk with moved last bits

    @property
    def difference(self) -> float:
        """Largest relative difference of a loss."""
        return difference(self.gpu.losses, self.cpu.losses)


def compare(
    name: str, data: TrainingSet, hidden: tuple[int, ...], devices: tuple[Training, Training], n_steps: int
) -> Compared:
    """Train on both devices, each in a process of its own; devices: settings for the CPU and for the GPU."""
    on_cpu, on_gpu = devices
    cpu = forked(lambda: train(data, hidden, on_cpu, n_steps))
    gpu = forked(lambda: train(data, hidden, on_gpu, n_steps))
    moved = forked(lambda: train(data, hidden, on_cpu, n_steps, moved=True))
    n_per_epoch = steps_per_epoch(data.training_rows.size, on_cpu.batch_size)
    return Compared(name, n_per_epoch, cpu, gpu, difference(moved.losses, cpu.losses))


def show(cases: Sequence[Compared], training: Training, n_steps: int, console: Console) -> None:
    """Print the table."""
    title = (
        f"{n_steps} steps of {training.batch_size}, CPU with {training.n_threads} thread(s), torch {torch.__version__}"
    )
    table = Table(title=title)
    for column in (
        "",
        "s a step",
        "s an epoch",
        "faster",
        "MB of the process",
        "MB of the GPU",
        "loss differs",
        "control",
    ):
        table.add_column(column, justify="right" if column else "left")
    for case in cases:
        for device, run in (("CPU", case.cpu), ("GPU", case.gpu)):
            speed = (
                f"{run.step_s:.3f}",
                f"{run.step_s * case.n_per_epoch:.1f}",
                f"{case.cpu.step_s / run.step_s:.1f}x",
            )
            losses = ("", f"{case.control:.1e}") if run is case.cpu else (f"{case.difference:.1e}", "")
            table.add_row(f"{case.data}, {device}", *speed, f"{run.host_mb:,.0f}", f"{run.device_mb:,.0f}", *losses)
    console.print(table)
    console.print(f"largest relative difference of a loss: at most {TOLERANCE:g}")


def data_sets(arguments: argparse.Namespace) -> list[tuple[str, TrainingSet]]:
    """The partner's real tables if they are there, and the made-up compounds."""
    made = wide_set(int(arguments.compounds), int(arguments.tasks))
    sets = [(f"{made.n_compounds:,} x {made.n_tasks:,} made up", made)]
    if arguments.data.is_dir():
        with tempfile.TemporaryDirectory() as cache:
            real = real_set(arguments.data, Path(cache))
        sets.insert(0, (f"{arguments.data.name}, {real.training_rows.size:,} x {real.n_tasks:,}", real))
    return sets


def main(words: Sequence[str] | None = None) -> int:
    """Compare and print; 1 if losses are further apart than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="at least 3")
    parser.add_argument("--compounds", type=float, default=1e6)
    parser.add_argument("--tasks", type=float, default=10_000)
    parser.add_argument("--batch", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=SHARED / "data/dev_p5/P01")
    arguments = parser.parse_args(words)
    console = Console(width=150)
    if not forked(torch.cuda.is_available):  # CUDA begins in forked processes only, as it does not survive a fork
        console.print(f"gpu.py: no GPU that torch {torch.__version__} can use, so nothing is compared", highlight=False)
        return 0
    on_cpu = Training(batch_size=arguments.batch, n_threads=arguments.threads)
    devices = (on_cpu, replace(on_cpu, device="cuda"))
    cases = [compare(name, data, HIDDEN, devices, arguments.steps) for name, data in data_sets(arguments)]
    show(cases, on_cpu, arguments.steps, console)
    return int(max(case.difference for case in cases) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
