"""Standard forms, fingerprint bits, descriptors and fold scaffolds of many structures, computed by several processes.

No secret is needed here: bits are permuted and folds are drawn afterwards (data_prep.folds.keyed). The result is the
same for any number of workers, any joblib backend and any content of the cache.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import joblib
import numpy as np
from numpy.typing import NDArray

from data_prep.descriptors.listed import DESCRIPTORS
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.cache import Cache, keys_of, opened
from data_prep.structures.steps import DescriptorStep, MolBlockStep, ScaffoldStep, Step, StepResult, StructureStep
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S, guarded, worker_pool


class StructureProgress(Protocol):
    """A callback that receives the progress of a long step; `note` names the part of the step."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Receive the numbers of finished and of all structures."""


class Cluster(Protocol):
    """Workers outside this machine, such as those of data_prep.structures.cluster."""

    @property
    def n_workers(self) -> int:
        """Number of texts that can be processed at the same time."""

    def results(
        self, step: Step, texts: Sequence[str | None], chunks: Sequence[list[int]], timeout_s: float
    ) -> Iterator[tuple[list[int], list[StepResult]]]:
        """Yield indices of texts and the step's results for them, in any order; every index of the chunks once."""


StructureWorkers = int | Cluster
"""Where structures are standardised: a number of processes of this machine, or a cluster."""

_CHUNK = 32  # texts per task at most: half a second of usual chemistry
_CHUNKS_PER_WORKER = 4  # at least, so that few texts keep all workers busy too
_LONGEST_S = 86_400  # a day; the system's timer does not accept infinity
_LOOKUP = 4096  # texts looked up in the cache at once


@dataclass(frozen=True, slots=True)
class Structures:
    """The results for some SMILES, in their order; a rejected one has a reason, no SMILES and no bits."""

    smiles: list[str | None]  # canonical
    murcko: list[str | None]  # None: acyclic or rejected
    reasons: list[str | None]  # None: accepted
    bits: NDArray[np.int32]  # all structures' bits one after the other, ascending within each, not permuted
    counts: NDArray[np.int32]  # of each bit; ones for a binary fingerprint
    starts: NDArray[np.int64]  # (n + 1,): the bits of structure i are bits[starts[i]:starts[i + 1]]


class FoldScaffolds(dict[str | None, str | None]):
    """The fold scaffold of each Murcko scaffold, and None for None (acyclic)."""

    def __init__(self) -> None:
        super().__init__({None: None})
        self.refused: dict[str, str] = {}  # Murcko scaffolds without a fold scaffold -> reason

    @classmethod
    def themselves(cls, murcko: Iterable[str | None]) -> Self:
        """Map every Murcko scaffold to itself, for folds that need no fold scaffold."""
        fold_scaffolds = cls()
        fold_scaffolds.update({scaffold: scaffold for scaffold in murcko})
        return fold_scaffolds


def standardise_all(
    smiles: Sequence[str | None],
    chemistry: Chemistry,
    fingerprint: Fingerprint,
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
) -> Structures:
    """Standardise every SMILES; `progress` is called with (done, total) after each chunk.

    A structure that takes longer than `timeout_s` gets the reason `timeout`, one on which a process dies twice
    `crashed`. `cache` is the file of earlier results. Raises ChildError if no process can be started.
    """
    step = StructureStep(chemistry, fingerprint)
    results = run_step(step, smiles, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress)
    bits = np.frombuffer(b"".join([result.numbers for result in results]), "<i4").astype(np.int32, copy=False)
    count_bytes = b"".join([result.counts for result in results])
    counts = np.frombuffer(count_bytes, "<i4").astype(np.int32, copy=False) if count_bytes else np.ones_like(bits)
    n_bits = np.fromiter((len(result.numbers) // bits.itemsize for result in results), np.int64, len(results))
    return Structures(
        smiles=[result.text for result in results],
        murcko=[result.murcko for result in results],
        reasons=[result.reason for result in results],
        bits=bits,
        counts=counts,
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_bits)]),
    )


def describe_all(
    smiles: Sequence[str],
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
) -> NDArray[np.float32]:
    """Return the descriptors of standardised structures, (n, n_descriptors), columns in the order of DESCRIPTORS.

    smiles : canonical, as standardise_all returns them; equal ones are described once
    `workers`, `cache`, `progress` and errors as for standardise_all.
    NaN where a structure has no such number; a row of NaN for one that takes longer than `timeout_s` or on which a
    process dies twice.
    """
    distinct = list(dict.fromkeys(smiles))
    results = run_step(DescriptorStep(), distinct, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress)
    numbers_of = {text: result.numbers for text, result in zip(distinct, results, strict=True) if not result.reason}
    descriptors = np.full((len(smiles), len(DESCRIPTORS)), np.nan, np.float32)
    for row, text in zip(descriptors, smiles, strict=True):
        if text in numbers_of:
            row[:] = np.frombuffer(numbers_of[text], "<f4")
    return descriptors


