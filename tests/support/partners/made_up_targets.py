"""Three partners with common targets: made-up compounds whose values depend on their bits, offsets of their own."""

import numpy as np

from partners.assay_models.assays import Assay
from partners.target_models.min_hash import MinHashes
from partners.target_models.own_part import OwnPart, TargetValues
from tests.support.partners.made_up_assays import N_BITS, random_inputs

HASHES = MinHashes(n_hashes=128, n_buckets=8, seed=5)
N_TARGETS = 3
_SIZES = {"P01": (40, 25, 0), "P02": (30, 20, 0), "P03": (20, 0, 0)}  # measurements of each target


def made_up_parts() -> dict[str, OwnPart]:
    """P03 holds the first target alone, nobody the last; P01 has two assays of the first."""
    return {name: _part(number, sizes) for number, (name, sizes) in enumerate(_SIZES.items())}


def _part(number: int, sizes: tuple[int, ...]) -> OwnPart:
    rng, inputs = np.random.default_rng(number), random_inputs(number, 60)
    effects = np.random.default_rng(99).normal(size=(N_BITS, N_TARGETS))
    truth = np.asarray(inputs.bits @ effects) / 3 + number + rng.normal(scale=0.3, size=(60, N_TARGETS))
    held = {}
    for target, n in enumerate(sizes):
        rows = np.sort(rng.permutation(60)[:n]).astype(np.int64)
        assays = [_assay(part, truth[part, target]) for part in np.split(rows, [n // 3] if number == 0 else [])]
        if n:
            held[target] = TargetValues.of(assays, inputs)
    return OwnPart(HASHES, HASHES.buckets(inputs.bits), held)


def _assay(rows: np.ndarray, values: np.ndarray) -> Assay:
    return Assay("A", rows, values, np.zeros(rows.size, np.int8), (0,), (1,), None)
