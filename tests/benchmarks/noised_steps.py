"""A training step with differential privacy beside a plain one: CPU seconds, and their ratio, at most 2.5.

Both train the same network on the same compounds through the public function, a few steps each by turns; the first turn
is not counted. The noised step draws a random batch of the same expected size, shortens every compound's gradient and
adds noise to every weight. First with made-up compounds, where most of a step is the trunk's size; with --data and
--cache also one partner's tables (see trainer.py).
usage: noised_steps.py [--turns N] [--data folder of a partner's T0..T2 --cache folder]
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import NoiseSettings, Training, TrunkSettings
from partners.training.training import sampling_share_of, train_in_place
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.trainer import power_law_set, real_set

LIMIT = 2.5
N_STEPS = 5


@dataclass(frozen=True)
class Case:
    """One network and batch size on one data set."""

    n_inputs: int
    hidden: tuple[int, ...]
    batch_size: int


CASES = (Case(4_096, (512,), 500), Case(4_096, (2_000,), 500), Case(32_000, (512,), 500), Case(32_000, (2_000,), 4_000))


def seconds_per_step(data: TrainingSet, case: Case, *, is_noised: bool, seed: int) -> float:
    """CPU seconds of one step; the first two steps, in which memory is taken, are subtracted."""
    short, long = (_seconds(data, case, n_steps, seed, is_noised=is_noised) for n_steps in (2, 2 + N_STEPS))
    return (long - short) / N_STEPS


def _seconds(data: TrainingSet, case: Case, n_steps: int, seed: int, *, is_noised: bool) -> float:
    layout = trunk_layout(data.n_inputs, case.hidden)
    training = Training(batch_size=case.batch_size)
    noise = NoiseSettings(clip_norm=1.0, noise_multiplier=1.0, sampling_share=sampling_share_of(data, training))
    trunk = initial_trunk(layout, 0)
    started = time.process_time()
    train_in_place(
        data,
        trunk,
        None,
        layout,
        TrunkSettings(hidden=case.hidden),
        training,
        seed,
        n_steps,
        noise=noise if is_noised else None,
    )
    return time.process_time() - started


def main() -> None:
    """Print the table; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    table = Table(title=f"CPU seconds of a step; at most {LIMIT:g} times a plain one")
    for column in ("compounds", "inputs", "hidden", "batch", "with noise", "plain", "limit", "ratio"):
        table.add_column(column, justify="right")
    worst = 0.0
    sets = {n_inputs: power_law_set(20_000, 200, 0.02, n_inputs) for n_inputs in {case.n_inputs for case in CASES}}
    runs = [(sets[case.n_inputs], case) for case in CASES]
    if options.data and options.cache:
        runs.append((real_set(options.data, options.cache), Case(32_000, (2_000,), 500)))
    for data, case in runs:
        turns = [
            [seconds_per_step(data, case, is_noised=is_noised, seed=turn) for is_noised in (True, False)]
            for turn in range(options.turns)
        ]
        noised, plain = np.median(turns, axis=0)
        worst = max(worst, noised / plain)
        cells = (f"{data.training_rows.size:,}", f"{case.n_inputs:,}", "x".join(map(str, case.hidden)))
        table.add_row(
            *cells, f"{case.batch_size:,}", f"{noised:.3f}", f"{plain:.3f}", f"{LIMIT:g}", f"{noised / plain:.2f}"
        )
    Console(width=100).print(table)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
