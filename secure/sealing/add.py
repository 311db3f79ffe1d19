"""Add sealed updates: the aggregator's only operation on them, which needs no key."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure.ciphertexts.bfv import Ring
from secure.ciphertexts.parameters import SealParameters
from secure.encoding.roster import MIN_ROSTER, Roster
from secure.errors import BadContainer, BadRoster, RosterTooSmall, SumIncomplete
from secure.messages.messages import PayloadDigest
from secure.sealing.container import SUM, UPDATE, ChunkReader, Header, check_header, read_chunks, write_chunks
from secure.sealing.workers import Progress, ProgressCounter, Workers, n_workers_for


@dataclass(frozen=True, slots=True)
class AddReport:
    """The members and digests of the added updates, and the digest of the sum's file."""

    members: tuple[str, ...]  # as the headers of the updates state, sorted
    updates: dict[str, PayloadDigest]  # by member: digest of exactly the bytes that were added
    digest: str  # SHA-256 of the sum's file
    n_bytes: int


def add_updates(
    update_files: Sequence[Path],
    parameters: SealParameters,
    path: Path,
    progress: Progress | None = None,
    *,
    roster: Roster | None = None,
    workers: int = 1,
) -> AddReport:
    """Add sealed updates block by block into a sealed sum at `path`.

    roster  : if given, the updates must be of exactly its members and for it; without, they must agree among themselves
    workers : most processes to use; fewer, or only this one, for small updates
    Raises RosterTooSmall under three updates, SumIncomplete for a member twice or missing, BadContainer,
    ParameterMismatch, WrongPlan, WrongRound, WrongAttempt, WrongRoster. Memory: a block of each update per worker.
    """
    if len(update_files) < MIN_ROSTER:
        raise RosterTooSmall(f"{len(update_files)} updates, expected at least {MIN_ROSTER}")
    if len(update_files) > parameters.max_partners:
        raise BadRoster(f"{len(update_files)} updates, expected at most {parameters.max_partners}")
    with ExitStack() as files:
        readers = [files.enter_context(read_chunks(file)) for file in update_files]
        header = _sum_header(readers, parameters, roster)
        n_blocks, count_chunks = readers[0].n_blocks, ProgressCounter(progress, parameters.n_chunks(header.n_params))
        writer = files.enter_context(write_chunks(path, header, parameters.sum_chunk_bytes))
        adders = files.enter_context(Workers(BlockAdder, (parameters,), n_workers_for(n_blocks, workers)))
        for chunks in _with_file_names(adders.in_order(_same_blocks(readers)), readers):
            writer.write(chunks)
            count_chunks(len(chunks))
        written = writer.close()
        updates = {reader.header.members[0]: reader.digest() for reader in readers}
    return AddReport(header.members, updates, written.sha256, written.size)


class BlockAdder:
    """Adds one block of several updates; runs in a worker process."""

    def __init__(self, parameters: SealParameters) -> None:
        self._ring = Ring(parameters)

    def __call__(self, chunks: list[np.ndarray]) -> np.ndarray:
        """Return the chunks of the sum; raises BadContainer."""
        return self._ring.add(chunks)


def _same_blocks(readers: list[ChunkReader]) -> Iterator[list[np.ndarray]]:
    for step in zip(*readers, strict=True):
        yield [chunks for _, chunks in step]


def _with_file_names(sums: Iterator[np.ndarray], readers: list[ChunkReader]) -> Iterator[np.ndarray]:
    try:
        yield from sums
    except BadContainer as error:
        error.add_note(f"while adding {', '.join(reader.where for reader in readers)}")
        raise


def _sum_header(readers: list[ChunkReader], parameters: SealParameters, roster: Roster | None) -> Header:
    first = readers[0].header
    for reader in readers:
        check_header(reader.header, UPDATE, roster or first, parameters, reader.where)
        if reader.header.n_params != first.n_params:
            found = f"{readers[0].where}: {first.n_params} parameters, {reader.where}: {reader.header.n_params}"
            raise BadContainer(f"{found}, expected the same number")
        reader.expect_shape(parameters)
    names = sorted(reader.header.members[0] for reader in readers)
    if len(set(names)) != len(names):
        raise SumIncomplete(f"updates of {', '.join(names)}: expected each member once")
    if roster is not None and tuple(names) != roster.members:
        raise SumIncomplete(f"updates of {', '.join(names)}: expected those of {', '.join(roster.members)}")
    return Header(
        SUM,
        first.plan,
        first.round_no,
        first.attempt,
        first.roster,
        tuple(names),
        first.n_params,
        first.parameters,
    )
