"""Keys from keys (HKDF-SHA256, RFC 5869) and uniform numbers from keys (AES-256-CTR with rejection)."""

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secure.encoding.canonical import canonical_json
from secure.encoding.roster import Roster

KEY_BYTES = 32
CONFIRM_BYTES = 16  # by which a `ready` shows another partner that both hold the same pair key
_WORD_BYTES, _AES_BLOCK = 8, 16


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
    nonce = block.to_bytes(8, "big") + bytes(8)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
    low_bits = np.uint64((1 << (modulus - 1).bit_length()) - 1)

    def words(count: int) -> np.ndarray:
        masked = np.frombuffer(encryptor.update(bytes(_WORD_BYTES * count)), dtype="<u8") & low_bits
        return np.asarray(masked, dtype=np.uint64)

    numbers = words(n)
    while numbers.size and int(numbers.max()) >= modulus:
        numbers = numbers[numbers < modulus]
        numbers = np.concatenate([numbers, words(n - numbers.size)])
    return numbers


def random_words(key: bytes, block: int, n: int) -> np.ndarray:
    """Return the beginning of a block of the stream itself, (n,) uint64 that may be written to.

    These are the numbers of `uniform_numbers` with modulus 2^64, in half the time.
    """
    words = bytearray(_WORD_BYTES * n + _AES_BLOCK - 1)  # update_into demands the margin
    encryptor = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(8, "big") + bytes(8))).encryptor()
    encryptor.update_into(bytes(_WORD_BYTES * n), words)
    return np.frombuffer(words, dtype="<u8", count=n)
