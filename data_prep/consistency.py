"""A fingerprint of a partner's whole set-up, equal for equal set-ups, that says nothing about the structure seed."""

import csv
import json
from dataclasses import asdict
from importlib.resources import files

import rdkit

from data_prep.keyed import bit_permutation, keyed_digest, require_strong_seed, scaffold_fold
from data_prep.settings import Preparation
from data_prep.structures import fold_scaffolds, standardise_all
from data_prep.version import CODE_VERSION


def consistency_digest(settings: Preparation, structure_seed: bytes) -> str:
    """Return HMAC-SHA256 (hex), keyed by the seed, over settings, versions and results on public reference structures.

    The results are the canonical SMILES (or reason of refusal), permuted bits and fold of each structure in
    reference_structures.csv. Raises StructureSeedError for a seed of fewer than 32 bytes.
    """
    require_strong_seed(structure_seed)
    told = {
        "purpose": "hocket data_prep consistency digest",
        "settings": asdict(settings),
        "rdkit": rdkit.__version__,
        "code": CODE_VERSION,
        "results": _results(settings, structure_seed),
    }
    return keyed_digest(structure_seed, json.dumps(told, sort_keys=True).encode()).hex()


def reference_smiles() -> list[str]:
    """Return the SMILES of the built-in public reference structures."""
    with files("data_prep").joinpath("reference_structures.csv").open(encoding="utf-8") as table:
        return [row["smiles"] for row in csv.DictReader(table)]


def _results(settings: Preparation, structure_seed: bytes) -> list[list[object]]:
    found = standardise_all(reference_smiles(), settings.chemistry, settings.fingerprint)
    scaffolds = fold_scaffolds(found.murcko)
    places = bit_permutation(structure_seed, settings.fingerprint.n_bits)
    results: list[list[object]] = []
    for i, smiles in enumerate(found.smiles):
        if smiles is None:
            results.append([found.reasons[i]])
            continue
        bits = sorted(places[found.bits[found.starts[i] : found.starts[i + 1]]].tolist())
        fold = scaffold_fold(structure_seed, scaffolds[found.murcko[i]], settings.folds.n_folds)
        results.append([smiles, bits, fold])
    return results
