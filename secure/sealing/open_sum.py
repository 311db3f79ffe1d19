"""Open a sealed sum, in two steps.

First decrypt it and check by its tag that it is the sum of exactly the roster's updates; this needs no seed. Then, when
every member has released its seed, take their streams away and unpack.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.packing import Block, blocks, unpack
from secure.ciphertexts.parameters import N_SLOTS, SealParameters
from secure.encoding.roster import Roster
from secure.errors import BadContainer, SumIncomplete, TagMismatch, UpdateOutOfRange, WrongRelease
from secure.keys.group import GroupSecret
from secure.sealing.container import SUM, ChunkReader, check_header, read_chunks
from secure.sealing.fixed_point import Grid, make_grid
from secure.sealing.masks import Masks, released
from secure.sealing.release import ReleaseSeed
from secure.sealing.tags import Tagger
from secure.sealing.workers import Progress, ProgressCounter, Workers, n_workers_for

_PIECE = 1 << 20  # parameters; float64 takes twice the memory of the trunk


@dataclass(frozen=True)  # without slots, for the cached mean
class OpenedSum:
    """The exact sum of the roster's updates, and the mean change that follows from it."""

    total: np.ndarray  # (n_params,) int32: sum of the members' integers
    weight_total: int  # sum of the weights; n_members if all weigh the same
    n_members: int
    grid: Grid
    max_weight: int  # 1 if all weigh the same

    @cached_property
    def mean(self) -> np.ndarray:
        """The (weighted) mean change, (n_params,) float32, computed in float64 and rounded once."""
        mean = np.empty(self.total.size, dtype=np.float32)
        for tensor, step in zip(self.grid.slices, self.grid.steps, strict=True):
            factor = np.float64(step) * (self.max_weight / self.weight_total)
            for start in range(tensor.start, tensor.stop, _PIECE):
                part = slice(start, min(start + _PIECE, tensor.stop))
                mean[part] = self.total[part] * factor
        return mean

    @property
    def sent_mean(self) -> np.ndarray:
        """The mean of the sent values, which are change x weight / max_weight, (n_params,) float32.

        It has the unit of the bounds, so next_bounds takes it; equal to `mean` if all weigh the same.
        """
        if self.max_weight == 1:
            return self.mean
        return self.mean * np.float32(self.weight_total / (self.max_weight * self.n_members))


@dataclass(frozen=True, slots=True, repr=False)
class CheckedSum:
    """A decrypted sum with the right tag, which the streams of its members' release seeds still hide."""

    roster: Roster
    parameters: SealParameters
    n_params: int
    slots: np.ndarray  # (n_slots,) uint64 below t
    where: str  # its file, for messages

    def open(
        self, seeds: Sequence[ReleaseSeed], *, slices: Sequence[slice], bounds: np.ndarray, workers: int = 1
    ) -> OpenedSum:
        """Take the release streams of all members away, and unpack the sum.

        seeds          : of every member of the roster, each checked against its commitment
        slices, bounds : the same as for sealing
        workers        : most processes to use; fewer, or only this one, for small sums
        Raises WrongRelease for other seeds than the members', UpdateOutOfRange if members must have sent more than
        they may. Memory: the total and a few MB.
        """
        if sorted(seed.member for seed in seeds) != list(self.roster.members):
            found = ", ".join(sorted(seed.member for seed in seeds))
            raise WrongRelease(f"{self.where}: seeds of {found}, expected those of {', '.join(self.roster.members)}")
        grid, n_members = make_grid(slices, bounds, self.parameters), len(self.roster.members)
        total, weight_total, largest = np.empty(self.n_params, dtype=np.int32), 0, 0
        arguments, n_workers = (released(seeds, self.parameters.t),), n_workers_for(self._n_blocks, workers)
        with Workers(BlockRevealer, arguments, n_workers) as revealers:
            for block, slots in revealers.in_order(self._blocks()):
                if block.is_last:
                    weight_total = int(slots[-2])
                total[block.start : block.stop] = sums = unpack(slots, block, self.parameters, n_members)
                largest = max(largest, int(np.abs(sums).max(initial=0)))
        limit, most = self.parameters.limit, self.parameters.max_weight
        if largest > n_members * limit or not n_members <= weight_total <= n_members * most:
            raise UpdateOutOfRange(
                f"{self.where}: the sum is beyond what {n_members} members may send, weights included"
            )
        return OpenedSum(total, weight_total, n_members, grid, most)

    @property
    def _n_blocks(self) -> int:
        return len(list(blocks(self.n_params, self.parameters)))

    def _blocks(self) -> Iterator[tuple[Block, np.ndarray]]:
        first = 0
        for block in blocks(self.n_params, self.parameters):
            yield block, self.slots[first : first + block.n_slots].copy()
            first += block.n_slots

    def __repr__(self) -> str:
        return f"CheckedSum({self.where}, hidden)"


