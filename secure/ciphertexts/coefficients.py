"""Pack coefficients of 52, 56 or 60 bits into bytes without gaps, and unpack them.

First the low 32 bits of every coefficient, then the next 16 bits of each, then, if 8 or more remain, the next 8
bits of each; if 4 remain, they follow in bytes, the low half of byte i from coefficient i and the high half from
coefficient n / 2 + i. Little-endian.
"""

import numpy as np

from secure.ciphertexts.parameters import N_SLOTS

_HALF = N_SLOTS // 2
_MIDDLE = 4 * N_SLOTS
_HIGH = 6 * N_SLOTS
_FOUR_BITS = np.uint8(0x0F)


def pack_coefficients(words: np.ndarray, n_bits: int, out: np.ndarray | None = None) -> np.ndarray:
    """Pack (n, 8192) uint64 below 2^n_bits into (n, 1024 n_bits) uint8; the inverse of unpack_coefficients.

    out : columns of an array to pack into, of exactly this shape; None allocates one
    """
    shape = (len(words), N_SLOTS * n_bits // 8)
    packed = np.empty(shape, dtype=np.uint8) if out is None else out
    if packed.shape != shape:
        raise ValueError(f"out: found shape {packed.shape}, expected {shape}, as the rest would not be written")
    packed[:, :_MIDDLE].view("<u4")[:] = words.astype("<u4")
    upper = (words >> np.uint64(32)).astype(np.uint32)
    packed[:, _MIDDLE:_HIGH].view("<u2")[:] = upper.astype("<u2")
    top, position = upper >> np.uint32(16), _HIGH
    if n_bits >= 56:  # noqa: PLR2004 -- 32 + 16 + 8
        packed[:, _HIGH : _HIGH + N_SLOTS] = top.astype(np.uint8)
        top, position = top >> np.uint32(8), _HIGH + N_SLOTS
    if n_bits % 8:
        nibbles = top.astype(np.uint8)
        np.bitwise_or(nibbles[:, :_HALF], nibbles[:, _HALF:] << 4, out=packed[:, position:])
    return packed


def unpack_coefficients(packed: np.ndarray, n_bits: int) -> np.ndarray:
    """Unpack (n, 1024 n_bits) uint8 into (n, 8192) uint64; every bit of the bytes is a bit of a coefficient."""
    upper = packed[:, _MIDDLE:_HIGH].view("<u2").astype(np.uint32)
    shift, position = 16, _HIGH
    if n_bits >= 56:  # noqa: PLR2004 -- 32 + 16 + 8
        upper |= np.left_shift(packed[:, _HIGH : _HIGH + N_SLOTS], shift, dtype=np.uint32)
        shift, position = 24, _HIGH + N_SLOTS
    if n_bits % 8:
        nibbles = packed[:, position:]
        upper[:, :_HALF] |= np.left_shift(nibbles & _FOUR_BITS, shift, dtype=np.uint32)
        upper[:, _HALF:] |= np.left_shift(nibbles >> 4, shift, dtype=np.uint32)
    words = upper.astype(np.uint64)
    words <<= np.uint64(32)
    words |= packed[:, :_MIDDLE].view("<u4")
    return words
