"""Sealed updates beside NVFlare's homomorphic encryption: CPU seconds and bytes per parameter, three members.

Ours: fixed point, masks, tag and BFV, written to files and read back. Peer: TenSEAL CKKS at the parameters that
NVFlare sets (poly_modulus_degree 8192, coeff_mod_bit_sizes [60, 40, 40], global_scale 2^40, symmetric), in memory.
Runs alternate in one process; the table shows medians. usage: secure_update.py [millions of parameters] [repeats]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import tenseal
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from tests.secure.consortium import Consortium, make_consortium

N_MEMBERS = 3
STEPS = ("seal", "add", "open")
Measured = dict[str, float]
Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of a call in this process, and what it returned."""
    before = time.process_time()
    result = call()
    return time.process_time() - before, result


def ours(consortium: Consortium, change: np.ndarray, bits: int) -> Measured:
    """Seal one update, add three, open the sum; bytes of the update's file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = consortium.seal_all(folder, dict.fromkeys(consortium.partners, change))
        one = folder / "timed.update"
        seal_s, _ = timed(lambda: consortium.seal(consortium.partners[0], change, one))
        add_s, _ = timed(lambda: consortium.add(files, folder / "sum"))
        open_s, opened = timed(lambda: consortium.open(folder / "sum", change.size))
        step = consortium.settings.first_bound / (2 ** (bits - 1) - 1)
        error = float(np.abs(opened.mean - change).max())
        assert error <= step, f"the mean of equal updates is off by {error}, more than a step"
        return {"seal": seal_s, "add": add_s, "open": open_s, "bytes": one.stat().st_size, "error": error}


def nvflare(context: tenseal.Context, change: np.ndarray) -> Measured:
    """The same with CKKS vectors and their serialised form."""

    def add() -> bytes:
        vectors = [tenseal.ckks_vector_from(context, sealed) for _ in range(N_MEMBERS)]
        for vector in vectors[1:]:
            vectors[0] += vector
        return bytes(vectors[0].serialize())

    seal_s, sealed = timed(lambda: tenseal.ckks_vector(context, change).serialize())
    add_s, total = timed(add)
    open_s, opened = timed(lambda: np.array(tenseal.ckks_vector_from(context, total).decrypt()) / N_MEMBERS)
    error = float(np.abs(opened - change).max())
    return {"seal": seal_s, "add": add_s, "open": open_s, "bytes": len(sealed), "error": error}


def main(millions: float = 2.0, repeats: int = 3) -> None:
    """Measure and print."""
    change = (np.random.default_rng(0).standard_normal(int(millions * 1e6)) * 1e-3).astype(np.float32)
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.global_scale = 2**40
    consortia = {bits: make_consortium(N_MEMBERS, bits=bits, first_bound=0.01) for bits in (16, 8)}
    runs: dict[str, list[Measured]] = {"hocket, 16 bits": [], "hocket, 8 bits": [], "NVFlare's CKKS": []}
    for _ in range(repeats):
        runs["hocket, 16 bits"].append(ours(consortia[16], change, 16))
        runs["hocket, 8 bits"].append(ours(consortia[8], change, 8))
        runs["NVFlare's CKKS"].append(nvflare(context, change))
    show(runs, change.size)


def show(runs: dict[str, list[Measured]], n_params: int) -> None:
    """Print the table; ratios are NVFlare's over ours."""
    medians = {
        who: {key: statistics.median(run[key] for run in found) for key in found[0]} for who, found in runs.items()
    }
    peer = medians["NVFlare's CKKS"]
    table = Table(title=f"{n_params / 1e6:g} M parameters, {N_MEMBERS} members, CPU seconds (NVFlare's / ours)")
    for column in ("", *STEPS, "seal + open", "bytes per parameter", "largest error of the mean"):
        table.add_column(column, justify="right")
    for who, row in medians.items():
        both = row["seal"] + row["open"]
        cells = [f"{row[step]:.2f} ({peer[step] / row[step]:.1f}x)" for step in STEPS]
        cells.append(f"{both:.2f} ({(peer['seal'] + peer['open']) / both:.1f}x)")
        size = f"{row['bytes'] / n_params:.2f} ({peer['bytes'] / row['bytes']:.1f}x)"
        table.add_row(who, *cells, size, f"{row['error']:.1e}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((float, int), sys.argv[1:], strict=False)))
