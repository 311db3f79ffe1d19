"""Our trainer against SparseChem's step in plain PyTorch: CPU seconds of an epoch, peak memory, equal weights.

Both run in one process by turns, a few steps each, at the same number of threads; every turn gives a ratio, the tables
show sums and the ratios' range. What a step takes includes making its batch from the data's CSR matrices, on both
sides in one piece (SparseChem's own loader fetches compound by compound, which costs more). The first step of each is
not counted. Peak memory is the whole process's (VmHWM) for a few steps in a process of its own, ours with what a round
does around them: the trunk comes from a file, and the change is formed with it.
With --noise instead: our step with differential privacy (random batches, clipped gradients of single compounds, noise
on every weight) beside our plain step, by turns of a few steps each; exit code 1 above 2.5 times the CPU seconds.
usage: trainer.py [--noise] [--full] [--turns N] [--threads N] [--data folder of a partner's T0..T2 --cache folder]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the peer among the tests

from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, trunk_pieces
from partners.network.device import use_threads
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import NoiseSettings, Training, TrunkSettings
from partners.training.training import sampling_share_of, shuffled_rows, train_in_place, train_round
from partners.training_data.training_set import TrainingSet
from tests.support.partners.plain_sparsechem import PlainNetwork, PlainTrainer

N_HIDDEN = 2000
DROPOUT = 0.6
RSS_LIMIT = 0.65
N_PEAK_STEPS = 4
NOISE_LIMIT = 2.5
N_NOISED_STEPS = 5


@dataclass(frozen=True)
class Case:
    """One data set and batch size, and the largest allowed ratio of CPU time."""

    name: str
    batch_size: int
    limit: float
    peak_limit: float | None = RSS_LIMIT


SYNTHETIC, SMALL, REAL = "50,000 x 500", "2,000 x 10", "real"
QUICK = (Case(SYNTHETIC, 4000, 0.33), Case(SYNTHETIC, 800, 0.22), Case(SMALL, 500, 1.0, None))
WITH_DATA = (Case(REAL, 4000, 0.33), Case(REAL, 800, 0.22))


def power_law_set(n_compounds: int, n_tasks: int, density: float, n_inputs: int = 32_000) -> TrainingSet:
    """Made-up compounds of about 60 set bits; how often a bit is set falls with its rank as in folded ECFP6."""
    rng = np.random.default_rng(0)
    share = bit_shares(n_inputs)
    columns = [np.flatnonzero(rng.random(n_compounds, dtype=np.float32) < p) for p in share]
    indptr = np.concatenate([[0], np.cumsum([len(column) for column in columns])])
    ones = np.ones(indptr[-1], dtype=np.float32)
    x = sparse.csc_matrix((ones, np.concatenate(columns), indptr), shape=(n_compounds, n_inputs)).tocsr()
    y = sparse.random(n_compounds, n_tasks, density, format="csr", rng=rng)
    y.data = np.where(rng.random(y.nnz) < 0.2, 1.0, -1.0)
    folding = rng.integers(2, 5, n_compounds)  # all of them for training
    return TrainingSet(
        x=x[:, rng.permutation(n_inputs)], y=y, folding=folding, training_weight=np.ones(n_tasks, dtype=np.float32)
    )


def bit_shares(n_inputs: int) -> np.ndarray:
    """Share of compounds that set each bit, (n_inputs,), most frequent first, adding up to 60."""
    rank = np.arange(n_inputs)
    low, high = 1e-2, 1e2
    for _ in range(50):
        middle = (low * high) ** 0.5
        share = np.minimum(0.95, middle / (rank + 13) ** 1.05)
        low, high = (middle, high) if share.sum() < 60 else (low, middle)
    return share


def real_set(data: Path, cache: Path) -> TrainingSet:
    """One partner's tables at 32,000 bits, prepared once into the cache; tautomers as drawn, which timing ignores."""
    from data_prep.preparation.prepare import prepare  # noqa: PLC0415 -- RDKit is large and only needed here
    from data_prep.prepared import read_prepared  # noqa: PLC0415
    from data_prep.settings import Chemistry, Preparation  # noqa: PLC0415

    settings = Preparation(chemistry=Chemistry(tautomers="keep"))
    tables = (data / f"T{i}.csv.gz" for i in range(3))
    ready = read_prepared(prepare(*tables, settings, bytes(range(32)), cache))
    weights = np.array([task.training_weight for task in ready.tasks], dtype=np.float32)
    return TrainingSet(x=ready.x, y=ready.y, folding=ready.folding, training_weight=weights)


