"""Pack integers into slots and unpack them: the layout of parameters, weight and tag in the ciphertexts.

A block is BLOCK_CHUNKS ciphertexts. Its value slots hold a contiguous range of parameters: the first field of all its
slots, then the second, and so on; a slot is the number whose digits, the first the lowest, are its fields. The last two
slots of the last chunk are the weight and the tag; the slots between them and the values are zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from secure.ciphertexts.parameters import BLOCK_CHUNKS, N_SLOTS, SealParameters


@dataclass(frozen=True, slots=True)
class Block:
    """One block of an update: which chunks, slots and parameters it holds."""

    number: int
    n_chunks: int
    n_value_slots: int
    start: int  # first parameter
    stop: int  # one after the last parameter
    is_last: bool

    @property
    def n_slots(self) -> int:
        """Number of slots of the block."""
        return self.n_chunks * N_SLOTS


def blocks(n_params: int, parameters: SealParameters) -> Iterator[Block]:
    """Yield all blocks of an update of n_params parameters."""
    n_chunks, n_value_slots = parameters.n_chunks(n_params), parameters.n_value_slots(n_params)
    for number, first in enumerate(range(0, n_chunks, BLOCK_CHUNKS)):
        chunks = min(BLOCK_CHUNKS, n_chunks - first)
        value_slots = min(chunks * N_SLOTS, max(0, n_value_slots - first * N_SLOTS))
        start = min(n_params, first * N_SLOTS * parameters.fields)
        stop = min(n_params, start + value_slots * parameters.fields)
        yield Block(number, chunks, value_slots, start, stop, first + chunks == n_chunks)


def pack(integers: np.ndarray, block: Block, parameters: SealParameters) -> np.ndarray:
    """Return the slots of a block, (n_slots,) uint64, its values offset by the limit; weight and tag are zero.

    integers : (stop - start,) in [-limit, limit]
    """
    padded = np.zeros(block.n_value_slots * parameters.fields, dtype=np.uint64)
    padded[: integers.size] = integers + integers.dtype.type(parameters.limit)
    by_field = padded.reshape(parameters.fields, block.n_value_slots)
    slots = np.zeros(block.n_slots, dtype=np.uint64)
    values = slots[: block.n_value_slots]
    for digits in by_field[::-1]:
        values *= np.uint64(parameters.radix)
        values += digits
    return slots


def unpack(slots: np.ndarray, block: Block, parameters: SealParameters, n_members: int) -> np.ndarray:
    """Return the sums of the members' integers without offsets, (stop - start,) int32.

    For one member this is the inverse of pack.
    """
    values, radix = slots[: block.n_value_slots], np.uint64(parameters.radix)
    fields = np.empty((parameters.fields, block.n_value_slots), dtype=np.int32)
    for digits in fields[:-1]:
        quotient = values // radix
        digits[:] = values - quotient * radix
        values = quotient
    # A forged sum may hold more than a digit here; it must not wrap around to a valid value of the type.
    fields[-1] = np.minimum(values, np.uint64(np.iinfo(np.int32).max))
    sums = fields.reshape(-1)[: block.stop - block.start]
    sums -= np.int32(n_members * parameters.limit)
    return sums
