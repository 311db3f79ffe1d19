"""54-bit coefficients in bytes, without gaps.

Of 2048 coefficients come first the low 32 bits of each, then the next 16 bits of each, then the upper 6 bits: of the
four quarters h0 to h3 (512 coefficients each), h0, h1, h2 byte by byte with 2 bits of h3 above each. Little-endian.
"""

import numpy as np

from secure.parameters import N_SLOTS, Q_BITS

POLY_BYTES = N_SLOTS * Q_BITS // 8
_QUARTER = N_SLOTS // 4
_MIDDLE = 4 * N_SLOTS
_HIGH = 6 * N_SLOTS
_SIX_BITS = np.uint8(0x3F)


def pack_coefficients(words: np.ndarray) -> np.ndarray:
    """(n, 13824) uint8 from (n, 2048) uint64 below 2^54; the inverse of unpack_coefficients."""
    n = len(words)
    packed = np.empty((n, POLY_BYTES), dtype=np.uint8)
    packed[:, :_MIDDLE].view("<u4")[:] = words & np.uint64(0xFFFFFFFF)
    upper = (words >> np.uint64(32)).astype(np.uint32)
    packed[:, _MIDDLE:_HIGH].view("<u2")[:] = upper & np.uint32(0xFFFF)
    high = (upper >> np.uint32(16)).astype(np.uint8).reshape(n, 4, _QUARTER)
    for third in range(3):
        two_bits = high[:, 3] >> np.uint8(2 * third) << np.uint8(6)  # what is above them falls off
        np.bitwise_or(high[:, third], two_bits, out=packed[:, _HIGH + third * _QUARTER :][:, :_QUARTER])
    return packed


def unpack_coefficients(packed: np.ndarray) -> np.ndarray:
    """(n, 2048) uint64 from (n, 13824) uint8; every bit of the bytes is a bit of a coefficient."""
    n = len(packed)
    low = np.ascontiguousarray(packed[:, :_MIDDLE]).view("<u4")
    middle = np.ascontiguousarray(packed[:, _MIDDLE:_HIGH]).view("<u2")
    thirds = packed[:, _HIGH:].reshape(n, 3, _QUARTER)
    high = np.empty((n, 4, _QUARTER), dtype=np.uint8)
    np.bitwise_and(thirds, _SIX_BITS, out=high[:, :3])
    high[:, 3] = thirds[:, 0] >> 6 | thirds[:, 1] >> 6 << 2 | thirds[:, 2] >> 6 << 4
    words = high.reshape(n, N_SLOTS).astype(np.uint64)
    words <<= np.uint64(16)
    words |= middle
    words <<= np.uint64(32)
    words |= low
    return words
