"""BFV encryption, addition and decryption by Microsoft SEAL (by its binding tenseal.sealapi), on arrays of chunks.

A chunk is a ciphertext of 8192 slots without SEAL's headers (all of fixed content), its coefficients packed: one size
and one byte form. Fresh: the seed of the uniform half c1 (64 bytes), then c0. Sum: c0, then c1. The slots are the
coefficients of the plaintext: the only operation on ciphertexts is addition, which needs no other encoding.
"""

import struct
from collections.abc import Sequence

import numpy as np
import tenseal.sealapi as seal

from secure.ciphertexts.coefficients import pack_coefficients, unpack_coefficients
from secure.ciphertexts.parameters import N_SLOTS, SEED_BYTES, SealParameters
from secure.ciphertexts.seal_files import POLYNOMIAL_BYTES, SealHeads, SealInput, SealOutput
from secure.errors import BadContainer, BadKeyFile, ParameterMismatch

_SUM_OF = 15  # so many numbers below 2^60, and one more, have a sum below 2^64


class Ring:
    """SEAL's context for the parameters, which adds ciphertexts. Not to be shared between threads."""

    def __init__(self, parameters: SealParameters) -> None:
        self._q_bits, self.poly_bytes = parameters.q.bit_length(), parameters.poly_bytes
        modulus = seal.CoeffModulus.Create(N_SLOTS, [self._q_bits])
        if modulus[0].value() != parameters.q:
            raise ParameterMismatch(f"q = {parameters.q}, but SEAL chooses {modulus[0].value()}")
        wanted = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        wanted.set_poly_modulus_degree(N_SLOTS)
        wanted.set_coeff_modulus(modulus)
        wanted.set_plain_modulus(parameters.t)
        self.context = seal.SEALContext(wanted, True, seal.SEC_LEVEL_TYPE.TC256)  # noqa: FBT003 -- SEAL has no keyword arguments
        if not self.context.parameters_set():
            raise ParameterMismatch(f"SEAL refuses the parameters: {self.context.parameters_error_message()}")
        self.heads = SealHeads(struct.pack("<4Q", *self.context.first_parms_id()), seal.Plaintext())
        self.output = SealOutput()
        self._q = np.uint64(parameters.q)
        # SEAL expands the seed of a fresh ciphertext on loading; here its other half is zero
        zeros = bytes(POLYNOMIAL_BYTES)
        self._uniform_halves = SealInput(self.context, self.heads.fresh + zeros + self.heads.fresh_tail)

    def add(self, fresh: Sequence[np.ndarray]) -> np.ndarray:
        """Return the sum of fresh chunks, chunk by chunk.

        fresh : one (n_chunks, update_chunk_bytes) uint8 array per update. Returns (n_chunks, sum_chunk_bytes) uint8.
        Raises BadContainer for a coefficient that is not below q.
        """
        c0 = np.zeros((len(fresh[0]), N_SLOTS), dtype=np.uint64)
        for number, chunks in enumerate(fresh, 1):
            try:
                c0 += self.unpack(chunks[:, SEED_BYTES:])
            except BadContainer as error:
                raise BadContainer(f"update {number} of {len(fresh)}: {error}") from error
            if number % _SUM_OF == 0 or number == len(fresh):
                c0 -= c0 // self._q * self._q  # numpy's % takes thrice as long
        c1 = np.empty_like(c0)
        for i, row in enumerate(c1):
            row[:] = self._add_uniform_halves([chunks[i, :SEED_BYTES].tobytes() for chunks in fresh])
        sums = np.empty((len(c0), 2 * self.poly_bytes), dtype=np.uint8)
        self.pack(c0, out=sums[:, : self.poly_bytes])
        self.pack(c1, out=sums[:, self.poly_bytes :])
        return sums

    def pack(self, words: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Pack (n, 8192) uint64 coefficients below q into (n, poly_bytes) uint8: a new array, or columns of one."""
        return pack_coefficients(words, self._q_bits, out)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Unpack (n, poly_bytes) uint8 into (n, 8192) uint64; raises BadContainer unless all are below q."""
        words = unpack_coefficients(packed, self._q_bits)
        if words.max() >= self._q:
            raise BadContainer("a chunk is no ciphertext: a coefficient is not below q")
        return words

    def _add_uniform_halves(self, seeds: Sequence[bytes]) -> np.ndarray:
        """Return the sum of the uniform halves that SEAL expands from seeds of 64 bytes, (8192,) uint64."""
        evaluator, total, other = seal.Evaluator(self.context), seal.Ciphertext(), seal.Ciphertext()
        self._uniform_halves.load(total, seeds[0])
        for seed in seeds[1:]:
            self._uniform_halves.load(other, seed)
            evaluator.add_inplace(total, other)
        return np.frombuffer(self.output.save(total, self.heads.sum, 2 * POLYNOMIAL_BYTES), dtype="<u8")[N_SLOTS:]


class Cipher:
    """A ring with a secret key: encrypts and decrypts. Not to be shared between threads."""

    def __init__(self, ring: Ring, secret_key: bytes) -> None:
        self._ring, key = ring, seal.SecretKey()
        try:
            words = ring.unpack(np.frombuffer(secret_key, dtype=np.uint8)[None, :])
            SealInput(ring.context, ring.heads.key).load(key, words)
        except (BadContainer, RuntimeError, ValueError) as error:
            raise BadKeyFile("the BFV key of the group secret is not valid for the parameters") from error
        self._encryptor = seal.Encryptor(ring.context, key)
        self._decryptor = seal.Decryptor(ring.context, key)
        self._plain = SealInput(ring.context, ring.heads.plain)
        self._sum = SealInput(ring.context, ring.heads.sum)

    def encrypt(self, slots: np.ndarray) -> np.ndarray:
        """Encrypt slots, (n_chunks * 8192,) uint64 < t, into fresh chunks, (n_chunks, update_chunk_bytes) uint8."""
        ring, plain, tail = self._ring, seal.Plaintext(), self._ring.heads.fresh_tail
        rows = slots.reshape(-1, N_SLOTS)
        # all are encrypted before the first is saved, as either work fills the cache; callers pass BLOCK_CHUNKS at most
        ciphertexts = []
        for row in rows:
            self._plain.load(plain, row)
            ciphertexts.append(self._encryptor.encrypt_symmetric(plain))
        c0, chunks = np.empty_like(rows), np.empty((len(rows), SEED_BYTES + ring.poly_bytes), dtype=np.uint8)
        for fresh, words, chunk in zip(ciphertexts, c0, chunks, strict=True):
            saved = ring.output.save(fresh, ring.heads.fresh, POLYNOMIAL_BYTES + len(tail) + SEED_BYTES)
            words[:] = np.frombuffer(saved[:POLYNOMIAL_BYTES], dtype="<u8")
            if saved[POLYNOMIAL_BYTES:-SEED_BYTES] != tail:
                raise ParameterMismatch("this version of SEAL lays out fresh ciphertexts in another way than expected")
            chunk[:SEED_BYTES] = saved[-SEED_BYTES:]
        ring.pack(c0, out=chunks[:, SEED_BYTES:])
        return chunks

    def decrypt(self, sums: np.ndarray) -> np.ndarray:
        """Decrypt sums, (n_chunks, sum_chunk_bytes) uint8, into slots, (n_chunks * 8192,) uint64 < t.

        Raises BadContainer.
        """
        ring, ciphertext, plain = self._ring, seal.Ciphertext(), seal.Plaintext()
        words = ring.unpack(sums.reshape(2 * len(sums), -1)).reshape(len(sums), -1)
        slots = np.empty((len(sums), N_SLOTS), dtype=np.uint64)
        for row, decrypted in zip(words, slots, strict=True):
            try:
                self._sum.load(ciphertext, row)
                self._decryptor.decrypt(ciphertext, plain)
            except (RuntimeError, ValueError) as error:
                raise BadContainer("a chunk of the sum is no ciphertext") from error
            plain.resize(N_SLOTS)  # SEAL leaves out leading zeros
            decrypted[:] = np.frombuffer(ring.output.save(plain, ring.heads.plain, POLYNOMIAL_BYTES), dtype="<u8")
        return slots.reshape(-1)


def generate_secret_key(parameters: SealParameters) -> bytes:
    """Return a new BFV secret key, packed as a polynomial; drawn by SEAL from the operating system's randomness."""
    ring = Ring(parameters)
    key = seal.KeyGenerator(ring.context).secret_key()
    words = np.frombuffer(ring.output.save(key, ring.heads.key, POLYNOMIAL_BYTES), dtype="<u8")
    return ring.pack(words[None, :]).tobytes()
