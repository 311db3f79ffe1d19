"""Ciphertexts as numbers: operations without a key, and decryption with the key.

Polynomials are uint64 arrays of shape (n_chunks, 2, 8192), numbers below q: c0 and c1 of every chunk.
"""

from pathlib import Path

import numpy as np

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.packing import blocks
from secure.ciphertexts.parameters import BLOCK_CHUNKS, N_SLOTS, SealParameters
from secure.encoding.roster import Roster
from secure.sealing.container import SUM, UPDATE, Header, make_header, read_chunks, write_chunks
from secure.sealing.masks import make_masks
from secure.sealing.tags import Tagger
from tests.support.secure.consortium import Consortium

SCALE = 1024  # steps of 1 / SCALE and integers make changes that are rounded to themselves


def exact_bounds(parameters: SealParameters) -> np.ndarray:
    """Bound of one tensor whose step is 1 / SCALE, exactly."""
    return np.array([parameters.limit / SCALE])


def seal_integers(c: Consortium, me: str, integers: np.ndarray, path: Path, roster: Roster, **more: object) -> Path:
    """Seal an update that holds exactly these integers."""
    change = (integers / SCALE).astype(np.float32)
    c.seal(me, change, path, roster, bounds=exact_bounds(c.parameters), **more)
    return path


def read_polynomials(path: Path, parameters: SealParameters) -> np.ndarray:
    """All ciphertexts of an update (its uniform halves written out) or of a sum."""
    ring = Ring(parameters)
    with read_chunks(path) as reader:
        reader.expect_shape(parameters)
        is_update = reader.header.kind == UPDATE
        parts = [ring.add([chunks]) if is_update else chunks.copy() for _, chunks in reader]
    return from_chunks(np.concatenate(parts), parameters)


def from_chunks(sums: np.ndarray, parameters: SealParameters) -> np.ndarray:
    """Return the polynomials of the chunks of a sum."""
    return Ring(parameters).unpack(sums.reshape(2 * len(sums), -1)).reshape(-1, 2, N_SLOTS)


def to_chunks(polynomials: np.ndarray, parameters: SealParameters) -> np.ndarray:
    """Return the chunks of a sum, even for numbers that are not below q."""
    return Ring(parameters).pack(polynomials.reshape(-1, N_SLOTS)).reshape(len(polynomials), -1)


def write_sum(path: Path, polynomials: np.ndarray, roster: Roster, n_params: int, parameters: SealParameters) -> Path:
    """Write a sum with any header and ciphertexts, as the aggregator can."""
    return _write(path, make_header(SUM, roster, roster.members, n_params, parameters), polynomials, parameters)


def _write(path: Path, header: Header, polynomials: np.ndarray, parameters: SealParameters) -> Path:
    chunks = to_chunks(polynomials, parameters)
    with write_chunks(path, header, parameters.sum_chunk_bytes) as writer:
        for first in range(0, len(chunks), BLOCK_CHUNKS):
            writer.write(chunks[first : first + BLOCK_CHUNKS])
        writer.close()
    return path


def relabel(source: Path, path: Path, member: str, roster: Roster, parameters: SealParameters) -> Path:
    """Write an update again as another member's, or for another roster."""
    with read_chunks(source) as reader:
        reader.expect_shape(parameters)
        parts, n_params = [chunks.copy() for _, chunks in reader], reader.header.n_params
    header = make_header(UPDATE, roster, (member,), n_params, parameters)
    with write_chunks(path, header, parameters.update_chunk_bytes) as writer:
        for chunks in parts:
            writer.write(chunks)
        writer.close()
    return path


def times(polynomials: np.ndarray, factor: int, q: int) -> np.ndarray:
    """Multiply by a whole number, mod q."""
    return (polynomials.astype(object) * factor % q).astype(np.uint64)