def data_of(name: str, data: Path | None, cache: Path | None) -> TrainingSet:
    """Data set of a case."""
    if name == REAL:
        if data is None or cache is None:
            raise SystemExit("the real set needs --data and --cache")
        return real_set(data, cache)
    n_compounds, n_tasks, density = (50_000, 500, 0.01) if name == SYNTHETIC else (2_000, 10, 0.3)
    return power_law_set(n_compounds, n_tasks, density)


@dataclass
class Turns:
    """CPU seconds of one step of both trainers, by turn."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Our time divided by SparseChem's."""
        return sum(self.ours) / sum(self.peer)

    @property
    def spread(self) -> str:
        """Smallest and largest ratio over the turns."""
        ratios = np.divide(self.ours, self.peer)
        return f"{ratios.min():.2f} - {ratios.max():.2f}"


def run_ours(
    data: TrainingSet, batch_size: int, n_steps: int, n_threads: int, after_step: Callable[[int], None] | None = None
) -> None:
    """Train from a first trunk through the public function, as a round does."""
    trunk = initial_trunk(trunk_layout(data.n_inputs, (N_HIDDEN,)), 0)
    _train(data, trunk, batch_size, n_steps, n_threads, after_step)


def _train(
    data: TrainingSet,
    trunk: np.ndarray,
    batch_size: int,
    n_steps: int,
    n_threads: int,
    after_step: Callable[[int], None] | None = None,
) -> None:
    layout = trunk_layout(data.n_inputs, (N_HIDDEN,))
    settings, training = _settings(batch_size, DROPOUT, n_threads)

    def progress(step: int, *_: object) -> None:
        if after_step is not None:
            after_step(step)

    train_in_place(data, trunk, None, layout, settings, training, 0, n_steps, progress=progress)


def run_round(data: TrainingSet, trunk_file: Path, batch_size: int, n_threads: int) -> None:
    """Take a few steps from a trunk in a file and compute the change, as `pipeline.protocol.partner_rounds` does."""
    layout = trunk_layout(data.n_inputs, (N_HIDDEN,))
    trunk = load_checkpoint(trunk_file, layout, only=["trunk"]).need_trunk(trunk_file)
    _train(data, trunk, batch_size, N_PEAK_STEPS, n_threads)
    for place, before in trunk_pieces(trunk_file):
        trunk[place] -= before


def _settings(batch_size: int, dropout: float, n_threads: int) -> tuple[TrunkSettings, Training]:
    training = Training(batch_size=batch_size, learning_rate=1e-3, n_threads=n_threads)
    return TrunkSettings(hidden=(N_HIDDEN,), dropout=dropout), training


def peer_steps(data: TrainingSet, batch_size: int) -> tuple[PlainTrainer, Iterator[np.ndarray]]:
    """SparseChem's step on the same data, with its batches."""
    network = PlainNetwork(data.n_inputs, N_HIDDEN, data.n_tasks, DROPOUT)
    trainer = PlainTrainer(network, data.x, data.y, data.training_weight)
    return trainer, shuffled_rows(data.training_rows, batch_size, np.random.default_rng(1))


