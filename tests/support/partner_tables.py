"""Small, realistic T0/T1/T2 tables for whole-federation tests: drug-like series with a rule behind each assay."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

CORES = ["c1ccc({})cc1", "c1cnc({})nc1", "C1CCN({})CC1", "c1ccc2c({})cccc2c1", "c1csc({})n1", "C1CN({})CCO1"]
LINKS = ["C(=O)N{}", "CN{}", "S(=O)(=O)N{}", "CC{}", "OC{}"]
ENDS = ["CCO", "c1ccccc1", "C(F)(F)F", "CC(=O)O", "c1ccncc1", "C1CC1", "CN(C)C", "c1ccc(Cl)cc1", "CCC#N", "c1ccoc1"]
SMILES = [core.format(link.format(end)) for core, link, end in product(CORES, LINKS, ENDS)]


def write_tables(folder: Path, name: str, seed: int, n_compounds: int = 120, catalogue: Sequence[str] = ()) -> None:
    """T0, T1 and T2 of one partner: two assays, active where a fragment of the assay's choice is present.

    catalogue : catalogue's ids of further assays, one twice for two of them; active where an oxygen is present
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(SMILES))[:n_compounds]
    structures = [(f"{name}-C{i:04d}", SMILES[i]) for i in sorted(chosen)]
    kinds = {
        f"{name}-{shared}{'-again' * catalogue[:i].count(shared)}": ("CATALOG-PANEL", shared)
        for i, shared in enumerate(catalogue)
    }
    fragments = {f"{name}-A1": "N", f"{name}-A2": "c1"} | dict.fromkeys(kinds, "O")
    activities = [
        (compound, assay, "=", round(float(5.5 + 2 * (fragment in smiles[4:]) + rng.normal(0, 0.4)), 2))
        for assay, fragment in fragments.items()
        for compound, smiles in structures
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "T2.csv", ("input_compound_id", "smiles"), structures)
    header = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
    _write(folder / "T1.csv", header, activities)
    assays = [
        (assay, kind, "true", "false", 6.0, "", "", "", "", "high", shared, "")
        for assay, (kind, shared) in ((assay, kinds.get(assay, ("OTHER", ""))) for assay in fragments)
    ]
    thresholds = [f"expert_threshold_{i}" for i in range(1, 6)]
    columns = ("input_assay_id", "assay_type", "use_in_regression", "is_binary", *thresholds)
    _write(folder / "T0.csv", (*columns, "direction", "catalog_assay_id", "parent_assay_id"), assays)


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_structures(path: Path, n: int, row: int, *others: str) -> Path:
    """Write a table T2 of n structures, n0 to n(n - 1), with other rows, as text, before one of them."""
    rows = [f"n{i},{smiles}" for i, smiles in enumerate(SMILES[:n])]
    rows[row:row] = others
    path.write_text("\n".join(["input_compound_id,smiles", *rows]) + "\n")
    return path
