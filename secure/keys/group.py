"""The group secret, which all partners share and the aggregator never has."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from secure.ciphertexts.bfv import generate_secret_key
from secure.ciphertexts.coefficients import unpack_coefficients
from secure.ciphertexts.parameters import SealParameters
from secure.encoding.canonical import digest
from secure.encoding.derive import KEY_BYTES
from secure.errors import BadKeyFile, ParameterMismatch, WrongKey
from secure.files import read_secret, write_secret
from secure.keys.envelopes import Binding, open_envelope, parse_envelopes, seal_envelopes
from secure.keys.keys import Card, PrivateKeys

MAGIC = b"hocket group secret 1\n"
WHAT = "group secret"
DEAL = "hocket.deal"
_RING = 32


def secret_bytes(parameters: SealParameters) -> int:
    """Size of a group secret."""
    return len(MAGIC) + _RING + 2 * KEY_BYTES + parameters.poly_bytes


class GroupSecret:
    """The BFV secret key, the tag seed and the structure seed; never shown."""

    __slots__ = ("_bfv_key", "_ring", "_structure_seed", "_tag_seed")

    def __init__(self, *, ring: bytes, tag_seed: bytes, structure_seed: bytes, bfv_key: bytes) -> None:
        for name, seed in (("tag seed", tag_seed), ("structure seed", structure_seed), ("ring", ring)):
            if len(seed) != KEY_BYTES:
                raise BadKeyFile(f"group secret: the {name} has {len(seed)} bytes, expected {KEY_BYTES}")
        if not any(bfv_key):  # a ciphertext under the zero key hides nothing
            raise BadKeyFile("group secret: the BFV key is zero")
        self._ring, self._tag_seed, self._structure_seed, self._bfv_key = ring, tag_seed, structure_seed, bfv_key

    @classmethod
    def generate(cls, parameters: SealParameters, structure_seed: bytes | None = None) -> Self:
        """Make a new secret from the operating system's randomness.

        structure_seed : 32 bytes of an earlier federation, to keep its folds and bits; None draws new ones
        Raises BadKeyFile for a structure seed of another length.
        """
        return cls(
            ring=bytes.fromhex(parameters.ring_digest()),
            tag_seed=os.urandom(KEY_BYTES),
            structure_seed=os.urandom(KEY_BYTES) if structure_seed is None else structure_seed,
            bfv_key=generate_secret_key(parameters),
        )

    @property
    def tag_seed(self) -> bytes:
        """The seed of the tags, 32 bytes."""
        return self._tag_seed

    @property
    def structure_seed(self) -> bytes:
        """The seed of the fold assignment and of the permutation of fingerprint bits, 32 bytes."""
        return self._structure_seed

    @property
    def bfv_key(self) -> bytes:
        """The BFV secret key, packed."""
        return self._bfv_key

    def to_bytes(self) -> bytes:
        """Return magic, digest of the ring, tag seed, structure seed and BFV key as bytes."""
        return MAGIC + self._ring + self._tag_seed + self._structure_seed + self._bfv_key

    @classmethod
    def from_bytes(cls, data: bytes, parameters: SealParameters, where: str = "group secret") -> Self:
        """Return the secret that to_bytes wrote; raises BadKeyFile, or ParameterMismatch for another ring."""
        expected = secret_bytes(parameters)
        if not data.startswith(MAGIC):
            raise BadKeyFile(f"{where}: not a group secret, version 1")
        body = data[len(MAGIC) :]
        if len(body) >= _RING and body[:_RING].hex() != parameters.ring_digest():
            raise ParameterMismatch(f"{where}: made for other encryption parameters than the plan's")
        if len(data) != expected:
            raise BadKeyFile(f"{where}: {len(data)} bytes, expected {expected}")
        seeds = body[_RING:]
        key = np.frombuffer(seeds[2 * KEY_BYTES :], dtype=np.uint8)
        if not 0 < unpack_coefficients(key[None, :], parameters.q.bit_length()).max() < parameters.q:
            raise BadKeyFile(f"{where}: the BFV key is zero, or has a coefficient that is not below q")
        return cls(
            ring=body[:_RING],
            tag_seed=seeds[:KEY_BYTES],
            structure_seed=seeds[KEY_BYTES : 2 * KEY_BYTES],
            bfv_key=seeds[2 * KEY_BYTES :],
        )

    def digest(self) -> str:
        """Return the SHA-256 that names this secret publicly and reveals nothing about it."""
        return digest(b"hocket/group/v1\0" + self.to_bytes())

    def save(self, path: Path, keys: PrivateKeys) -> None:
        """Write a new file of mode 0600, locked with a member's keys; raises KeyFileExists."""
        write_secret(path, keys.lock(self.to_bytes(), WHAT))

    @classmethod
    def load(cls, path: Path, parameters: SealParameters, keys: PrivateKeys) -> Self:
        """Read what save wrote; raises BadKeyFile, WrongKey or ParameterMismatch."""
        return cls.from_bytes(keys.unlock(read_secret(path), WHAT, str(path)), parameters, str(path))

    @staticmethod
    def load_structure_seed(path: Path, keys: PrivateKeys) -> bytes:
        """Read the structure seed of a saved secret, whatever its ring; raises BadKeyFile or WrongKey."""
        data, begin = keys.unlock(read_secret(path), WHAT, str(path)), len(MAGIC) + _RING + KEY_BYTES
        if not data.startswith(MAGIC) or len(data) < begin + KEY_BYTES:
            raise BadKeyFile(f"{path}: not a group secret, version 1")
        return data[begin : begin + KEY_BYTES]

    def __repr__(self) -> str:
        return "GroupSecret(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a group secret is not pickled")


def deal_group_secret(secret: GroupSecret, plan_digest: str, custodian: str, partner_cards: Sequence[Card]) -> bytes:
    """Return the payload of the custodian's deal: the secret in an envelope for every partner, custodian included."""
    cards = {card.name: card for card in partner_cards}
    binding = Binding(DEAL, plan_digest, custodian, secret.digest())
    return seal_envelopes(binding, dict.fromkeys(cards, secret.to_bytes()), cards)


def receive_group_secret(
    payload: bytes, plan_digest: str, custodian: str, me: PrivateKeys, parameters: SealParameters
) -> GroupSecret:
    """Return the group secret in the envelope for `me`.

    Raises what open_envelope raises, BadKeyFile, ParameterMismatch, and WrongKey if the secret does not have
    the digest announced to all partners.
    """
    opened = open_envelope(payload, Binding(DEAL, plan_digest, custodian, None), me)
    secret = GroupSecret.from_bytes(opened, parameters, f"group secret dealt by {custodian}")
    announced = parse_envelopes(payload, DEAL)[0].group
    if secret.digest() != announced:
        raise WrongKey(f"group secret dealt by {custodian}: its digest is not the announced one")
    return secret
