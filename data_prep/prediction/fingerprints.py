"""Fingerprints of new structures for a model that is finished: the group's key is in it as places of the bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.folds.compounds import fingerprint_matrix
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.structures import standardise_all
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What became of some structures, in their order."""

    x: sparse.csr_matrix  # (n_accepted, n_bits), as the x of training
    accepted: NDArray[np.int64]  # (n_accepted,) places of those that have a row
    reasons: list[str | None]  # of each structure, None for those accepted; codes of standardise_all


def fingerprint(
    smiles: Sequence[str | None],
    chemistry: Chemistry,
    settings: Fingerprint,
    places: NDArray[np.int64],
    *,
    workers: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
) -> Fingerprints:
    """Standardise and fingerprint structures just as for training; equal ones are computed once.

    places : (n_bits,) where each bit stands, data_prep.folds.keyed.bit_permutation of the group's structure seed
    """
    first: dict[str | None, int] = {}
    at = [first.setdefault(text, len(first)) for text in smiles]
    found = standardise_all(list(first), chemistry, settings, workers=workers, timeout_s=timeout_s, cache=cache)
    reasons = [found.reasons[i] for i in at]
    accepted = np.array([i for i, reason in enumerate(reasons) if reason is None], dtype=np.int64)
    rows = np.array(at, dtype=np.int64)[accepted]
    return Fingerprints(fingerprint_matrix(found, places, rows), accepted, reasons)
