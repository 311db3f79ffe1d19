"""BFV encryption, addition and decryption by Microsoft SEAL (as tenseal.sealapi has it), on arrays of chunks.

Only sums are needed, so the numbers are the coefficients of the plaintext polynomial itself; no batching transform is
made. A chunk is a ciphertext without SEAL's headers (all of fixed content), its coefficients packed in 54 bits: one
size and one spelling. Fresh: seed of the uniform half (64 bytes), other half. Sum: both halves.
"""

import struct
from collections.abc import Sequence

import numpy as np
import tenseal.sealapi as seal

from secure.coefficients import pack_coefficients, unpack_coefficients
from secure.errors import BadContainer, BadKeyFile, ParameterMismatch
from secure.parameters import N_SLOTS, SEED_BYTES, SealParameters
from secure.seal_files import POLY_BYTES, SealFiles


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
        if not self.context.parameters_set():
            raise ParameterMismatch(f"SEAL refuses the parameters: {self.context.parameters_error_message()}")
        self.parameters = parameters
        parms_id = struct.pack("<4Q", *self.context.first_parms_id())
        self.files = SealFiles(parms_id, seal.Plaintext())

    def add(self, fresh: Sequence[np.ndarray]) -> np.ndarray:
        """Sum of fresh chunks, chunk by chunk.

        fresh : one (n_chunks, 13888) uint8 array per update. Returns (n_chunks, 27648) uint8. Raises BadContainer.
        """
        files = [self._fresh_files(chunks) for chunks in fresh]
        sums = np.empty((len(fresh[0]), 2 * N_SLOTS), dtype="<u8")
        evaluator, total, other = seal.Evaluator(self.context), seal.Ciphertext(), seal.Ciphertext()
        for i in range(len(sums)):
            self.load_ciphertext(total, files[0][i])
            for file in files[1:]:
                self.load_ciphertext(other, file[i])
                evaluator.add_inplace(total, other)
            sums[i] = np.frombuffer(self.files.save(total, self.files.sum_head, 2 * POLY_BYTES), dtype="<u8")
        return pack_coefficients(sums.reshape(-1, N_SLOTS)).reshape(len(sums), -1)

    def load_ciphertext(self, ciphertext: seal.Ciphertext, file: np.ndarray) -> None:
        """Load a ciphertext file of the right shape; raises BadContainer if a coefficient is q or more."""
        try:
            self.files.load(ciphertext, self.context, file.data)
        except (RuntimeError, ValueError) as error:
            raise BadContainer("a chunk is no ciphertext: a coefficient is out of range") from error

    def _fresh_files(self, chunks: np.ndarray) -> np.ndarray:
        halves = unpack_coefficients(chunks[:, SEED_BYTES:]).view(np.uint8)
        return _side_by_side(self.files.fresh_head, halves, self.files.fresh_tail, chunks[:, :SEED_BYTES])


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

    def encrypt(self, slots: np.ndarray) -> np.ndarray:
        """(n_chunks, 13888) uint8: fresh symmetric encryptions. slots : (n_chunks * 2048,) uint64 below t."""
        files, plain = self._ring.files, seal.Plaintext()
        rows = slots.astype("<u8", copy=False).reshape(-1, N_SLOTS).view(np.uint8)
        plain_files = _side_by_side(files.plain_head, rows)
        saved_bytes = POLY_BYTES + len(files.fresh_tail) + SEED_BYTES
        saved = np.empty((len(rows), saved_bytes), dtype=np.uint8)
        for plain_file, row in zip(plain_files, saved, strict=True):
            files.load(plain, self._ring.context, plain_file.data)
            fresh = self._encryptor.encrypt_symmetric(plain)
            row[:] = np.frombuffer(files.save(fresh, files.fresh_head, saved_bytes), dtype=np.uint8)
        if (saved[:, POLY_BYTES:-SEED_BYTES] != np.frombuffer(files.fresh_tail, dtype=np.uint8)).any():
            raise ParameterMismatch("this version of SEAL lays out fresh ciphertexts in another way than expected")
        halves = np.ascontiguousarray(saved[:, :POLY_BYTES]).view("<u8")
        return np.concatenate([saved[:, -SEED_BYTES:], pack_coefficients(halves)], axis=1)

    def decrypt(self, sums: np.ndarray) -> np.ndarray:
        """(n_chunks * 2048,) uint64 below t. sums : (n_chunks, 27648) uint8. Raises BadContainer."""
        files, ciphertext, plain = self._ring.files, seal.Ciphertext(), seal.Plaintext()
        words = unpack_coefficients(np.ascontiguousarray(sums).reshape(2 * len(sums), -1))
        cipher_files = _side_by_side(files.sum_head, words.view(np.uint8).reshape(len(sums), -1))
        slots = np.zeros((len(sums), N_SLOTS), dtype=np.uint64)
        for cipher_file, row in zip(cipher_files, slots, strict=True):
            self._ring.load_ciphertext(ciphertext, cipher_file)
            try:
                self._decryptor.decrypt(ciphertext, plain)
            except (RuntimeError, ValueError) as error:
                raise BadContainer("a chunk of the sum is no ciphertext") from error
            n = plain.coeff_count()  # SEAL drops zeros at the end
            saved = files.save(plain, files.plain_head_of(n), 8 * n)
            row[:n] = np.frombuffer(saved, dtype="<u8")
        return slots.reshape(-1)


def generate_secret_key(parameters: SealParameters) -> bytes:
    """Return a new BFV secret key, packed as a polynomial; drawn by SEAL from the operating system's randomness."""
    ring = Ring(parameters)
    key = seal.KeyGenerator(ring.context).secret_key()
    words = np.frombuffer(ring.files.save(key, ring.files.key_head, POLY_BYTES), dtype="<u8")
    return pack_coefficients(words[None, :]).tobytes()


def _side_by_side(*parts: bytes | np.ndarray) -> np.ndarray:
    """(n, total) uint8 rows; bytes are repeated in every row."""
    n = next(len(part) for part in parts if isinstance(part, np.ndarray))
    columns = [
        np.broadcast_to(np.frombuffer(part, dtype=np.uint8), (n, len(part))) if isinstance(part, bytes) else part
        for part in parts
    ]
    return np.concatenate(columns, axis=1)