class BlockRevealer:
    """Takes release streams out of blocks of slots; runs in a worker process."""

    def __init__(self, streams: Masks) -> None:
        self._streams = streams

    def __call__(self, task: tuple[Block, np.ndarray]) -> tuple[Block, np.ndarray]:
        """Return the block and its slots without the streams. task : the block, (n_slots,) uint64."""
        block, slots = task
        self._streams.add_to(slots, block.number)
        return block, slots


def check_sum(
    path: Path,
    *,
    roster: Roster,
    group: GroupSecret,
    parameters: SealParameters,
    n_params: int,
    workers: int = 1,
    progress: Progress | None = None,
) -> CheckedSum:
    """Decrypt a sealed sum; it is returned only if the tag proves that it is the sum of exactly the roster's updates.

    n_params : length of the vector
    workers  : most processes to use; fewer, or only this one, for small sums
    Raises BadContainer, ParameterMismatch, WrongPlan, WrongRound, WrongAttempt, WrongRoster, SumIncomplete and
    TagMismatch. Memory: 8 bytes per slot and a few MB.
    """
    n_chunks = parameters.n_chunks(n_params)
    tagger, count_chunks = Tagger(group.tag_seed, roster, parameters.t), ProgressCounter(progress, n_chunks)
    decrypted, first = np.empty(n_chunks * N_SLOTS, dtype=np.uint64), 0
    with ExitStack() as stack:
        reader = stack.enter_context(read_chunks(path, with_digest=False))
        _check(reader, roster, n_params, parameters)
        opener_arguments = (parameters, group.bfv_key, tagger)
        stack.enter_context(_with_file_name(reader.where))
        openers = stack.enter_context(Workers(BlockOpener, opener_arguments, n_workers_for(reader.n_blocks, workers)))
        for block, slots, part in openers.in_order(iter(reader)):
            tagger.add(part)
            decrypted[first : first + block.n_slots] = slots
            first += block.n_slots
            count_chunks(block.n_chunks)
    if int(decrypted[-1]) != tagger.tag(*roster.members):
        raise _tag_mismatch(path, roster)
    return CheckedSum(roster, parameters, n_params, decrypted, path.name)


def open_sum(  # noqa: PLR0913 -- everything a sum is bound to, by name
    path: Path,
    *,
    roster: Roster,
    group: GroupSecret,
    parameters: SealParameters,
    seeds: Sequence[ReleaseSeed],
    slices: Sequence[slice],
    bounds: np.ndarray,
    workers: int = 1,
    progress: Progress | None = None,
) -> OpenedSum:
    """Decrypt a sealed sum, check its tag and take the release streams away: `check_sum`, then `CheckedSum.open`."""
    n_params = make_grid(slices, bounds, parameters).n_params
    checked = check_sum(
        path,
        roster=roster,
        group=group,
        parameters=parameters,
        n_params=n_params,
        workers=workers,
        progress=progress,
    )
    return checked.open(seeds, slices=slices, bounds=bounds, workers=workers)


class BlockOpener:
    """Decrypts blocks and computes their part of the tag; runs in a worker process."""

    def __init__(self, parameters: SealParameters, bfv_key: bytes, tagger: Tagger) -> None:
        self._tagger = tagger
        self._cipher = Cipher(Ring(parameters), bfv_key)

    def __call__(self, task: tuple[Block, np.ndarray]) -> tuple[Block, np.ndarray, int]:
        """Return the block, its slots and its part of the tag. task : the block, (n_chunks, sum_chunk_bytes) uint8."""
        block, chunks = task
        slots = self._cipher.decrypt(chunks)
        tag = slots[-1]
        if block.is_last:
            slots[-1] = 0  # the tag covers all slots but its own
        part = self._tagger.part(slots, block.number)
        slots[-1] = tag
        return block, slots, part


def _check(reader: ChunkReader, roster: Roster, n_params: int, parameters: SealParameters) -> None:
    check_header(reader.header, SUM, roster, parameters, reader.where)
    if reader.header.members != roster.members:
        found = ", ".join(reader.header.members)
        raise SumIncomplete(f"{reader.where}: the sum of {found}, expected that of {', '.join(roster.members)}")
    if reader.header.n_params != n_params:
        raise BadContainer(f"{reader.where}: {reader.header.n_params} parameters, expected {n_params}")
    reader.expect_shape(parameters)


@contextmanager
def _with_file_name(where: str) -> Iterator[None]:
    try:
        yield
    except BadContainer as error:
        error.add_note(f"while opening {where}")
        raise


def _tag_mismatch(path: Path, roster: Roster) -> TagMismatch:
    error = TagMismatch(f"{path.name}: not the sum of exactly the updates of {', '.join(roster.members)}")
    error.add_note(
        "the aggregator or the exchange changed an update or the sum; ask the other members before you go on"
    )
    return error
