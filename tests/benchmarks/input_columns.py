"""Input columns that few partners hold: how many there are, what a round sends without them, and what it costs in gain.

For each data set and number of bits: the columns of the first layer by number of holders, in the vector when all are
shared and when only those of `[columns]` are; bytes of a round; and average precision of the network with counted
columns minus that of the same network with all columns shared, paired by task, means over seeds, validation fold.
Sealing is replaced by its exact integer arithmetic. Without `HOCKET_SHARED`'s data the demo's tables alone.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the modules of the tests

from partners.network.trunk import trunk_layout
from secure.ciphertexts.parameters import SealSettings, seal_parameters
from tests.benchmarks.gain.gains import Gain, gain
from tests.benchmarks.gain.partners import Partner, labels_only, load_partners, tables_of
from tests.benchmarks.gain.runs import CountedColumns, Setting, obtain
from tests.benchmarks.gain.scores import Scores

MOST_SHOWN = 5  # holders, at most told apart


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["demo:32000"], help="data set and bits, such as dev_p5:4096")
    parser.add_argument("--shared", type=Path, help="folder with dev_p5, ... (default: HOCKET_SHARED/data)")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of every partner in every round")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="none: count only, train nothing")
    parser.add_argument("--min-partners", type=int, nargs="+", default=[3])
    parser.add_argument("--min-compounds", type=int, nargs="+", default=[1])
    parser.add_argument("--withhold", type=float, nargs="+", default=[0.0])
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables and runs")
    return parser.parse_args()


def choices(asked: argparse.Namespace) -> Iterator[CountedColumns]:
    """Settings to compare; several compounds and shares that are withheld are not combined."""
    for least in asked.min_partners:
        for n_compounds in asked.min_compounds:
            yield CountedColumns(least, n_compounds, asked.withhold[0])
        for share in asked.withhold[1:]:
            yield CountedColumns(least, asked.min_compounds[0], share)


def holders(partners: Mapping[str, Partner], counted: CountedColumns | None, seed: int = 1000) -> list[int]:
    """Columns in the vector by their true number of holders: 0, 1, ..., the last one open."""
    sets = [labels_only(partner.training_set) for partner in partners.values()]
    is_set = [np.bincount(each.x[each.training_rows].indices, minlength=each.n_inputs) > 0 for each in sets]
    n_holders = np.minimum(np.sum(is_set, axis=0), MOST_SHOWN)
    shared = next(iter(counted.of(partners, seed).values())).shared if counted else None
    return np.bincount(n_holders if shared is None else n_holders[shared], minlength=MOST_SHOWN + 1).tolist()


def exposed(partners: Mapping[str, Partner]) -> Iterator[float]:
    """Share of each partner's training compounds that set a bit which no other partner's set."""
    sets = [labels_only(partner.training_set) for partner in partners.values()]
    rows = [each.x[each.training_rows] for each in sets]
    is_set = np.array([np.bincount(x.indices, minlength=x.shape[1]) > 0 for x in rows])
    alone = np.sum(is_set, axis=0) == 1
    for x in rows:
        yield float(np.mean(np.add.reduceat(alone[x.indices], x.indptr[:-1]) > 0))


def megabytes(n_bits: int, hidden: int, n_columns: int) -> tuple[float, float]:
    """What a partner sends and receives in a round."""
    layout, parameters = trunk_layout(n_bits, (hidden,), n_columns=n_columns), seal_parameters(SealSettings())
    n_chunks = parameters.n_chunks(layout.n_params)
    return n_chunks * parameters.update_chunk_bytes / 1e6, n_chunks * parameters.sum_chunk_bytes / 1e6


def compare(data: str, n_bits: int, asked: argparse.Namespace, work: Path, console: Console) -> Table:
    """Table of one data set: a line with all columns shared, and one for each choice."""
    shared = asked.shared or Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data"
    partners = load_partners(tables_of(data, work, shared), n_bits, work, lambda text: console.print(text, style="dim"))
    n_compounds = sum(labels_only(partner.training_set).training_rows.size for partner in partners.values())
    shares = ", ".join(f"{100 * share:.0f}" for share in exposed(partners))
    title = f"{data}, {n_bits} bits, {n_compounds} training compounds, hidden {asked.hidden}, {asked.rounds} x "
    title += f"{asked.steps} steps, seeds {asked.seeds}; {shares} % of a partner's compounds set a bit of its own"
    by_holders = [*(f"{n} holders" for n in range(MOST_SHOWN)), f"{MOST_SHOWN}+"]
    table = Table(
        "columns in the vector", *by_holders, "MB up", "MB down", "AP", "gain over local", "change", title=title
    )
    common = {"data": data, "bits": n_bits, "hidden": (asked.hidden,), "rounds": asked.rounds, "steps": asked.steps}
    local = [obtain(Setting(arm="local", **common, seed=seed), partners, work / "runs") for seed in asked.seeds]
    rounds = {"arm": "federated", "server_rate": 2.0, "method": "mean", "weights": "size", "seal_bits": 16}

    def runs(counted: CountedColumns | None) -> list[Scores]:
        settings = [Setting(**common, **rounds, columns=counted, seed=seed) for seed in asked.seeds]
        return [obtain(setting, partners, work / "runs") for setting in settings]

    before = runs(None)
    for counted in (None, *choices(asked)):
        n_by_holders = holders(partners, counted)
        costs = [f"{size:.1f}" for size in megabytes(n_bits, asked.hidden, sum(n_by_holders))]
        scores = [""]
        if before:
            after = runs(counted)
            gains = [gain(after, base, partners, "validation", "average_precision", 10) for base in (local, before)]
            scores = [f"{gains[0].mean:.4f}", *(_interval(each) for each in gains)]
        table.add_row(str(counted or "all"), *map(str, n_by_holders), *costs, *scores)
    return table


def _interval(change: Gain) -> str:
    low, high = change.interval
    return f"{change.gain:+.4f} [{low:+.4f}, {high:+.4f}] n={change.n_tasks}"


def main() -> None:
    """Prepare, run, print."""
    asked = arguments()
    console = Console(width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory() as fresh:
        for part in asked.data:
            data, n_bits = part.split(":")
            console.print(compare(data, int(n_bits), asked, asked.work or Path(fresh), console))


if __name__ == "__main__":
    main()
