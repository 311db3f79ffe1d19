"""BFV encryption, addition and decryption by Microsoft SEAL (as tenseal.sealapi has it), on arrays of chunks.

A chunk is a ciphertext of 2048 slots without SEAL's headers (all of fixed content), its coefficients packed in 54 bits:
one size and one spelling. Fresh: the seed of the uniform half c1 (64 bytes), then c0. Sum: c0, then c1.
"""

import struct
from collections.abc import Sequence

import numpy as np
import tenseal.sealapi as seal

from secure.coefficients import pack_coefficients, unpack_coefficients
from secure.errors import BadContainer, BadKeyFile, ParameterMismatch
from secure.parameters import N_SLOTS, SEED_BYTES, SealParameters
from secure.seal_files import WORDS_BYTES, SealFiles


class Ring:
    """SEAL's context for the parameters; adds. Not to be shared between threads."""

    def __init__(self, parameters: SealParameters) -> None:
        wanted = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        wanted.set_poly_modulus_degree(N_SLOTS)
        modulus = seal.CoeffModulus.Create(N_SLOTS, [parameters.q.bit_length()])
        if modulus[0].value() != parameters.q:
            raise ParameterMismatch(f"q = {parameters.q}, but SEAL chooses {modulus[0].value()}")
        wanted.set_coeff_modulus(modulus)
        wanted.set_plain_modulus(parameters.t)
        self.context = seal.SEALContext(wanted, True, seal.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 -- SEAL names nothing
        if not self.context.parameters_set() or not self.context.first_context_data().qualifiers().using_batching:
            raise ParameterMismatch(f"SEAL refuses the parameters: {self.context.parameters_error_message()}")
        self.q = np.uint64(parameters.q)
        parms_id = struct.pack("<4Q", *self.context.first_parms_id())
        self.files = SealFiles(parms_id, seal.Plaintext())

    def add(self, fresh: Sequence[np.ndarray]) -> np.ndarray:
        """Sum of fresh chunks, chunk by chunk.

        fresh : one (n_chunks, 13888) uint8 array per update, at most 2^10 of them. Returns (n_chunks, 27648) uint8.
        Raises BadContainer for a coefficient that is not below q.
        """
        c0 = np.zeros((len(fresh[0]), N_SLOTS), dtype=np.uint64)
        for chunks in fresh:
            c0 += self.unpack_checked(chunks[:, SEED_BYTES:])
        seeds = [chunks[:, :SEED_BYTES].tobytes() for chunks in fresh]
        c1 = np.empty_like(c0)
        for i, row in enumerate(c1):
            row[:] = self._add_uniform_halves([s[i * SEED_BYTES : (i + 1) * SEED_BYTES] for s in seeds])
        return np.concatenate([pack_coefficients(c0 % self.q), pack_coefficients(c1)], axis=1)

    def unpack_checked(self, packed: np.ndarray) -> np.ndarray:
        """(n, 2048) uint64 below q from (n, 13824) uint8; raises BadContainer."""
        words = unpack_coefficients(packed)
        if words.max() >= self.q:
            raise BadContainer("a chunk is no ciphertext: a coefficient is not below q")
        return words

    def _add_uniform_halves(self, seeds: Sequence[bytes]) -> np.ndarray:
        """(2048,) uint64: SEAL expands the seed of a ciphertext on loading; here the other half is zero."""
        evaluator, total, other = seal.Evaluator(self.context), seal.Ciphertext(), seal.Ciphertext()
        files = self.files
        files.load(total, self.context, files.fresh_head + bytes(WORDS_BYTES) + files.fresh_tail + seeds[0])
        for seed in seeds[1:]:
            files.load_again(other, self.context, seed, len(files.fresh_head) + WORDS_BYTES + len(files.fresh_tail))
            evaluator.add_inplace(total, other)
        return np.frombuffer(files.save(total, files.sum_head, 2 * WORDS_BYTES), dtype="<u8")[N_SLOTS:]


class Cipher:
    """A ring with a secret key: encrypts and decrypts. Not to be shared between threads."""

    def __init__(self, ring: Ring, secret_key: bytes) -> None:
        self._ring = ring
        words = unpack_coefficients(np.frombuffer(secret_key, dtype=np.uint8)[None, :]).tobytes()
        key = seal.SecretKey()
        try:
            ring.files.load(key, ring.context, ring.files.key_head + words)
        except (RuntimeError, ValueError) as error:
            raise BadKeyFile("the BFV key of the group secret is not valid for the parameters") from error
        self._encryptor = seal.Encryptor(ring.context, key)
        self._decryptor = seal.Decryptor(ring.context, key)
        self._encoder = seal.BatchEncoder(ring.context)

    def encrypt(self, slots: np.ndarray) -> np.ndarray:
        """(n_chunks, 13888) uint8: fresh symmetric encryptions. slots : (n_chunks * 2048,) uint64 below t."""
        files, plain = self._ring.files, seal.Plaintext()
        rows = slots.reshape(-1, N_SLOTS)
        saved = np.empty((len(rows), WORDS_BYTES + len(files.fresh_tail) + SEED_BYTES), dtype=np.uint8)
        for slots_of_chunk, row in zip(rows, saved, strict=True):
            self._encoder.encode(slots_of_chunk.tolist(), plain)
            fresh = self._encryptor.encrypt_symmetric(plain)
            row[:] = np.frombuffer(files.save(fresh, files.fresh_head, row.size), dtype=np.uint8)
        if (saved[:, WORDS_BYTES:-SEED_BYTES] != np.frombuffer(files.fresh_tail, dtype=np.uint8)).any():
            raise ParameterMismatch("this version of SEAL lays out fresh ciphertexts in another way than expected")
        c0 = np.ascontiguousarray(saved[:, :WORDS_BYTES]).view("<u8")
        return np.concatenate([saved[:, -SEED_BYTES:], pack_coefficients(c0)], axis=1)

    def decrypt(self, sums: np.ndarray) -> np.ndarray:
        """(n_chunks * 2048,) uint64 below t. sums : (n_chunks, 27648) uint8. Raises BadContainer."""
        ring, ciphertext, plain = self._ring, seal.Ciphertext(), seal.Plaintext()
        words = ring.unpack_checked(sums.reshape(2 * len(sums), -1)).reshape(len(sums), -1)
        slots = np.empty((len(sums), N_SLOTS), dtype=np.uint64)
        for row, decrypted in zip(words, slots, strict=True):
            ring.files.load(ciphertext, ring.context, ring.files.sum_head + row.tobytes())
            try:
                self._decryptor.decrypt(ciphertext, plain)
            except (RuntimeError, ValueError) as error:
                raise BadContainer("a chunk of the sum is no ciphertext") from error
            decrypted[:] = self._encoder.decode_uint64(plain)
        return slots.reshape(-1)


def generate_secret_key(parameters: SealParameters) -> bytes:
    """Return a new BFV secret key, packed as a polynomial; drawn by SEAL from the operating system's randomness."""
    ring = Ring(parameters)
    key = seal.KeyGenerator(ring.context).secret_key()
    words = np.frombuffer(ring.files.save(key, ring.files.key_head, WORDS_BYTES), dtype="<u8")
    return pack_coefficients(words[None, :]).tobytes()
