"""What a sum of target models costs a partner: CPU seconds, bytes and memory, beside a run of a trunk.

Measured on some targets with as many measurements each as given, and multiplied: a partner's part F'CF v, sealing it,
checking and opening the sum of five partners, and the step of the iteration. Bytes follow from the parameters alone.
Memory is that of the vectors that a partner holds in a step: three of the iteration, its part and the sum, 4 bytes each
number. The trunk is that of `partners/README.md`'s tables, 4,096 bits and 512 units, in the same fixed point.
usage: target_models/cost.py [targets] [measurements]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for the consortium of the tests

from partners.network.trunk import trunk_layout
from partners.target_models.conjugate_gradients import Ridges, RidgeSettings
from partners.target_models.min_hash import MinHashes
from partners.target_models.own_part import OwnPart, TargetValues
from secure.ciphertexts.parameters import SealSettings, seal_parameters
from tests.support.secure.consortium import make_consortium

HASHES = MinHashes(1024, 32, 7)
N_PARTNERS, N_ROUNDS = 5, 20
SHOWN = (87, 463, 10_000)  # targets: those of dev_p5 at 3 or more partners, and two larger lists


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def measure(n_targets: int, n_measured: int) -> dict[str, float]:
    """CPU seconds of a target in each step of a sum."""
    rng = np.random.default_rng(0)
    buckets = rng.integers(0, HASHES.n_buckets, (n_measured * n_targets, HASHES.n_hashes)).astype(np.uint8)
    rows = np.arange(n_measured, dtype=np.int64)
    values = rng.normal(size=n_measured)
    held = {i: TargetValues(rows + i * n_measured, values, np.zeros(1, np.int64)) for i in range(n_targets)}
    own = OwnPart(HASHES, buckets, held)
    ridges = Ridges.begin(np.stack([own.values_part(i) for i in range(n_targets)]), RidgeSettings())
    ridges = ridges.stepped(np.stack([own.product_part(i, ridges.direction[i]) for i in range(n_targets)]))
    products = np.zeros((n_targets, HASHES.n_features))

    def part() -> None:
        for target in range(n_targets):
            products[target] = own.product_part(target, ridges.direction[target])

    seconds = {"own part": cpu_seconds(part), "step": cpu_seconds(lambda: ridges.stepped(products))}
    change = (products.ravel() / np.abs(products).max() / 100).astype(np.float32)
    consortium = make_consortium(N_PARTNERS, max_partners=16)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        consortium.add(consortium.seal_all(here, dict.fromkeys(consortium.partners, change)), here / "sum")
        seconds["seal"] = cpu_seconds(lambda: consortium.seal(consortium.partners[0], change, here / "again"))
        seconds["open"] = cpu_seconds(lambda: consortium.open(here / "sum", change.size))
    return {name: found / n_targets for name, found in seconds.items()}


def sent(n_params: int) -> tuple[float, float]:
    """MB that a partner sends and receives for one sum."""
    parameters = seal_parameters(SealSettings())
    n_chunks = parameters.n_chunks(n_params)
    return n_chunks * parameters.update_chunk_bytes / 1e6, n_chunks * parameters.sum_chunk_bytes / 1e6


def main() -> None:
    """Measure and print the table."""
    n_targets, n_measured = (int(number) for number in (*sys.argv[1:], *("16", "200")[len(sys.argv) - 1 :]))
    seconds, n_sums = measure(n_targets, n_measured), RidgeSettings().n_steps + 1
    title = f"one sum, CPU s and MB of a partner; {n_measured} measurements of a target"
    table = Table("targets", *seconds, "MB up, down", "MB of memory", f"all {n_sums} sums: CPU s", "MB up", title=title)
    for shown in SHOWN:
        up, down = sent(shown * HASHES.n_features)
        each = [shown * found for found in seconds.values()]
        memory = 5 * 4 * shown * HASHES.n_features / 1e6
        table.add_row(
            f"{shown:,}",
            *(f"{found:.1f}" for found in each),
            f"{up:.0f}, {down:.0f}",
            f"{memory:,.0f}",
            f"{n_sums * sum(each):,.0f}",
            f"{n_sums * up:,.0f}",
        )
    up, down = sent(trunk_layout(4096, (512,)).n_params)
    table.add_row(f"trunk, {N_ROUNDS} rounds", "", "", "", "", f"{up:.1f}, {down:.1f}", "", "", f"{N_ROUNDS * up:.0f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
