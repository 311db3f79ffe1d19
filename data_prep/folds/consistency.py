"""A fingerprint of a partner's whole set-up, equal for equal set-ups, that says nothing about the structure seed."""

import csv
import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
import rdkit

from data_prep.folds.compounds import fingerprint_matrix
from data_prep.folds.folds import assign_folds
from data_prep.folds.keyed import bit_permutation, keyed_digest, require_strong_seed
from data_prep.settings import Preparation
from data_prep.structures.structures import fold_scaffolds, standardise_all
from data_prep.structures.watchdog import worker_pool
from data_prep.version import CODE_VERSION


def consistency_digest(settings: Preparation, structure_seed: bytes) -> str:
    """Return HMAC-SHA256 (hex), keyed by the seed, over settings, versions and results on public reference structures.

    The results are the canonical SMILES (or reason of refusal), scaffolds, permuted bits and fold of each structure in
    reference_structures.csv.

    The digest is sent to the aggregator, who knows all that it is made from but the seed. As HMAC is a pseudo-random
    function of its key, the digest shows no bit of the seed, of a fold or of the permutation; it could only confirm a
    guess of the whole seed. So a seed must be 32 bytes drawn at random, as the custodian's is: 2^256 guesses. A shorter
    one raises StructureSeedError. The text begins with a brace, so it is none of the texts behind bits and folds.
    """
    require_strong_seed(structure_seed)
    told = {
        "purpose": "hocket data_prep consistency digest",
        "settings": asdict(settings),
        "rdkit": rdkit.__version__,
        "code": CODE_VERSION,
        "results": reference_results(settings, structure_seed),
    }
    return keyed_digest(structure_seed, json.dumps(told, sort_keys=True).encode()).hex()


def reference_smiles() -> list[str]:
    """Return the SMILES of the built-in public reference structures; some of them must be refused."""
    with files("data_prep").joinpath("reference_structures.csv").open(encoding="utf-8") as table:
        return [row["smiles"] for row in csv.DictReader(table)]


def reference_results(settings: Preparation, structure_seed: bytes) -> list[dict[str, Any]]:
    """Return what these settings make of each reference structure: a `reason`, or everything that enters training.

    A secret: folds and permuted bits give the seed's work away.
    """
    with worker_pool():
        found = standardise_all(reference_smiles(), settings.chemistry, settings.fingerprint)
        scaffolds = fold_scaffolds(found.murcko)
    results: list[dict[str, Any]] = [
        {"reason": reason or (scaffolds.refused.get(murcko) if murcko else None)}
        for reason, murcko in zip(found.reasons, found.murcko, strict=True)
    ]
    accepted = [i for i, result in enumerate(results) if result["reason"] is None]
    at = np.array(sorted(accepted, key=lambda i: str(found.smiles[i])), dtype=np.int64)
    x = fingerprint_matrix(found, bit_permutation(structure_seed, settings.fingerprint.n_bits), at)
    folding = assign_folds(found, at, scaffolds, settings.folds, structure_seed)
    for row, i in enumerate(at.tolist()):
        begin, end = x.indptr[row], x.indptr[row + 1]
        results[i] |= {
            "smiles": found.smiles[i],
            "murcko": found.murcko[i],
            "scaffold": scaffolds[found.murcko[i]],
            "bits": x.indices[begin:end].tolist(),
            "values": x.data[begin:end].tolist(),
            "fold": int(folding[row]),
        }
    return results
