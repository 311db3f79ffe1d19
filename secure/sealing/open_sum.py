"""Open a sealed sum: decrypt it and check by its tag that it is the sum of exactly the roster's updates."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.packing import Block, unpack
from secure.ciphertexts.parameters import SealParameters
from secure.encoding.roster import Roster
from secure.errors import BadContainer, SumIncomplete, TagMismatch, UpdateOutOfRange
from secure.keys.group import GroupSecret
from secure.sealing.container import SUM, ChunkReader, check_header, read_chunks
from secure.sealing.fixed_point import Grid, make_grid
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


def open_sum(
    path: Path,
    *,
    roster: Roster,
    group: GroupSecret,
    parameters: SealParameters,
    slices: Sequence[slice],
    bounds: np.ndarray,
    workers: int = 1,
    progress: Progress | None = None,
) -> OpenedSum:
    """Decrypt a sealed sum; it is returned only if the tag proves that it is the sum of exactly the roster's updates.

    slices, bounds : the same as for sealing
    workers        : most processes to use; fewer, or only this one, for small sums
    Raises BadContainer, ParameterMismatch, WrongPlan, WrongRound, WrongAttempt, WrongRoster, SumIncomplete,
    TagMismatch, and UpdateOutOfRange if members must have sent more than they may. Memory: the total and a few MB.
    """
    grid = make_grid(slices, bounds, parameters)
    n_members, total = len(roster.members), np.empty(grid.n_params, dtype=np.int32)
    tagger, count_chunks = (
        Tagger(group.tag_seed, roster, parameters.t),
        ProgressCounter(progress, parameters.n_chunks(grid.n_params)),
    )
    weight_total, tag, largest = 0, -1, 0
    with ExitStack() as stack:
        reader = stack.enter_context(read_chunks(path))
        _check(reader, roster, grid, parameters)
        opener_arguments = (parameters, group.bfv_key, tagger)
        stack.enter_context(_with_file_name(reader.where))
        openers = stack.enter_context(Workers(BlockOpener, opener_arguments, n_workers_for(reader.n_blocks, workers)))
        for block, slots, part in openers.in_order(iter(reader)):
            tagger.add(part)
            if block.is_last:
                weight_total, tag = int(slots[-2]), int(slots[-1])
            total[block.start : block.stop] = sums = unpack(slots, block, parameters, n_members)
            largest = max(largest, int(np.abs(sums).max(initial=0)))
            count_chunks(block.n_chunks)
    if tag != tagger.tag(*roster.members):
        raise _tag_mismatch(path, roster)
    if largest > n_members * parameters.limit or not n_members <= weight_total <= n_members * parameters.max_weight:
        raise UpdateOutOfRange(f"{path.name}: the sum is beyond what {n_members} members may send, weights included")
    return OpenedSum(total, weight_total, n_members, grid, parameters.max_weight)


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


def _check(reader: ChunkReader, roster: Roster, grid: Grid, parameters: SealParameters) -> None:
    check_header(reader.header, SUM, roster, parameters, reader.where)
    if reader.header.members != roster.members:
        found = ", ".join(reader.header.members)
        raise SumIncomplete(f"{reader.where}: the sum of {found}, expected that of {', '.join(roster.members)}")
    if reader.header.n_params != grid.n_params:
        raise BadContainer(f"{reader.where}: {reader.header.n_params} parameters, expected {grid.n_params}")
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
