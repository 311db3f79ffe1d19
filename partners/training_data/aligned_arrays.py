"""Arrays in memory that torch computes in as it stands: they begin where torch's own tensors begin.

A tensor that shares an array's memory costs none of its own. But where the array begins elsewhere, vectorised loops
split otherwise, and the last bits of sums with them.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64  # bytes
_PIECE = 1 << 18  # values: what is made of a piece in float64 stays in the cache, and is given back to the system


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Array of this shape with whatever stood there."""
    return _aligned(np.empty, shape, np.dtype(dtype))


def zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Array of zeros; memory is taken only where it is written to."""
    return _aligned(np.zeros, shape, np.dtype(np.float32))


def copied(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy of an array."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def is_sharable(array: NDArray[Any]) -> bool:
    """Whether torch may compute in this array's memory."""
    return array.flags.carray and array.ctypes.data % _ALIGNMENT == 0


def pieces(n_values: int) -> Iterator[slice]:
    """A long vector's parts, in order, for what should not hold a second one as long."""
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