def fold_scaffolds(
    murcko: Iterable[str | None],
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
) -> FoldScaffolds:
    """Return the fold scaffold of every distinct Murcko scaffold; `progress` as for standardise_all.

    A scaffold without one is missing from the result and has its reason in `refused`: `too_complex`, `timeout`,
    `crashed` or, if RDKit cannot fragment it, `scaffold_failed`.
    """
    distinct = sorted({scaffold for scaffold in murcko if scaffold is not None})
    of_murcko = FoldScaffolds()
    results = run_step(ScaffoldStep(), distinct, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress)
    for scaffold, result in zip(distinct, results, strict=True):
        if result.reason is None:
            of_murcko[scaffold] = result.text
        else:
            of_murcko.refused[scaffold] = result.reason
    return of_murcko


def labelled(progress: StructureProgress | None, note: str) -> StructureProgress | None:
    """Return a callback that calls `progress` with `note`, the name of a part of the step."""
    if progress is None:
        return None

    def report(done: int, total: int, _note: str = "", /) -> None:
        progress(done, total, note)

    return report


def smiles_of_mol_blocks(
    blocks: Sequence[str], *, workers: int = 1, timeout_s: float = DEFAULT_TIMEOUT_S
) -> tuple[list[str | None], list[str | None]]:
    """Return the SMILES and the reason of each mol block, one of them None (`unparsable`, `timeout`, `crashed`)."""
    results = run_step(MolBlockStep(), blocks, workers=workers, timeout_s=timeout_s)
    return [result.text for result in results], [result.reason for result in results]


def run_step(
    step: Step,
    texts: Sequence[str | None],
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
) -> list[StepResult]:
    """Return the result of the step for each text, in order, from the cache or computed now; see standardise_all."""
    if isinstance(workers, int) and workers < 1:
        raise ValueError(f"workers: found {workers}, expected at least 1")
    if not 0 < timeout_s <= _LONGEST_S:
        raise ValueError(f"timeout_s: found {timeout_s}, expected more than 0 and at most {_LONGEST_S}")
    with opened(cache) as cached:
        keys = keys_of(step, texts) if cache else []
        results: list[StepResult | None] = _look_up(cached, keys, timeout_s) if keys else [None] * len(texts)
        missing = [i for i, result in enumerate(results) if result is None]
        done = len(texts) - len(missing)
        if done and progress:
            progress(done, len(texts))
        for chunk, chunk_results in _over_processes(step, texts, missing, workers, timeout_s):
            for i, result in zip(chunk, chunk_results, strict=True):
                results[i] = result
            if keys:
                cached.store([keys[i] for i in chunk], chunk_results, timeout_s)
            done += len(chunk)
            if progress:
                progress(done, len(texts))
    return [result for result in results if result is not None]


def _look_up(cache: Cache, keys: list[bytes], timeout_s: float) -> list[StepResult | None]:
    results: list[StepResult | None] = []
    for start in range(0, len(keys), _LOOKUP):
        some_keys = keys[start : start + _LOOKUP]
        cached = cache.lookup(some_keys, timeout_s)
        results.extend(cached.get(key) for key in some_keys)
    return results


def _over_processes(
    step: Step, texts: Sequence[str | None], wanted: list[int], workers: StructureWorkers, timeout_s: float
) -> Iterator[tuple[list[int], list[StepResult]]]:
    """Yield indices of texts and the step's results for them; every wanted index once."""
    if not wanted:
        return
    n_workers = workers if isinstance(workers, int) else workers.n_workers
    size = min(_CHUNK, math.ceil(len(wanted) / (_CHUNKS_PER_WORKER * n_workers))) or 1
    chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    if not isinstance(workers, int):
        yield from workers.results(step, texts, chunks, timeout_s)
        return
    tasks = (joblib.delayed(guarded)(step, [texts[i] for i in chunk], timeout_s) for chunk in chunks)
    with worker_pool():
        yield from zip(chunks, _parallel(min(workers, len(chunks)))(tasks), strict=True)


def _parallel(workers: int) -> joblib.Parallel:
    """Return threads, one per child process, or the backend of an outer joblib.parallel_config.

    Results come as a generator if the backend supports it.
    """
    try:
        return joblib.Parallel(workers, prefer="threads", batch_size=1, return_as="generator")
    except ValueError:  # "multiprocessing" returns results only when all are done
        return joblib.Parallel(workers, prefer="threads", batch_size=1)
