"""Evenness of folds by method, share of the test fold with a near twin in training, and cost of a million.

    python tests/benchmarks/preparation/fold_methods.py [DATA/dev_p5/P02] [--seeds 20] [--million]

Of one partner's T2, tautomers as drawn: over the seeds, the mean and worst share of the largest of five folds; and the
share of compounds (2,500 of them) of which another fold holds one with Tanimoto similarity >= 0.6.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # run as a script

from data_prep.folds.folds import Scaffolds, assign_folds, needs_fold_scaffolds
from data_prep.settings import Chemistry, Fingerprint, Folds
from data_prep.structures.structures import Structures, fold_scaffolds, standardise_all
from data_prep.tables.tables import read_structures

tell = Console(highlight=False, soft_wrap=True).print

SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[4] / "shared"))
METHODS = {
    "scaffold": Folds(),
    "scaffold, balanced": Folds(scaffold_balanced=True),
    "lsh": Folds(method="lsh"),
    "random": Folds(method="random"),
}
_CLOSE = 0.6
_MILLION = 1_000_000


def main() -> None:
    """Print one line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("partner", type=Path, nargs="?", default=SHARED / "data/dev_p5/P02", help="has T2.csv.gz")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--million", action="store_true", help="also CPU seconds of a million compounds")
    arguments = parser.parse_args()
    if not arguments.partner.is_dir():
        tell(f"fold_methods.py: skipped, needs {arguments.partner} (set HOCKET_SHARED)")
        return
    found, at, scaffolds = _structures(arguments.partner / "T2.csv.gz")
    seeds = [hashlib.sha256(f"seed {i}".encode()).digest() for i in range(arguments.seeds)]
    similarity, chosen = _similarity(found, at)
    tell(f"{len(at)} compounds, {len(seeds)} seeds")
    for name, folds in METHODS.items():
        foldings = [assign_folds(found, at, scaffolds, folds, seed) for seed in seeds]
        largest = [np.bincount(folding, minlength=5).max() / len(at) for folding in foldings]
        close = np.mean([_close_elsewhere(similarity, chosen, folding) for folding in foldings[:4]])
        tell(f"{name:20} largest fold {np.mean(largest):.3f} (worst {max(largest):.3f}), close elsewhere {close:.3f}")
    if arguments.million:
        _time_a_million(found, at, scaffolds)


def _structures(t2: Path) -> tuple[Structures, NDArray[np.int64], Scaffolds]:
    """Distinct accepted structures in the order of their canonical SMILES, and the fold scaffolds."""
    smiles = read_structures(t2).accepted["smiles"].unique(maintain_order=True).to_list()
    found = standardise_all(smiles, Chemistry(tautomers="keep"), Fingerprint(), workers=2)
    scaffolds = fold_scaffolds(found.murcko, workers=2)
    place = {text: i for i, text in enumerate(found.smiles) if text is not None and found.murcko[i] in scaffolds}
    return found, np.array([place[text] for text in sorted(place)]), scaffolds


def _similarity(found: Structures, at: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tanimoto similarity of some compounds with all, (n_chosen, n_compounds)."""
    ones = np.ones(len(found.bits), np.float32)
    x = sparse.csr_matrix((ones, found.bits, found.starts), shape=(len(found.smiles), 32_000))[at]
    chosen = np.random.default_rng(0).permutation(len(at))[:2500]
    n_bits, common = np.diff(x.indptr), (x[chosen] @ x.T).toarray()
    return common / (n_bits[chosen][:, None] + n_bits - common), chosen


def _close_elsewhere(similarity: NDArray[np.float32], chosen: NDArray[np.int64], folding: NDArray[np.int64]) -> float:
    elsewhere = folding[chosen][:, None] != folding
    return float(((similarity >= _CLOSE) & elsewhere).any(axis=1).mean())


def _time_a_million(found: Structures, at: NDArray[np.int64], scaffolds: Scaffolds) -> None:
    """Time a million fingerprints: the same compounds repeatedly, each time with another last bit."""
    again = np.resize(at, _MILLION)
    lengths = np.diff(found.starts)[again]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    bits = np.concatenate([found.bits[found.starts[i] : found.starts[i + 1]] for i in again])
    bits[starts[1:] - 1] = np.random.default_rng(0).integers(0, 32_000, _MILLION)
    million = Structures(
        [""] * _MILLION, [found.murcko[i] for i in again], [None] * _MILLION, bits, np.ones_like(bits), starts
    )
    for name, folds in METHODS.items():
        started = time.process_time()
        assign_folds(million, np.arange(_MILLION), scaffolds, folds, bytes(32))
        needs = ", fold scaffolds given" if needs_fold_scaffolds(folds) else ""
        tell(f"{name:20} {time.process_time() - started:.1f} CPU s for a million compounds{needs}")


if __name__ == "__main__":
    main()
