"""Fingerprints and descriptors of new structures for a finished model, which holds the permuted places of bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.folds.compounds import fingerprint_matrix
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.structures import describe_all, standardise_all
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S, worker_pool


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """The fingerprints of the accepted structures, and the reasons for the others, in the order of the input."""

    x: sparse.csr_matrix  # (n_accepted, n_bits), as the x of training
    accepted: NDArray[np.int64]  # (n_accepted,) indices of the structures that have a row
    reasons: list[str | None]  # of each structure, None for those accepted; codes of standardise_all
    smiles: list[str]  # of the accepted structures, canonical
    descriptors: NDArray[np.float32] | None = None  # (n_accepted, n_descriptors), see describe_all; None: not wanted


def fingerprint(
    smiles: Sequence[str | None],
    chemistry: Chemistry,
    settings: Fingerprint,
    positions: NDArray[np.int64],
    *,
    workers: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    descriptors: bool = False,
) -> Fingerprints:
    """Standardise and fingerprint structures as for training, and describe them if asked; equal ones are computed once.

    positions : (n_bits,) the column of each bit, data_prep.folds.keyed.bit_permutation of the group's structure seed
    """
    index_of: dict[str | None, int] = {}
    distinct = [index_of.setdefault(text, len(index_of)) for text in smiles]
    with worker_pool():
        structures = standardise_all(
            list(index_of), chemistry, settings, workers=workers, timeout_s=timeout_s, cache=cache
        )
        reasons = [structures.reasons[i] for i in distinct]
        accepted = np.array([i for i, reason in enumerate(reasons) if reason is None], dtype=np.int64)
        rows = np.array(distinct, dtype=np.int64)[accepted]
        canonical = [text for i in rows if (text := structures.smiles[i]) is not None]
        described = None
        if descriptors:
            described = describe_all(canonical, workers=workers, timeout_s=timeout_s, cache=cache)
    return Fingerprints(fingerprint_matrix(structures, positions, rows), accepted, reasons, canonical, described)
