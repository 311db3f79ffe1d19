"""A digest of a partner's preparation, by which partners check that theirs are equal; it hides the structure seed."""

import csv
import json
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import rdkit

from data_prep.folds.compounds import fingerprint_matrix
from data_prep.folds.folds import assign_folds
from data_prep.folds.keyed import bit_permutation, keyed_digest, require_strong_seed
from data_prep.settings import Chemistry, Fingerprint, Preparation
from data_prep.structures.structures import FoldScaffolds, Structures, fold_scaffolds, standardise_all
from data_prep.structures.watchdog import worker_pool
from data_prep.version import CODE_VERSION


def consistency_digest(settings: Preparation, structure_seed: bytes) -> str:
    """Return HMAC-SHA256 (hex), keyed by the seed, over settings, versions and results on public reference structures.

    The results are the canonical SMILES (or the reason for rejection), scaffolds, permuted bits and fold of each
    structure in reference_structures.csv.

    The digest is sent to the aggregator, who knows all of its input but the seed. As HMAC is a pseudo-random
    function of its key, the digest shows no bit of the seed, of a fold or of the permutation; it could only confirm a
    guess of the whole seed. So a seed must be 32 bytes drawn at random, as the custodian's is: 2^256 guesses. A shorter
    one raises StructureSeedError. The text begins with a brace, unlike the texts that give bits and folds.
    """
    require_strong_seed(structure_seed)
    preparation = {
        "purpose": "hocket data_prep consistency digest",
        "settings": asdict(settings),
        "rdkit": rdkit.__version__,
        "code": CODE_VERSION,
        "results": reference_results(settings, structure_seed),
    }
    return keyed_digest(structure_seed, json.dumps(preparation, sort_keys=True).encode()).hex()


def reference_smiles() -> list[str]:
    """Return the SMILES of the built-in public reference structures; some of them must be refused."""
    with files("data_prep.folds").joinpath("reference_structures.csv").open(encoding="utf-8") as table:
        return [row["smiles"] for row in csv.DictReader(table)]


def reference_results(settings: Preparation, structure_seed: bytes) -> list[dict[str, Any]]:
    """Return the result for each reference structure: a `reason`, or all values that enter training.

    The result is secret: it shows folds and permuted bits, which depend on the seed.
    """
    structures, scaffolds = _standardised(tuple(reference_smiles()), settings.chemistry, settings.fingerprint)
    results: list[dict[str, Any]] = [
        {"reason": reason or (scaffolds.refused.get(murcko) if murcko else None)}
        for reason, murcko in zip(structures.reasons, structures.murcko, strict=True)
    ]
    accepted = [i for i, result in enumerate(results) if result["reason"] is None]
    indices = np.array(sorted(accepted, key=lambda i: str(structures.smiles[i])), dtype=np.int64)
    x = fingerprint_matrix(structures, bit_permutation(structure_seed, settings.fingerprint.n_bits), indices)
    folding = assign_folds(structures, indices, scaffolds, settings.folds, structure_seed)
    for row, i in enumerate(indices.tolist()):
        begin, end = x.indptr[row], x.indptr[row + 1]
        results[i] |= {
            "smiles": structures.smiles[i],
            "murcko": structures.murcko[i],
            "scaffold": scaffolds[structures.murcko[i]],
            "bits": x.indices[begin:end].tolist(),
            "values": x.data[begin:end].tolist(),
            "fold": int(folding[row]),
        }
    return results


@lru_cache(maxsize=8)
def _standardised(
    smiles: tuple[str, ...], chemistry: Chemistry, fingerprint: Fingerprint
) -> tuple[Structures, FoldScaffolds]:
    """Structures and scaffolds of public SMILES, computed once in a process; they do not depend on the seed."""
    with worker_pool():
        structures = standardise_all(smiles, chemistry, fingerprint)
        return structures, fold_scaffolds(structures.murcko)
