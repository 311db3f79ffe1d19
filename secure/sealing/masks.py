"""Masks that cancel only in the sum over the whole roster (Bonawitz et al., CCS 2017, without dropout recovery).

On top comes the stream of a member's release seed, which does not cancel: whoever opens the sum needs all seeds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from secure.encoding.derive import attempt_context, derive_key, uniform_numbers
from secure.encoding.roster import Roster
from secure.errors import BadRoster, ParameterMismatch
from secure.keys.pairing import PairKey
from secure.sealing.release import ReleaseSeed


@dataclass(frozen=True, slots=True, repr=False)
class Masks:
    """Streams for the slots of one attempt, added or subtracted: a member's masks, or what opening takes away."""

    streams: tuple[tuple[bytes, bool], ...]  # key of the stream, and whether it is added
    t: int

    def __post_init__(self) -> None:
        """Refuse more streams than can be added in 64 bits before the sum is reduced mod t."""
        if (len(self.streams) + 1) * self.t > 1 << 64:
            raise ParameterMismatch(f"{len(self.streams)} streams of numbers below {self.t} overflow 64 bits")

    def add_to(self, slots: np.ndarray, block: int) -> None:
        """Mask a block in place. slots : (n_slots,) uint64, numbers mod t."""
        slots += np.uint64(self.t * sum(not is_added for _, is_added in self.streams))
        for key, is_added in self.streams:
            combine = np.add if is_added else np.subtract
            combine(slots, uniform_numbers(key, block, slots.size, self.t), out=slots)
        slots -= slots // np.uint64(self.t) * np.uint64(self.t)  # numpy's % takes thrice as long

    def with_release(self, seed: ReleaseSeed) -> "Masks":
        """Return these masks and the stream of the member's release seed."""
        return replace(self, streams=(*self.streams, (seed.stream_key, True)))

    def __repr__(self) -> str:
        return f"Masks({len(self.streams)} streams, hidden)"


def make_masks(me: str, roster: Roster, pair_keys: Mapping[str, PairKey], t: int) -> Masks:
    """Return the masks of `me`; of each pair, the partner whose name sorts first adds, the other subtracts.

    pair_keys : by the other member's name. Raises BadRoster if one is missing or belongs to another pair.
    """
    streams = []
    for other in roster.members:
        if other == me:
            continue
        names = tuple(sorted((me, other)))
        if other not in pair_keys or pair_keys[other].names != names:
            raise BadRoster(f"no pair key of {me} and {other}, who is on the roster")
        key = derive_key(pair_keys[other].key, "hocket/mask/v1", attempt_context(roster))
        streams.append((key, me < other))
    return Masks(tuple(streams), t)


def released(seeds: Iterable[ReleaseSeed], t: int) -> Masks:
    """Return what takes the streams of these seeds out of a sum."""
    return Masks(tuple((seed.stream_key, False) for seed in seeds), t)