def trivial(slots: np.ndarray, parameters: SealParameters) -> np.ndarray:
    """Encryption without a key: c0 = round(q m / t), c1 = 0 decrypts to m under every key."""
    q, t = parameters.q, parameters.t
    polynomials = np.zeros((slots.size // N_SLOTS, 2, N_SLOTS), dtype=np.uint64)
    polynomials[:, 0] = ((slots.astype(object) * q + t // 2) // t % q).reshape(-1, N_SLOTS).astype(np.uint64)
    return polynomials


def decrypt(polynomials: np.ndarray, c: Consortium) -> np.ndarray:
    """(n_chunks * 8192,) uint64 below t: what any partner can see."""
    return Cipher(Ring(c.parameters), c.group.bfv_key).decrypt(to_chunks(polynomials, c.parameters))


def noise(polynomials: np.ndarray, slots: np.ndarray, c: Consortium) -> np.ndarray:
    """(n_chunks, 8192) int64: c0 + c1 s - round(q m / t), centred, for the slots m that are inside."""
    q, key = c.parameters.q, secret_polynomial(c)
    phase = polynomials[:, 0].astype(object) + _times_key(polynomials[:, 1], key)
    left = (phase - trivial(slots, c.parameters)[:, 0].astype(object) + q // 2) % q - q // 2
    return left.astype(np.int64)


def secret_polynomial(c: Consortium) -> np.ndarray:
    """(8192,) int64 of -1, 0 and 1: the key, to which the ciphertext (0, q / t) decrypts."""
    unit = np.zeros(N_SLOTS, dtype=np.uint64)
    unit[0] = 1
    key = decrypt(trivial(unit, c.parameters)[:, ::-1], c).astype(np.int64)
    return np.where(key > 1, -1, key)


def _times_key(polynomials: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Exact products in Z[x] / (x^8192 + 1), as Python integers: limbs of 15 bits through the Fourier transform."""
    total: np.ndarray = np.zeros(polynomials.shape, dtype=object)
    for shift in range(0, 60, 15):
        limb = (polynomials >> np.uint64(shift)) & np.uint64(0x7FFF)
        size = 2 * N_SLOTS
        product = np.fft.irfft(np.fft.rfft(limb.astype(float), size) * np.fft.rfft(key.astype(float), size), size)
        folded = np.rint(product[..., :N_SLOTS] - product[..., N_SLOTS:]).astype(np.int64)
        total += folded.astype(object) << shift
    return total


def packed(integers: np.ndarray, p: SealParameters, n_members: int = 1) -> np.ndarray:
    """Slots of an update before masking, or of a sum; of any whole numbers. Weight and tag are left zero."""
    (block,) = blocks(integers.size, p)
    fields = np.zeros(block.n_value_slots * p.fields, dtype=object)
    fields[: integers.size] = integers.astype(np.int64).astype(object) + n_members * p.limit
    slots = np.zeros(block.n_slots, dtype=np.uint64)
    digits = fields.reshape(p.fields, block.n_value_slots)
    slots[: block.n_value_slots] = sum(row * p.radix**i for i, row in enumerate(digits)) % p.t
    return slots


def seal_numbers(c: Consortium, me: str, slots: np.ndarray, path: Path, roster: Roster, n_params: int) -> Path:
    """Seal any numbers mod t as an update, as a partner with changed software can.

    slots : of a single block, weight and all; the last one, the tag's, is filled in
    """
    p = c.parameters
    (block,) = blocks(n_params, p)
    work = slots.copy()
    make_masks(me, roster, c.pair_keys[me], p.t).with_release(c.release(me, roster)).add_to(work, block.number)
    return seal_masked(c, me, work, path, roster, n_params)


def seal_masked(c: Consortium, member: str, slots: np.ndarray, path: Path, roster: Roster, n_params: int) -> Path:
    """Seal numbers of a single block that are masked, or not, in any member's name; the group secret suffices."""
    p, tagger = c.parameters, Tagger(c.group.tag_seed, roster, c.parameters.t)
    slots[-1] = 0
    tagger.add(tagger.part(slots, 0))
    slots[-1] = tagger.tag(member)
    header = make_header(UPDATE, roster, (member,), n_params, p)
    with write_chunks(path, header, p.update_chunk_bytes) as writer:
        writer.write(Cipher(Ring(p), c.group.bfv_key).encrypt(slots))
        writer.close()
    return path
