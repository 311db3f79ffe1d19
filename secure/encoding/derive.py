"""Keys from keys (HKDF-SHA256, RFC 5869) and uniform numbers from keys (AES-256-CTR with rejection)."""

import hashlib
import math

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secure.encoding.canonical import canonical_json
from secure.encoding.roster import Roster

KEY_BYTES = 32
CONFIRM_BYTES = 16  # by which a `ready` shows another partner that both hold the same pair key
_ZEROS = memoryview(bytes(1 << 14))  # their encryption is the bare key stream; they stay in the fastest cache


def derive_key(secret: bytes, purpose: str, context: dict[str, object]) -> bytes:
    """Derive 32 bytes from `secret`; every other purpose or context gives other bytes."""
    info = canonical_json([purpose, context])
    return HKDF(SHA256(), KEY_BYTES, salt=hashlib.sha256(purpose.encode()).digest(), info=info).derive(secret)


def attempt_context(roster: Roster) -> dict[str, object]:
    """Return the context to which every mask and tag is bound: plan, round, attempt and roster."""
    return {"plan": roster.plan, "round": roster.round_no, "attempt": roster.attempt, "roster": roster.digest}


def uniform_numbers(key: bytes, block: int, n: int, modulus: int) -> np.ndarray:
    """Return the stream of `key` for block number `block`: (n,) uint64, independent and uniform in [0, modulus).

    The stream is AES-256-CTR with the block number in the upper half of the initial counter, read as 64-bit
    little-endian words; of each word only the low bits are used, and results >= modulus are skipped (no modulo bias).
    The same key and block always begin with the same numbers, for every `n`.
    """
    stream, n_bits = _Stream(key, block), (modulus - 1).bit_length()
    low_bits = np.uint64((1 << n_bits) - 1)
    numbers = stream.words(_n_words(n, modulus / (1 << n_bits)))
    numbers &= low_bits
    if numbers[:n].max(initial=0) >= modulus:
        numbers = numbers[numbers < modulus]
    while numbers.size < n:
        more = stream.words(n - numbers.size) & low_bits
        numbers = np.concatenate([numbers, more[more < modulus]])
    return numbers[:n]


def random_words(key: bytes, block: int, n: int) -> np.ndarray:
    """Return the beginning of a block of the stream itself, (n,) uint64 that may be written to.

    These are the numbers of `uniform_numbers` with modulus 2^64, in less time.
    """
    return _Stream(key, block).words(n)


class _Stream:
    """The stream of a key for one block, word by word."""

    def __init__(self, key: bytes, block: int) -> None:
        nonce = block.to_bytes(8, "big") + bytes(8)
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()

    def words(self, n: int) -> np.ndarray:
        """Return the next n words, (n,) uint64."""
        drawn = np.empty(n, dtype="<u8")
        stream = drawn.data.cast("B")
        for start in range(0, len(stream), len(_ZEROS)):
            piece = stream[start : start + len(_ZEROS)]
            if self._encryptor.update_into(_ZEROS[: len(piece)], piece) != len(piece):
                raise RuntimeError("AES-CTR wrote fewer bytes than asked for")
        return drawn.astype(np.uint64, copy=False)


def _n_words(n: int, kept: float) -> int:
    """Return how many words nearly always give n numbers, if this share of them is kept.

    With too few more are drawn, and with too many the last are not used: the numbers are the same.
    """
    rejected = n * (1 - kept) / kept
    return n + math.ceil(rejected + 4 * math.sqrt(rejected))  # four standard deviations and more
