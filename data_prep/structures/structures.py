"""Many structures at once, over processes: standard forms, fingerprint bits and fold scaffolds.

No secret is needed here: bits are permuted and folds are drawn afterwards (data_prep.folds.keyed). The result is the
same for any number of workers, with any joblib backend and whatever the cache holds.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import joblib
import numpy as np
from numpy.typing import NDArray

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.cache import Cache, keys_of, opened
from data_prep.structures.steps import MolBlockStep, ScaffoldStep, Step, StepResult, StructureStep
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S, guarded, worker_pool


class Progress(Protocol):
    """Is told how far a long step is; `note` says which part of it."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """`done` of `total` are done."""


class Cluster(Protocol):
    """Other processes than this one's children, such as data_prep.structures.cluster's."""

    @property
    def n_workers(self) -> int:
        """Texts that can be made at the same time."""

    def outcomes(
        self, step: Step, texts: Sequence[str | None], chunks: Sequence[list[int]], timeout_s: float
    ) -> Iterator[tuple[list[int], list[StepResult]]]:
        """Yield places of texts and what the step makes of them, in any order; every place of the chunks once."""


Workers = int | Cluster
"""Who makes structures: so many processes of this machine, or a cluster."""

_CHUNK = 32  # texts per task at most: half a second of usual chemistry
_CHUNKS_PER_WORKER = 4  # at least, so that few texts keep all workers busy too
_LONGEST_S = 86_400  # a day; the system's timer takes no infinity
_LOOKUP = 4096  # texts looked up in the cache at once


@dataclass(frozen=True, slots=True)
class Structures:
    """What became of some SMILES, in their order; a rejected one has a reason, no SMILES and no bits."""

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
        self.refused: dict[str, str] = {}  # Murcko scaffolds without one -> reason

    @classmethod
    def themselves(cls, murcko: Iterable[str | None]) -> Self:
        """Return every Murcko scaffold as its own, for folds that need no fold scaffold."""
        answer = cls()
        answer.update({scaffold: scaffold for scaffold in murcko})
        return answer


def standardise_all(
    smiles: Sequence[str | None],
    chemistry: Chemistry,
    fingerprint: Fingerprint,
    *,
    workers: Workers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Structures:
    """Standardise every SMILES; `progress` is told (done, total) after each chunk.

    A structure that takes longer than `timeout_s` gets the reason `timeout`, one on which a process dies twice
    `crashed`. `cache` is the file that remembers outcomes. Raises ChildError where no process can be started.
    """
    step = StructureStep(chemistry, fingerprint)
    made = _make_all(step, smiles, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress)
    bits = np.frombuffer(b"".join([one.bits for one in made]), "<i4").astype(np.int32, copy=False)
    counted = b"".join([one.counts for one in made])
    counts = np.frombuffer(counted, "<i4").astype(np.int32, copy=False) if counted else np.ones_like(bits)
    n_bits = np.fromiter((len(one.bits) // bits.itemsize for one in made), np.int64, len(made))
    return Structures(
        smiles=[one.text for one in made],
        murcko=[one.murcko for one in made],
        reasons=[one.reason for one in made],
        bits=bits,
        counts=counts,
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_bits)]),
    )


def fold_scaffolds(
    murcko: Iterable[str | None],
    *,
    workers: Workers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FoldScaffolds:
    """Return the fold scaffold of every distinct Murcko scaffold; `progress` as for standardise_all.

    One that has none is missing from the answer and has its reason in `refused`: `too_complex`, `timeout`, `crashed`
    or, where RDKit cannot take it apart, `scaffold_failed`.
    """
    distinct = sorted({scaffold for scaffold in murcko if scaffold is not None})
    answer = FoldScaffolds()
    made = _make_all(ScaffoldStep(), distinct, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress)
    for scaffold, one in zip(distinct, made, strict=True):
        if one.reason is None:
            answer[scaffold] = one.text
        else:
            answer.refused[scaffold] = one.reason
    return answer


def labelled(progress: Progress | None, note: str) -> Progress | None:
    """What tells `progress` the same of a part of the step, by the part's name."""
    if progress is None:
        return None

    def told(done: int, total: int, _note: str = "", /) -> None:
        progress(done, total, note)

    return told


def smiles_of_mol_blocks(
    blocks: Sequence[str], *, workers: int = 1, timeout_s: float = DEFAULT_TIMEOUT_S
) -> tuple[list[str | None], list[str | None]]:
    """Return the SMILES and the reason of each mol block; one of both is None (`unparsable`, `timeout`, `crashed`)."""
    made = _make_all(MolBlockStep(), blocks, workers=workers, timeout_s=timeout_s, cache=None, progress=None)
    return [one.text for one in made], [one.reason for one in made]


def _make_all(
    step: Step,
    texts: Sequence[str | None],
    *,
    workers: Workers,
    timeout_s: float,
    cache: Path | None,
    progress: Progress | None,
) -> list[StepResult]:
    """Return what the step makes of each text, in order, remembered or made now."""
    if isinstance(workers, int) and workers < 1:
        raise ValueError(f"workers: found {workers}, expected at least 1")
    if not 0 < timeout_s <= _LONGEST_S:
        raise ValueError(f"timeout_s: found {timeout_s}, expected more than 0 and at most {_LONGEST_S}")
    with opened(cache) as remembered:
        keys = keys_of(step, texts) if cache else []
        made: list[StepResult | None] = _remembered(remembered, keys, timeout_s) if keys else [None] * len(texts)
        missing = [i for i, one in enumerate(made) if one is None]
        done = len(texts) - len(missing)
        if done and progress:
            progress(done, len(texts))
        for chunk, outcomes in _over_processes(step, texts, missing, workers, timeout_s):
            for i, outcome in zip(chunk, outcomes, strict=True):
                made[i] = outcome
            if keys:
                remembered.store([keys[i] for i in chunk], outcomes, timeout_s)
            done += len(chunk)
            if progress:
                progress(done, len(texts))
    return [one for one in made if one is not None]


def _remembered(cache: Cache, keys: list[bytes], timeout_s: float) -> list[StepResult | None]:
    made: list[StepResult | None] = []
    for start in range(0, len(keys), _LOOKUP):
        some = keys[start : start + _LOOKUP]
        found = cache.lookup(some, timeout_s)
        made.extend(found.get(key) for key in some)
    return made


def _over_processes(
    step: Step, texts: Sequence[str | None], wanted: list[int], workers: Workers, timeout_s: float
) -> Iterator[tuple[list[int], list[StepResult]]]:
    """Yield places of texts and what the step makes of them; every wanted place once."""
    if not wanted:
        return
    n_workers = workers if isinstance(workers, int) else workers.n_workers
    size = min(_CHUNK, math.ceil(len(wanted) / (_CHUNKS_PER_WORKER * n_workers))) or 1
    chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    if not isinstance(workers, int):
        yield from workers.outcomes(step, texts, chunks, timeout_s)
        return
    tasks = (joblib.delayed(guarded)(step, [texts[i] for i in chunk], timeout_s) for chunk in chunks)
    with worker_pool():
        yield from zip(chunks, _parallel(min(workers, len(chunks)))(tasks), strict=True)


def _parallel(workers: int) -> joblib.Parallel:
    """Return threads, each to drive a child process, or what an outer joblib.parallel_config chose.

    As a generator where that backend can.
    """
    try:
        return joblib.Parallel(workers, prefer="threads", batch_size=1, return_as="generator")
    except ValueError:  # "multiprocessing" answers only when all is done
        return joblib.Parallel(workers, prefer="threads", batch_size=1)
