"""54-bit coefficients in bytes, without gaps.

Of 2048 coefficients come first the low 48 bits of each (6 bytes, little-endian), then the upper 6 bits, four
coefficients in 3 bytes (little-endian, the first coefficient lowest).
"""

import numpy as np

from secure.parameters import N_SLOTS, Q_BITS

_LOW_BYTES = 6
_LOW_BITS = 8 * _LOW_BYTES
_HIGH_BITS = Q_BITS - _LOW_BITS
_HIGH_START = N_SLOTS * _LOW_BYTES


def pack_coefficients(words: np.ndarray) -> np.ndarray:
    """(n, 13824) uint8 from (n, 2048) uint64 below 2^54; the inverse of unpack_coefficients."""
    n = words.shape[0]
    packed = np.empty((n, N_SLOTS * Q_BITS // 8), dtype=np.uint8)
    low = packed[:, :_HIGH_START].reshape(n, N_SLOTS, _LOW_BYTES)
    low[:] = words.astype("<u8", copy=False).view(np.uint8).reshape(n, N_SLOTS, 8)[:, :, :_LOW_BYTES]
    high = (words >> np.uint64(_LOW_BITS)).astype("<u4").reshape(n, N_SLOTS // 4, 4)
    four = high[:, :, 0].copy()
    for position in (1, 2, 3):
        four |= high[:, :, position] << np.uint32(_HIGH_BITS * position)
    three = packed[:, _HIGH_START:].reshape(n, N_SLOTS // 4, 3)
    three[:] = four.view(np.uint8).reshape(n, N_SLOTS // 4, 4)[:, :, :3]
    return packed


def unpack_coefficients(packed: np.ndarray) -> np.ndarray:
    """(n, 2048) uint64 from (n, 13824) uint8; every bit of the bytes is a bit of a coefficient."""
    n = packed.shape[0]
    as_bytes = np.zeros((n, N_SLOTS, 8), dtype=np.uint8)
    as_bytes[:, :, :_LOW_BYTES] = packed[:, :_HIGH_START].reshape(n, N_SLOTS, _LOW_BYTES)
    words: np.ndarray = as_bytes.reshape(n, -1).view("<u8")
    four_bytes = np.zeros((n, N_SLOTS // 4, 4), dtype=np.uint8)
    four_bytes[:, :, :3] = packed[:, _HIGH_START:].reshape(n, N_SLOTS // 4, 3)
    four = four_bytes.reshape(n, -1).view("<u4")
    for position in range(4):
        high = (four >> np.uint32(_HIGH_BITS * position)) & np.uint32((1 << _HIGH_BITS) - 1)
        words[:, position::4] |= high.astype(np.uint64) << np.uint64(_LOW_BITS)
    return words
