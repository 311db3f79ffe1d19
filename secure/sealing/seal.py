"""Seal a partner's update: convert it to fixed point, mask, tag and encrypt it for exactly one roster."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.packing import Block, blocks, pack
from secure.ciphertexts.parameters import SealParameters
from secure.encoding.roster import MIN_ROSTER, Roster, check_roster
from secure.errors import AlreadySealed, BadRoster, UpdateOutOfRange
from secure.keys.group import GroupSecret
from secure.keys.pairing import PairKey
from secure.sealing.container import UPDATE, make_header, write_chunks
from secure.sealing.fixed_point import Grid, make_grid, quantise
from secure.sealing.masks import Masks, make_masks
from secure.sealing.release import ReleaseSeed
from secure.sealing.tags import Tagger
from secure.sealing.workers import Progress, ProgressCounter, Workers, n_workers_for


@dataclass(frozen=True, slots=True)
class SealReport:
    """The result of sealing an update: the residual, and facts about the sealed file."""

    residual: np.ndarray  # (n_params,) float32, the part that was not sent; added in the next round
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
    release: ReleaseSeed,
    group: GroupSecret,
    parameters: SealParameters,
    rng: np.random.Generator,
    path: Path,
    residual_out: np.ndarray | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SealReport:
    """Seal the change of the trunk for `roster` into a new file at `path`.

    change   : (n_params,) float32; multiplied by weight / max_weight if the plan weighs by size
    weight   : 1 to max_weight; ignored (1 is sent) if all partners weigh the same
    bounds   : (n_tensors,), largest change of a parameter per tensor; the excess is clipped into the residual
    slices   : of the tensors in the vector; they tile it in order
    residual : (n_params,) float32 of the previous round, or None
    release  : the seed for this roster, which `me` gives away to let the sum be opened
    rng      : for the rounding; the same inputs and rng give the same residual (but never the same file)
    residual_out : (n_params,) float32 for the new residual, may be `change` or `residual` itself; None allocates it
    workers  : most processes to use; fewer, or only this one, for small updates
    Raises AlreadySealed if the file exists (an update is never sealed twice), UpdateOutOfRange for NaN, infinity,
    wrong shapes or weights, BadRoster. Memory: the residual if it is allocated, and some megabytes.
    """
    _check_inputs(path, roster, me, pair_keys, parameters)
    grid = make_grid(slices, bounds, parameters)
    scale, sent_weight = _scale_and_weight(weight, parameters)
    change, new_residual = _checked_vector(change, grid, "change"), _residual_buffer(residual_out, grid)
    quantiser = _Quantiser(change, residual, scale, grid, rng, new_residual)
    masks = make_masks(me, roster, pair_keys, parameters.t).with_release(release)
    tagger = Tagger(group.tag_seed, roster, parameters.t)
    header = make_header(UPDATE, roster, (me,), grid.n_params, parameters)
    *most, last = blocks(grid.n_params, parameters)
    tasks = ((block.number, pack(quantiser.integers(block), block, parameters)) for block in most)
    sealer_arguments = (parameters, group.bfv_key, masks, tagger)
    sealer = BlockSealer(*sealer_arguments)
    count_chunks = ProgressCounter(progress, parameters.n_chunks(grid.n_params))
    with (
        _refuse_existing(path),
        write_chunks(path, header, parameters.update_chunk_bytes, is_new=True) as writer,
        Workers(BlockSealer, sealer_arguments, n_workers_for(len(most), workers), here=sealer) as sealers,
    ):
        for chunks, part in sealers.in_order(tasks):
            writer.write(chunks)
            tagger.add(part)
            count_chunks(len(chunks))
        slots = pack(quantiser.integers(last), last, parameters)
        slots[-2] = sent_weight
        writer.write(sealer.seal_last(last.number, slots, me))
        written = writer.close()
    count_chunks(last.n_chunks)
    return SealReport(quantiser.residual, quantiser.n_clipped / grid.n_params, written.sha256, written.size)


def _residual_buffer(given: np.ndarray | None, grid: Grid) -> np.ndarray:
    """Where the new residual goes, (n_params,) float32: the given vector, or a new one."""
    return np.empty(grid.n_params, dtype=np.float32) if given is None else _checked_vector(given, grid, "out")


def _check_inputs(
    path: Path, roster: Roster, me: str, pair_keys: Mapping[str, PairKey], parameters: SealParameters
) -> None:
    """Raise an error if the file exists, or the roster does not fit this partner, its pair keys or the parameters."""
    if path.exists():
        raise _already_sealed(path)
    check_roster(roster, me, {me, *pair_keys}, MIN_ROSTER)
    if len(roster.members) > parameters.max_partners:
        raise BadRoster(f"the roster lists {len(roster.members)} members, expected at most {parameters.max_partners}")


@contextmanager
def _refuse_existing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:  # another process has created it meanwhile
        raise _already_sealed(path) from error


def _already_sealed(path: Path) -> AlreadySealed:
    return AlreadySealed(f"{path}: exists; a sealed update is sent again unchanged, an update is never sealed twice")


class BlockSealer:
    """Masks, tags and encrypts blocks of slots; runs in a worker process."""

    def __init__(self, parameters: SealParameters, bfv_key: bytes, masks: Masks, tagger: Tagger) -> None:
        self._masks, self._tagger = masks, tagger
        self._cipher = Cipher(Ring(parameters), bfv_key)

    def __call__(self, task: tuple[int, np.ndarray]) -> tuple[np.ndarray, int]:
        """Return the chunks of a block and its part of the tag. task : number of the block, (n_slots,) uint64."""
        number, slots = task
        self._masks.add_to(slots, number)
        return self._cipher.encrypt(slots), self._tagger.part(slots, number)

    def seal_last(self, number: int, slots: np.ndarray, me: str) -> np.ndarray:
        """Return the chunks of the last block, with the tag; the tagger must hold the parts of all others."""
        self._masks.add_to(slots, number)
        slots[-1] = 0  # the tag covers all slots but its own
        self._tagger.add(self._tagger.part(slots, number))
        slots[-1] = self._tagger.tag(me)
        return self._cipher.encrypt(slots)


class _Quantiser:
    """Quantises change and carried residual block by block, and stores the new residual."""

    def __init__(
        self,
        change: np.ndarray,
        residual: np.ndarray | None,
        scale: float,
        grid: Grid,
        rng: np.random.Generator,
        out: np.ndarray,
    ) -> None:
        self._change, self._scale, self._grid, self._rng = change, np.float32(scale), grid, rng
        self._carried = None if residual is None else _checked_vector(residual, grid, "residual")
        self.residual, self.n_clipped = out, 0

    def integers(self, block: Block) -> np.ndarray:
        part = slice(block.start, block.stop)
        target = self._change[part] * self._scale
        if self._carried is not None:
            target += self._carried[part]
        integers, self.residual[part], n_clipped = quantise(target, block.start, self._grid, self._rng)
        self.n_clipped += n_clipped
        return integers


def _scale_and_weight(weight: int, parameters: SealParameters) -> tuple[float, int]:
    if parameters.max_weight == 1:
        return 1.0, 1
    if not 1 <= weight <= parameters.max_weight:
        raise UpdateOutOfRange(f"weight {weight}, expected 1 to {parameters.max_weight}")
    return weight / parameters.max_weight, weight


def _checked_vector(vector: np.ndarray, grid: Grid, name: str) -> np.ndarray:
    if vector.dtype != np.float32 or vector.shape != (grid.n_params,):
        raise UpdateOutOfRange(
            f"{name}: {vector.dtype} of shape {vector.shape}, expected float32 of shape ({grid.n_params},)"
        )
    return vector
