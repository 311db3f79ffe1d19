"""Canaries: training compounds of which a random half is left out, so that an audit knows who was trained on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadData
from partners.training_data.training_set import TrainingSet

_DIGEST_BYTES = 16  # of a fingerprint's digest


class TooManyCanaries(BadData):
    """More canaries are wanted than half of the training compounds."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A compound, known by its fingerprint, and whether the training has it."""

    fingerprint: str  # digest, hexadecimal
    is_member: bool


def draw_canaries(data: TrainingSet, n: int, seed: bytes) -> list[Canary]:
    """Draw n training compounds, and for each with probability 1/2 whether it is left out.

    seed : secret; who knows it knows the members among the canaries
    Of compounds with equal fingerprints one is drawn at most. Raises TooManyCanaries for more than half of them.
    """
    fingerprints = sorted(set(_digests(data.x[data.training_rows])))
    if n > len(fingerprints) // 2:
        raise TooManyCanaries(
            f"canaries: found {n}, expected at most {len(fingerprints) // 2}, half of the training compounds"
        )
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(seed).digest(), dtype=np.uint32))
    chosen = np.sort(rng.permutation(len(fingerprints))[:n])
    is_member = rng.integers(2, size=n, dtype=np.int8)
    return [Canary(fingerprints[i], bool(member)) for i, member in zip(chosen, is_member, strict=True)]


def left_out_rows(x: sparse.csr_matrix, canaries: Sequence[Canary]) -> NDArray[np.int64]:
    """Rows of the compounds that canaries leave out, all with such a fingerprint, ascending."""
    left_out = {canary.fingerprint for canary in canaries if not canary.is_member}
    if not left_out:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero([fingerprint in left_out for fingerprint in _digests(x)])


def canary_rows(data: TrainingSet, canaries: Sequence[Canary]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """One row of each canary that the training folds still have, and whether it is a member, (n,) each.

    data : of all compounds, those that are left out included
    """
    first: dict[str, int] = {}
    for row, fingerprint in zip(data.training_rows, _digests(data.x[data.training_rows]), strict=True):
        first.setdefault(fingerprint, int(row))
    present = [(first[canary.fingerprint], canary.is_member) for canary in canaries if canary.fingerprint in first]
    rows, members = np.array(present, dtype=np.int64).reshape(-1, 2).T
    return rows, members.astype(np.bool_)


def _digests(x: sparse.csr_matrix) -> list[str]:
    """Digest of each row's set columns and values."""
    columns, values = x.indices.astype("<i8"), x.data.astype("<f4")
    return [
        hashlib.sha256(columns[start:stop].tobytes() + values[start:stop].tobytes()).hexdigest()[: 2 * _DIGEST_BYTES]
        for start, stop in zip(x.indptr[:-1], x.indptr[1:], strict=True)
    ]
