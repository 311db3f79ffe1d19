"""Many structures at once, over processes: standard forms, fingerprint bits and fold scaffolds.

No secret is needed here: bits are permuted and folds are drawn afterwards (data_prep.keyed). The result is the same
for any number of workers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rdkit import rdBase

from data_prep.scaffolds import fold_scaffold
from data_prep.settings import Chemistry, Fingerprint
from data_prep.standardise import NotAccepted, standardiser

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

Progress = Callable[[int, int], None]

_CHUNK = 256  # structures per task: some seconds of the slowest chemistry


@dataclass(frozen=True, slots=True)
class Structures:
    """What became of some SMILES, in their order; a rejected one has a reason, no SMILES and no bits."""

    smiles: list[str | None]  # canonical
    murcko: list[str | None]  # None: acyclic or rejected
    reasons: list[str | None]  # None: accepted
    bits: NDArray[np.int32]  # all structures' bits one after the other, ascending within each, not permuted
    starts: NDArray[np.int64]  # (n + 1,): the bits of structure i are bits[starts[i]:starts[i + 1]]


def standardise_all(
    smiles: Sequence[str | None],
    chemistry: Chemistry,
    fingerprint: Fingerprint,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Structures:
    """Standardise every SMILES; `progress` is told (done, total) after each chunk."""
    step = partial(_standardise_chunk, chemistry, fingerprint)
    chunks = list(_over_processes(step, smiles, workers, progress))
    counts = np.concatenate([np.zeros(1, np.int64), *(chunk[4] for chunk in chunks)])
    return Structures(
        smiles=[text for chunk in chunks for text in chunk[0]],
        murcko=[text for chunk in chunks for text in chunk[1]],
        reasons=[text for chunk in chunks for text in chunk[2]],
        bits=np.concatenate([np.zeros(0, np.int32), *(chunk[3] for chunk in chunks)]),
        starts=np.cumsum(counts),
    )


def fold_scaffolds(murcko: Iterable[str | None], *, workers: int = 1) -> dict[str | None, str | None]:
    """Return the fold scaffold of every distinct Murcko scaffold, and None for None (acyclic).

    A scaffold that RDKit cannot take apart is missing from the answer.
    """
    distinct = sorted({scaffold for scaffold in murcko if scaffold is not None})
    answer: dict[str | None, str | None] = {None: None}
    for chunk in _over_processes(_scaffold_chunk, distinct, workers, None):
        answer.update(chunk)
    return answer


_Chunk = tuple[list[str | None], list[str | None], list[str | None], NDArray[np.int32], NDArray[np.int64]]


def _standardise_chunk(chemistry: Chemistry, fingerprint: Fingerprint, smiles: Sequence[str | None]) -> _Chunk:
    make = standardiser(chemistry, fingerprint).structure
    canonical: list[str | None] = [None] * len(smiles)
    murcko: list[str | None] = [None] * len(smiles)
    reasons: list[str | None] = [None] * len(smiles)
    bits = [np.zeros(0, np.int32)] * len(smiles)
    with rdBase.BlockLogs():  # every complaint becomes a reason code
        for i, text in enumerate(smiles):
            try:
                structure = make(text)
            except NotAccepted as refusal:
                reasons[i] = refusal.reason
                continue
            canonical[i], murcko[i], bits[i] = structure.smiles, structure.murcko, structure.bits.astype(np.int32)
    return canonical, murcko, reasons, np.concatenate(bits), np.array([len(b) for b in bits], np.int64)


def _scaffold_chunk(murcko: Sequence[str]) -> dict[str, str]:
    found = {}
    with rdBase.BlockLogs():
        for scaffold in murcko:
            with suppress(ValueError, RuntimeError):  # RDKit's refusals: the scaffold stays missing
                found[scaffold] = fold_scaffold(scaffold)
    return found


def _over_processes(
    step: Callable[[Sequence[_Given]], _Made], everything: Sequence[_Given], workers: int, progress: Progress | None
) -> Iterator[_Made]:
    """Yield what `step` makes of each chunk, in order."""
    if workers < 1:
        raise ValueError(f"workers: found {workers}, expected at least 1")
    chunks = [everything[start : start + _CHUNK] for start in range(0, len(everything), _CHUNK)]
    done = 0
    with _pool(min(workers, len(chunks))) as pool:
        for chunk, made in zip(chunks, (pool.map if pool else map)(step, chunks), strict=True):
            yield made
            done += len(chunk)
            if progress:
                progress(done, len(everything))


def _pool(workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """Return fresh processes (a fork of a process with polars' threads may hang), or none for one worker."""
    if workers <= 1:
        return nullcontext()
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