def by_turns(data: TrainingSet, batch_size: int, n_turns: int, n_threads: int) -> Turns:
    """Train both in turns: after some of our steps, as many of SparseChem's."""
    peer, batches = peer_steps(data, batch_size)
    per_turn = max(2, 4000 // batch_size)
    turns, started = Turns(), 0.0
    peer.step(next(batches))

    def after_step(step: int) -> None:
        nonlocal started
        if step > 1 and (step - 1) % per_turn == 0:
            turns.ours.append((time.process_time() - started) / per_turn)
            before = time.process_time()
            for _ in range(per_turn):
                peer.step(next(batches))
            turns.peer.append((time.process_time() - before) / per_turn)
        if (step - 1) % per_turn == 0:
            started = time.process_time()

    with use_threads(n_threads):
        run_ours(data, batch_size, 1 + n_turns * per_turn, n_threads, after_step)
    return turns


def weight_gap(data: TrainingSet, n_threads: int) -> float:
    """Largest difference of any weight between both after 3 Adam steps on the same 200 compounds, dropout off.

    Few compounds on purpose: where rounding puts one activation on the other side of relu's kink, the gradient of a
    rare feature is zero for one of both only, and Adam's step moves its weight by the learning rate or not at all.
    """
    rows = data.training_rows[:200]
    few = TrainingSet(x=data.x[rows], y=data.y[rows], folding=data.folding[rows], training_weight=data.training_weight)
    layout = trunk_layout(few.n_inputs, (N_HIDDEN,))
    trunk = initial_trunk(layout, 0)
    settings, training = _settings(few.n_compounds, 0.0, n_threads)
    first = train_round(few, trunk, None, layout, settings, training, 0, 0).state
    peer = PlainNetwork(few.n_inputs, N_HIDDEN, few.n_tasks, 0.0)
    peer.load(layout.views(trunk), first.heads[HEAD_WEIGHT], first.heads[HEAD_BIAS])
    trainer = PlainTrainer(peer, few.x, few.y, few.training_weight)
    ours = train_round(few, trunk, first, layout, settings, training, 0, 3)
    for _ in range(3):
        trainer.step(few.training_rows)
    after = layout.views(trunk + ours.trunk_change)
    last = peer.classification[-1]
    pairs = (
        (after["trunk.0.weight"], peer.weight),
        (after["trunk.0.bias"], peer.bias),
        (ours.state.heads[HEAD_WEIGHT], last.weight),
        (ours.state.heads[HEAD_BIAS], last.bias),
    )
    return max(float(np.abs(array - parameter.detach().numpy()).max()) for array, parameter in pairs)


def peak_mb(who: str, case: Case, folder: Path, n_threads: int) -> float:
    """Peak resident MB of a few steps in a fresh process that reads its data from the folder."""
    command = [sys.executable, __file__, "--threads", str(n_threads), "--peak", who, str(folder), str(case.batch_size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def save(data: TrainingSet, folder: Path) -> None:
    """Write the data that `print_peak` reads."""
    sparse.save_npz(folder / "x.npz", data.x, compressed=False)
    sparse.save_npz(folder / "y.npz", data.y, compressed=False)
    np.savez(folder / "rest.npz", folding=data.folding, training_weight=data.training_weight)
    trunk = initial_trunk(trunk_layout(data.n_inputs, (N_HIDDEN,)), 0)
    save_checkpoint(folder / "trunk.safetensors", Checkpoint(trunk=trunk))


def print_peak(who: str, folder: Path, batch_size: int, n_threads: int) -> None:
    """Run a few steps of one of both and print this process's peak resident MB."""
    x, y = sparse.load_npz(folder / "x.npz"), sparse.load_npz(folder / "y.npz")
    data = TrainingSet(x=x, y=y, **np.load(folder / "rest.npz"))
    if who == "ours":
        run_round(data, folder / "trunk.safetensors", batch_size, n_threads)
    else:
        trainer, batches = peer_steps(data, batch_size)
        with use_threads(n_threads):
            for _ in range(N_PEAK_STEPS):
                trainer.step(next(batches))
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)  # noqa: T201 -- the answer to the parent process


# inputs, hidden, batch size
NOISED = ((4_096, 512, 500), (4_096, 2_000, 500), (32_000, 512, 500), (32_000, 2_000, 4_000))


def compare_noised(n_turns: int) -> int:
    """Print the table of steps with and without noise; 1 if one is above the limit, else 0."""
    table = Table(title=f"CPU seconds of a step, with noise and plain, torch {torch.__version__}")
    for column in ("compounds", "inputs", "hidden", "batch", "noised", "plain", "limit", "ratio"):
        table.add_column(column, justify="right")
    worst = 0.0
    for n_inputs, n_hidden, batch_size in NOISED:
        data = power_law_set(20_000, 200, 0.02, n_inputs)
        turns = [
            [_step_s(data, n_hidden, batch_size, turn, is_noised=is_noised) for is_noised in (True, False)]
            for turn in range(n_turns)
        ]
        noised, plain = np.median(turns, axis=0)
        worst = max(worst, noised / plain)
        case = (f"{number:,}" for number in (data.training_rows.size, n_inputs, n_hidden, batch_size))
        table.add_row(*case, f"{noised:.3f}", f"{plain:.3f}", f"{NOISE_LIMIT:g}", f"{noised / plain:.2f}")
    Console(width=110).print(table)
    return int(worst > NOISE_LIMIT)


def _step_s(data: TrainingSet, n_hidden: int, batch_size: int, seed: int, *, is_noised: bool) -> float:
    """CPU seconds of one step; the first two, in which memory is taken, are subtracted."""
    seconds = []
    for n_steps in (2, 2 + N_NOISED_STEPS):
        layout, settings = trunk_layout(data.n_inputs, (n_hidden,)), TrunkSettings(hidden=(n_hidden,), dropout=DROPOUT)
        trunk, training = initial_trunk(layout, 0), Training(batch_size=batch_size)
        share = sampling_share_of(data, training)
        noise = NoiseSettings(clip_norm=1.0, noise_multiplier=1.0, sampling_share=share, key=bytes(32))
        started = time.process_time()
        train_in_place(data, trunk, None, layout, settings, training, seed, n_steps, noise=noise if is_noised else None)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / N_NOISED_STEPS


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    if arguments.noise:
        sys.exit(compare_noised(arguments.turns))
    if arguments.peak:
        who, folder, batch_size = arguments.peak
        print_peak(who, Path(folder), int(batch_size), arguments.threads)
        return
    cases = QUICK + (WITH_DATA if arguments.data else ())
    title = f"one hidden layer of {N_HIDDEN}, 32,000 bits, {arguments.threads} thread(s), torch {torch.__version__}"
    table = Table(title=title)
    for column in ("compounds x tasks", "batch", "", "ours", "peer", "ratio", "limit", "ratio of a turn"):
        table.add_column(column, justify="right")
    sets: dict[str, TrainingSet] = {}
    for case in cases:
        if case.name not in sets:
            sets[case.name] = data_of(case.name, arguments.data, arguments.cache)
        _measure(case, sets[case.name], arguments, table)
    Console(width=110).print(table)
    gaps = ", ".join(f"{name}: {weight_gap(data, arguments.threads):.1e}" for name, data in sets.items())
    Console(width=110).print(f"largest difference of a weight after 3 Adam steps, dropout 0 (limit 1e-5): {gaps}")


def _measure(case: Case, data: TrainingSet, arguments: argparse.Namespace, table: Table) -> None:
    name = f"{data.training_rows.size:,} x {data.n_tasks:,}" + (" (real)" if case.name == REAL else "")
    turns = by_turns(data, case.batch_size, arguments.turns, arguments.threads)
    steps = data.training_rows.size / min(case.batch_size, data.training_rows.size) / len(turns.ours)
    seconds = [f"{sum(one) * steps:.2f}" for one in (turns.ours, turns.peer)]
    cpu = (name, str(case.batch_size), "CPU s/epoch", *seconds, f"{turns.ratio:.3f}", f"{case.limit:.2f}", turns.spread)
    table.add_row(*cpu)
    if case.peak_limit is not None and (arguments.full or case.name != REAL):
        with tempfile.TemporaryDirectory() as folder:
            save(data, Path(folder))
            peaks = [peak_mb(who, case, Path(folder), arguments.threads) for who in ("ours", "peer")]
        ratio = f"{peaks[0] / peaks[1]:.3f}"
        table.add_row("", "", "peak MB", *(f"{peak:.0f}" for peak in peaks), ratio, f"{case.peak_limit:.2f}", "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="4 turns of each case (default)")
    how.add_argument("--full", action="store_true", help="12 turns, peak memory of all cases")
    parser.add_argument("--noise", action="store_true", help="compare steps with and without differential privacy")
    parser.add_argument("--turns", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, help="a partner's folder with T0.csv.gz, T1.csv.gz and T2.csv.gz")
    parser.add_argument("--cache", type=Path, help="folder for prepared data")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)  # who, folder, batch size
    arguments = parser.parse_args()
    arguments.turns = arguments.turns or (12 if arguments.full else 4)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # of the processes that measure memory
    return arguments


if __name__ == "__main__":
    main()
