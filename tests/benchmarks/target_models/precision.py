"""How near the sums of target models come to the pooled ridge: by number of steps and bits of a number.

The ridge of all partners' compounds of a target is solved in one place, in float64, until nothing changes. Shown is the
root mean square of the difference between its predictions and those of the sums, for the compounds of the validation
fold, in log units: the median and the largest of all targets, and the deviation of the predictions themselves.
usage: target_models/precision.py [--data dev_p5] [--shared FOLDER] [--work FOLDER] [--every 4]
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse.linalg import LinearOperator, cg

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for the modules of the tests

from partners.target_models.conjugate_gradients import Ridges, RidgeSettings
from partners.target_models.own_part import OwnPart, TargetValues, predict_targets
from secure.ciphertexts.parameters import SealSettings
from tests.benchmarks.gain.assay_models import assay_data, assays_by_target
from tests.benchmarks.gain.partners import Partner, load_partners, tables_of
from tests.benchmarks.gain.target_models import HASHES
from tests.support.clear_targets import clear_ridges

MIN_HOLDERS, N_BITS = 3, 4096
SETTINGS = RidgeSettings(n_steps=14)
Floats = NDArray[np.float64]
Errors = dict[int, list[float]]  # by number of steps


def parts_of(partners: Mapping[str, Partner], every: int) -> list[tuple[dict[str, OwnPart], NDArray[np.uint8]]]:
    """Every n-th common target: the partners' parts, and the buckets of its compounds in the validation fold."""
    own = {name: assay_data(partner) for name, partner in partners.items()}
    buckets = {name: HASHES.buckets(data.data.x) for name, data in own.items()}
    common = [held for held in assays_by_target(partners, own).values() if len(held) >= MIN_HOLDERS]
    targets = []
    for held in common[::every]:
        parts, new = {}, []
        for name, (_, assay) in held.items():
            values = TargetValues.of([own[name].training_part(assay)], own[name].inputs(np.zeros(0, np.int64)))
            parts[name] = OwnPart(HASHES, buckets[name], {0: values})
            new.append(buckets[name][assay.rows[own[name].data.folding[assay.rows] == own[name].data.validation_fold]])
        targets.append((parts, np.concatenate(new)))
    return targets


def solved(parts: Mapping[str, OwnPart]) -> Floats:
    """The pooled ridge of a target, (n_features,)."""
    total = sum((part.values_part(0) for part in parts.values()), np.zeros(HASHES.n_features))

    def product(vector: Floats) -> Floats:
        start = SETTINGS.penalty * vector
        return sum((part.product_part(0, vector) for part in parts.values()), start)

    found, unfinished = cg(LinearOperator((total.size, total.size), matvec=product), total, rtol=1e-9, maxiter=500)
    if unfinished:
        raise ValueError("the ridge is not solved after 500 steps")
    return np.asarray(found, np.float64)


def main() -> None:
    """Prepare, solve, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="dev_p5")
    parser.add_argument("--shared", type=Path, help="folder with dev_p5, ... (default: HOCKET_SHARED/data)")
    parser.add_argument("--work", type=Path, help="folder that keeps prepared tables")
    parser.add_argument("--every", type=int, default=4, help="every n-th target is solved")
    asked = parser.parse_args()
    shared = asked.shared or Path(os.environ.get("HOCKET_SHARED", "../shared")) / "data"
    if not shared.exists():
        Console().print(f"precision.py: skipped, needs {shared} (set HOCKET_SHARED)")
        return
    with tempfile.TemporaryDirectory() as fresh:
        work = asked.work or Path(fresh)
        partners = load_partners(tables_of(asked.data, work, shared), N_BITS, work, lambda _: None)
        targets = parts_of(partners, asked.every)
    errors: dict[int, Errors] = {bits: {} for bits in (16, 12)}
    deviations = []
    for parts, new in targets:
        expected = predict_targets(HASHES, new, solved(parts)[None, :])[:, 0]
        deviations.append(float(expected.std()))
        for bits, found in errors.items():

            def told(
                ridges: Ridges, _: float, found: Errors = found, new: NDArray[np.uint8] = new, right: Floats = expected
            ) -> None:
                miss = predict_targets(HASHES, new, ridges.weights)[:, 0] - right
                found.setdefault(ridges.n_sums - 1, []).append(float(np.sqrt(np.mean(miss**2))))

            clear_ridges(parts, 1, SETTINGS, told, SealSettings(bits=bits))  # type: ignore[arg-type] -- 16 or 12
    title = f"{asked.data}, {len(targets)} targets, deviation of predictions {np.median(deviations):.3f}"
    table = Table("steps", *(f"{bits} bits: median, largest" for bits in errors), title=title)
    for steps in (4, 6, 8, 10, 12, 14):
        table.add_row(f"{steps}", *(f"{np.median(e[steps]):.4f}, {max(e[steps]):.4f}" for e in errors.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
