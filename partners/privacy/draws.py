"""Noise and batches of a training with differential privacy, drawn from a fresh key that only the partner has.

Both are secret for the claim to hold: who could repeat the noise would subtract it, and who knew a step's batch would
know more than sampling allows. So they are the output of AES-256-CTR, and not of a statistical generator.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from secure.encoding.derive import derive_key, random_words, uniform_numbers

_CHANCE_BITS = 53  # of a float64
_PIECE = 1 << 16  # values at a time: all temporaries of a piece stay in the cache
_LOW_BITS = 0x7FFFFFFF  # of an int32 word: 31 bits


class KeyedNoise:
    """Normal numbers by Box and Muller's transform of 31-bit uniform numbers; the largest is 6.7 deviations.

    Equal keys give equal bits on one machine; how logarithm and sine round may differ by processor.
    key : secret; of one training only
    """

    def __init__(self, key: bytes) -> None:
        self._key = derive_key(key, "hocket/noise/v2", {})
        self._n_pieces = 0

    def add_to(self, values: torch.Tensor, deviation: float) -> None:
        """Add independent normal numbers of this standard deviation, in place. values : contiguous float32."""
        flat = values.view(-1)
        for start in range(0, flat.numel(), _PIECE):
            piece = flat[start : start + _PIECE]
            radius, angle = (numbers.to(piece.device) for numbers in self._polar(-(-piece.numel() // 2)))
            n_first = radius.numel()
            piece[:n_first].addcmul_(radius, angle.cos(), value=deviation)
            n_second = piece.numel() - n_first
            piece[n_first:].addcmul_(radius[:n_second], angle[:n_second].sin_(), value=deviation)

    def _polar(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Radius and angle of the next n pairs of normal numbers; each call is a block of the key's stream."""
        words = random_words(self._key, self._n_pieces, n).view(np.int32)
        self._n_pieces += 1
        uniform = torch.from_numpy(words).bitwise_and_(_LOW_BITS).float()
        radius, angle = uniform[:n], uniform[n:]
        # (k + 1/2) / 2^31 is in (0, 1]
        return radius.add_(0.5).mul_(2.0**-31).log_().mul_(-2).sqrt_(), angle.mul_(2 * math.pi * 2.0**-31)


def poisson_batches(rows: NDArray[np.int64], sampling_share: float, key: bytes) -> Iterator[NDArray[np.int64]]:
    """Yield batches without end, each row in each of them with this probability, independent of all others.

    A batch may be empty.
    key : secret; of one training only
    """
    stream, block, below = derive_key(key, "hocket/batches/v2", {}), 0, sampling_share * (1 << _CHANCE_BITS)
    while True:
        yield rows[uniform_numbers(stream, block, rows.size, 1 << _CHANCE_BITS) < below]
        block += 1
