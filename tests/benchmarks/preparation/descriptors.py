"""Cost of descriptors per compound, on one core, beside its fingerprint; and the public quantiles of data_prep.

CPU milliseconds of public compounds (MoleculeACE, as in the demo), in this process: the plain loop calls all of RDKit's
functions, ours those of the list. `--write-quantiles` computes the public quantiles anew, from all 35,633 compounds,
and writes them into data_prep; the same RDKit writes the same bytes.
usage: descriptors.py [--compounds N] [--write-quantiles]
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # the child processes find the folders by it

from data_prep.descriptors.listed import DESCRIPTORS  # noqa: E402
from data_prep.descriptors.scaling import N_QUANTILES, public_quantiles, quantile_scale, quantiles_of  # noqa: E402
from data_prep.samples.benchmark_split import split_benchmark  # noqa: E402
from data_prep.settings import Chemistry, Fingerprint  # noqa: E402
from data_prep.structures.descriptors import descriptors_of  # noqa: E402
from data_prep.structures.steps import StructureStep  # noqa: E402
from data_prep.structures.structures import describe_all, standardise_all  # noqa: E402
from pipeline.demo.benchmark_data import ensure_wheel  # noqa: E402

KEEP = Chemistry(tautomers="keep")
QUANTILES = ROOT / "data_prep" / "descriptors" / "public_quantiles.csv"


def public_compounds() -> list[str]:
    """Distinct structures of the public data, in a fixed order."""
    with tempfile.TemporaryDirectory() as scratch:
        tables = [folder / "T2.csv" for folder in split_benchmark(ensure_wheel(), 3, 1.0, 0, Path(scratch) / "split")]
        return sorted(set(pl.concat([pl.read_csv(table) for table in tables])["smiles"]))


def write_quantiles() -> None:
    """Write the quantiles of all public compounds, one row per descriptor."""
    canonical = {text for text in standardise_all(public_compounds(), KEEP, Fingerprint()).smiles if text is not None}
    quantiles = quantiles_of(describe_all(sorted(canonical)))
    with QUANTILES.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["descriptor", *(f"q{i}" for i in range(N_QUANTILES))])
        for name, column in zip(DESCRIPTORS, quantiles.T, strict=True):
            table.writerow([name, *(f"{number:.6g}" for number in column)])


def cpu_ms(call: Callable[[str], object], smiles: Sequence[str]) -> float:
    """CPU milliseconds per structure, the faster of two passes."""
    spent = []
    for _ in range(2):
        before = time.process_time()
        for text in smiles:
            call(text)
        spent.append(1e3 * (time.process_time() - before) / len(smiles))
    return min(spent)


def plain(smiles: str) -> list[float]:
    """All of RDKit's descriptors, by its own function."""
    return list(Descriptors.CalcMolDescriptors(Chem.MolFromSmiles(smiles), silent=True).values())


def main() -> None:
    """Print the table, or write the quantiles."""
    options = argparse.ArgumentParser()
    options.add_argument("--compounds", type=int, default=1000)
    options.add_argument("--write-quantiles", action="store_true")
    asked = options.parse_args()
    rdBase.DisableLog("rdApp.*")
    if asked.write_quantiles:
        write_quantiles()
        return
    smiles = list[str](np.random.default_rng(0).choice(public_compounds(), asked.compounds, replace=False))
    described = np.array([descriptors_of(text) for text in smiles])
    fingerprinted = StructureStep(KEEP, Fingerprint()).make
    table = Table("per compound", "CPU ms", title=f"{len(smiles)} public compounds, {len(DESCRIPTORS)} descriptors")
    table.add_row("standard form and fingerprint, tautomers kept", f"{cpu_ms(fingerprinted, smiles):.2f}")
    table.add_row(f"all of RDKit's {len(Descriptors.descList)} descriptors", f"{cpu_ms(plain, smiles):.2f}")
    table.add_row("hocket's descriptors", f"{cpu_ms(descriptors_of, smiles):.2f}")
    before = time.process_time()
    quantile_scale(described, public_quantiles())
    table.add_row("scaling", f"{1e3 * (time.process_time() - before) / len(smiles):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
