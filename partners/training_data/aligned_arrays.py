"""Arrays whose memory torch can share: they are aligned as torch's own tensors are.

A tensor that shares an array's memory needs no memory itself. But if the array is aligned differently, vectorised loops
split differently, and the last bits of sums change with them.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64  # bytes
_PIECE = 1 << 18  # values: float64 temporaries of a piece stay in the cache, and their memory is returned to the system


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Array of this shape, not initialised."""
    return _aligned(np.empty, shape, np.dtype(dtype))


def zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Array of zeros; the system provides memory only for pages that are written to."""
    return _aligned(np.zeros, shape, np.dtype(np.float32))


def copied(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Aligned copy of an array."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def is_sharable(array: NDArray[Any]) -> bool:
    """Whether torch can share this array's memory."""
    return array.flags.carray and array.ctypes.data % _ALIGNMENT == 0


def pieces(n_values: int) -> Iterator[slice]:
    """Consecutive slices of a long vector, for computations that must not hold a second vector of its length."""
    for start in range(0, n_values, _PIECE):
        yield slice(start, min(start + _PIECE, n_values))


def all_finite(vector: NDArray[np.floating]) -> bool:
    """Whether a long vector holds finite numbers only."""
    return all(bool(np.isfinite(vector[part]).all()) for part in pieces(vector.size))


def _aligned(make: Callable[..., NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    n_bytes = math.prod(shape) * dtype.itemsize
    raw = make(n_bytes + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
