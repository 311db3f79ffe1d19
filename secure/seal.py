"""Sealing: one partner's update, fixed-point, masked, tagged and encrypted for exactly one roster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure.bfv import Cipher, Ring
from secure.container import UPDATE, make_header, write_chunks
from secure.errors import AlreadySealed, BadRoster, UpdateOutOfRange
from secure.fixed_point import Grid, make_grid, quantise
from secure.group import GroupSecret
from secure.masks import Masks, make_masks
from secure.packing import Block, blocks, pack
from secure.pairing import PairKey
from secure.parameters import SealParameters
from secure.roster import Roster
from secure.tags import Tagger

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SealReport:
    """What sealing an update gave, besides the file."""

    residual: np.ndarray  # (n_params,) float32, what was not sent; goes into the next round
    clipped_share: float  # share of parameters beyond their bound
    digest: str  # SHA-256 of the file
    n_bytes: int  # size of the file


def seal_update(  # noqa: PLR0913 -- everything an update is bound to, by name
    change: np.ndarray,
    *,
    weight: int,
    bounds: np.ndarray,
    slices: Sequence[slice],
    residual: np.ndarray | None,
    roster: Roster,
    me: str,
    pair_keys: Mapping[str, PairKey],
    group: GroupSecret,
    parameters: SealParameters,
    rng: np.random.Generator,
    path: Path,
    progress: Progress | None = None,
) -> SealReport:
    """Seal the change of the trunk for `roster` into a new file at `path`.

    change   : (n_params,) float32; multiplied by weight / max_weight if the plan weighs by size
    weight   : 1 to max_weight; ignored (1 is sent) if all partners weigh the same
    bounds   : (n_tensors,), largest change of a parameter per tensor; what exceeds it is clipped into the residual
    slices   : of the tensors in the vector; they tile it in order
    residual : (n_params,) float32 of the round before, or None
    rng      : for the rounding; the same inputs and rng give the same residual (but never the same file)
    Raises AlreadySealed if the file exists (an update is never sealed twice), UpdateOutOfRange for NaN, infinity,
    wrong shapes or weights, BadRoster. Memory: the residual and a few megabytes.
    """
    if path.exists():
        raise AlreadySealed(f"{path}: exists; a sealed update is sent again as it is, never made anew")
    if me not in roster.members or len(roster.members) > parameters.max_partners:
        raise BadRoster(f"the roster does not list {me}, or more than {parameters.max_partners} members")
    grid = make_grid(slices, bounds, parameters)
    scale, sent_weight = _weigh(weight, parameters)
    source = _Source(_checked(change, grid, "change"), residual, scale, grid, rng)
    masks = make_masks(me, roster, pair_keys, parameters.t)
    tagger = Tagger(group.tag_seed, roster, parameters.t)
    cipher = Cipher(Ring(parameters), group.bfv_key)
    header = make_header(UPDATE, roster, (me,), grid.n_params, parameters)
    n_done, n_chunks = 0, parameters.n_chunks(grid.n_params)
    with write_chunks(path, header, parameters.update_chunk_bytes) as writer:
        for block in blocks(grid.n_params, parameters):
            slots = pack(source.take(block), block, parameters)
            _mask_and_tag(slots, block, masks, tagger, sent_weight, me)
            writer.write(cipher.encrypt(slots))
            n_done += block.n_chunks
            if progress:
                progress(n_done, n_chunks)
        written = writer.close()
    return SealReport(source.residual, source.n_clipped / grid.n_params, written.sha256, written.size)


def _mask_and_tag(slots: np.ndarray, block: Block, masks: Masks, tagger: Tagger, weight: int, me: str) -> None:
    if block.is_last:
        slots[-2] = weight
    masks.add_to(slots, block.number)
    if block.is_last:
        slots[-1] = 0  # the tag covers all slots but its own
    tagger.add(slots, block.number)
    if block.is_last:
        slots[-1] = tagger.tag(me)


class _Source:
    """Gives the integers of block after block and collects the residual."""

    def __init__(
        self, change: np.ndarray, residual: np.ndarray | None, scale: float, grid: Grid, rng: np.random.Generator
    ) -> None:
        self._change, self._scale, self._grid, self._rng = change, np.float32(scale), grid, rng
        self._carried = None if residual is None else _checked(residual, grid, "residual")
        self.residual = np.empty(grid.n_params, dtype=np.float32)
        self.n_clipped = 0

    def take(self, block: Block) -> np.ndarray:
        part = slice(block.start, block.stop)
        target = self._change[part] * self._scale
        if self._carried is not None:
            target += self._carried[part]
        integers, self.residual[part], n_clipped = quantise(target, block.start, self._grid, self._rng)
        self.n_clipped += n_clipped
        return integers


def _weigh(weight: int, parameters: SealParameters) -> tuple[float, int]:
    if parameters.max_weight == 1:
        return 1.0, 1
    if not 1 <= weight <= parameters.max_weight:
        raise UpdateOutOfRange(f"weight {weight}, expected 1 to {parameters.max_weight}")
    return weight / parameters.max_weight, weight


def _checked(vector: np.ndarray, grid: Grid, name: str) -> np.ndarray:
    if vector.dtype != np.float32 or vector.shape != (grid.n_params,):
        raise UpdateOutOfRange(
            f"{name}: {vector.dtype} of shape {vector.shape}, expected float32 of shape ({grid.n_params},)"
        )
    return vector
