"""Pair keys: a secret that only two partners know, derived from a seed that each sends to the other."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from secure.encoding.canonical import canonical_json
from secure.encoding.derive import CONFIRM_BYTES, KEY_BYTES, derive_key
from secure.encoding.json_fields import expect_keys, from_base64, is_name, parse_document, to_base64
from secure.errors import BadEnvelope, BadKeyFile
from secure.files import read_secret, write_secret
from secure.keys.envelopes import Binding, open_envelope, seal_envelopes
from secure.keys.keys import Card, PrivateKeys

FORMAT = "hocket.pair-seeds"
WHAT = "pair seeds"
PAIRING = "hocket.pairing"


class PairSeeds:
    """One partner's fresh seeds, one for every other partner; never shown, kept until enrolment is done."""

    __slots__ = ("_seeds", "me")

    def __init__(self, me: str, seeds: Mapping[str, bytes]) -> None:
        if not is_name(me) or me in seeds or not all(map(is_name, seeds)):
            raise BadKeyFile(f"pair seeds of {me!r}: names are not as expected")
        if any(len(seed) != KEY_BYTES for seed in seeds.values()):
            raise BadKeyFile(f"pair seeds of {me}: a seed does not have {KEY_BYTES} bytes")
        self.me = me
        self._seeds = dict(seeds)

    @classmethod
    def generate(cls, me: str, others: Iterable[str]) -> Self:
        """Make a seed for every other partner from the operating system's randomness."""
        return cls(me, {name: os.urandom(KEY_BYTES) for name in others})

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the other partners, sorted."""
        return tuple(sorted(self._seeds))

    def for_partner(self, name: str) -> bytes:
        """Return the seed for a partner, 32 bytes; raises BadKeyFile for an unknown name."""
        if name not in self._seeds:
            raise BadKeyFile(f"pair seeds of {self.me}: none for {name}, found {', '.join(self.others)}")
        return self._seeds[name]

    def to_bytes(self) -> bytes:
        """Return the seeds as canonical JSON bytes."""
        seeds = {name: to_base64(seed) for name, seed in self._seeds.items()}
        return canonical_json({"format": FORMAT, "version": 1, "me": self.me, "seeds": seeds})

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "pair seeds") -> Self:
        """Return the seeds that to_bytes wrote; raises BadKeyFile."""
        document = parse_document(data, {"format", "version", "me", "seeds"}, where, BadKeyFile)
        if document["format"] != FORMAT or document["version"] != 1 or not isinstance(document["seeds"], dict):
            raise BadKeyFile(f"{where}: not pair seeds, version 1")
        seeds = expect_keys(document["seeds"], set(document["seeds"]), where, BadKeyFile)
        return cls(
            str(document["me"]),
            {
                name: from_base64(seed, KEY_BYTES, f"{where}: seed for {name}", BadKeyFile)
                for name, seed in seeds.items()
            },
        )

    def save(self, path: Path, keys: PrivateKeys) -> None:
        """Write a new file of mode 0600, locked with a member's keys; raises KeyFileExists."""
        write_secret(path, keys.lock(self.to_bytes(), WHAT))

    @classmethod
    def load(cls, path: Path, keys: PrivateKeys) -> Self:
        """Read what save wrote; raises BadKeyFile or WrongKey."""
        return cls.from_bytes(keys.unlock(read_secret(path), WHAT, str(path)), str(path))

    def __repr__(self) -> str:
        return f"PairSeeds({self.me}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("pair seeds are not pickled")


class PairKey:
    """The key from which two partners derive the masks between them; never shown."""

    __slots__ = ("_key", "names")

    def __init__(self, names: tuple[str, str], key: bytes) -> None:
        if len(key) != KEY_BYTES or names != tuple(sorted(set(names))):
            raise BadKeyFile(f"pair key: {len(key)} bytes for {names}, expected {KEY_BYTES} for two sorted names")
        self.names = names
        self._key = key

    @property
    def key(self) -> bytes:
        """The key, 32 bytes."""
        return self._key

    def __repr__(self) -> str:
        return f"PairKey({self.names[0]}, {self.names[1]}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a pair key is not pickled")


def seal_pair_seeds(seeds: PairSeeds, plan_digest: str, me_name: str, cards: Sequence[Card]) -> bytes:
    """Return the payload of one partner's pairing message: each seed in an envelope for its partner.

    cards : of all other partners (its own is skipped). Raises BadEnvelope if seeds and cards name different partners.
    """
    receivers = {card.name: card for card in cards if card.name != me_name}
    if seeds.me != me_name or seeds.others != tuple(sorted(receivers)):
        raise BadEnvelope(f"pairing of {me_name}: seeds of {seeds.me} for {seeds.others}, cards of {sorted(receivers)}")
    binding = Binding(PAIRING, plan_digest, me_name, None)
    return seal_envelopes(binding, {name: seeds.for_partner(name) for name in receivers}, receivers)


def open_pair_seed(payload: bytes, plan_digest: str, sender: str, me: PrivateKeys) -> bytes:
    """Return the 32-byte seed that `sender` made for `me`; raises what open_envelope raises."""
    seed = open_envelope(payload, Binding(PAIRING, plan_digest, sender, None), me)
    if len(seed) != KEY_BYTES:
        raise BadEnvelope(f"pairing of {sender}: a seed of {len(seed)} bytes, expected {KEY_BYTES}")
    return seed


def pair_key(seed_ij: bytes, seed_ji: bytes, i: str, j: str, plan_digest: str) -> PairKey:
    """Return the key of partners i and j, from the seed that i made for j and the seed that j made for i."""
    if i == j or len(seed_ij) != KEY_BYTES or len(seed_ji) != KEY_BYTES:
        raise BadKeyFile(f"pair key of {i} and {j}: expected two partners and two seeds of {KEY_BYTES} bytes")
    names, seeds = ((i, j), seed_ij + seed_ji) if i < j else ((j, i), seed_ji + seed_ij)
    return PairKey(names, derive_key(seeds, "hocket/pair/v1", {"plan": plan_digest, "names": list(names)}))


def counted_pair_key(key: PairKey, counted: str) -> PairKey:
    """Return the key of the same partners for the rounds after a counting round; counted : digest of its counts."""
    return PairKey(key.names, derive_key(key.key, "hocket/counted-pair/v1", {"counted": counted}))


def confirmation(key: PairKey, plan_digest: str, round_no: int, sender: str, receiver: str) -> bytes:
    """Return the 16 bytes with which `sender` shows `receiver`, in its `ready`, that it holds this pair key."""
    context: dict[str, object] = {"plan": plan_digest, "round": round_no, "sender": sender, "receiver": receiver}
    return derive_key(key.key, "hocket/confirm/v2", context)[:CONFIRM_BYTES]
