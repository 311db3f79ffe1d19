"""Encryption, addition and decryption on arrays, against SEAL used directly."""

from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
from hypothesis import given, settings
from hypothesis import strategies as st

from secure.ciphertexts.bfv import Cipher, Ring, generate_secret_key
from secure.ciphertexts.coefficients import pack_coefficients
from secure.ciphertexts.parameters import N_SLOTS, SEED_BYTES, SealSettings, seal_parameters
from secure.errors import BadContainer, BadKeyFile

PARAMETERS = seal_parameters(SealSettings())
KEY = generate_secret_key(PARAMETERS)


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 16), st.integers(1, 3), st.integers(0, 2**32))
def test_homomorphic(n_updates, n_chunks, seed):
    """Decrypting the sum of encryptions gives the sum mod t in every slot."""
    rng, ring = np.random.default_rng(seed), Ring(PARAMETERS)
    cipher = Cipher(ring, KEY)
    slots = [rng.integers(0, PARAMETERS.t, n_chunks * N_SLOTS, dtype=np.uint64) for _ in range(n_updates)]
    total = ring.add([cipher.encrypt(s) for s in slots])
    np.testing.assert_array_equal(cipher.decrypt(total), sum(s.astype(object) for s in slots) % PARAMETERS.t)


@pytest.mark.parametrize("max_partners", [3, 16])
@pytest.mark.parametrize("n_updates", [3, 15, 16, 33])
def test_no_sum_of_coefficients_overflows(max_partners, n_updates):
    """The first half of a sum is the sum of the largest coefficients mod q, for moduli of 52 to 60 bits."""
    p = seal_parameters(SealSettings(max_partners=max_partners, weights="equal"))
    largest = pack_coefficients(np.full((1, N_SLOTS), p.q - 1, dtype=np.uint64), p.q.bit_length())
    chunk = np.concatenate([np.zeros((1, SEED_BYTES), np.uint8), largest], axis=1)
    ring = Ring(p)
    c0 = ring.unpack(ring.add([chunk] * n_updates)[:, : p.poly_bytes])
    assert (c0 == n_updates * (p.q - 1) % p.q).all()


@pytest.mark.parametrize("value", [0, 1, PARAMETERS.t - 1])
def test_constant_slots(value):
    """Zeros (which SEAL stores shorter) and the largest numbers come back."""
    ring = Ring(PARAMETERS)
    cipher = Cipher(ring, KEY)
    slots = np.full(N_SLOTS, value, dtype=np.uint64)
    zeros = [cipher.encrypt(np.zeros(N_SLOTS, dtype=np.uint64)) for _ in range(2)]
    np.testing.assert_array_equal(cipher.decrypt(ring.add([cipher.encrypt(slots), *zeros])), slots)


def test_chunks_are_what_seal_makes(tmp_path):
    """SEAL reads a chunk with its headers restored as a ciphertext of two polynomials with room for noise."""
    ring = Ring(PARAMETERS)
    slots = np.arange(N_SLOTS, dtype=np.uint64)
    cipher = Cipher(ring, KEY)
    total = ring.add([cipher.encrypt(slots)] + [cipher.encrypt(slots * np.uint64(0))] * 2)
    words = ring.unpack(total.reshape(2, -1))
    (tmp_path / "ciphertext").write_bytes(ring.heads.sum + words.tobytes())
    (tmp_path / "key").write_bytes(ring.heads.key + ring.unpack(np.frombuffer(KEY, np.uint8)[None]).tobytes())
    key, ciphertext, plain = seal.SecretKey(), seal.Ciphertext(), seal.Plaintext()
    key.load(ring.context, str(tmp_path / "key"))
    ciphertext.load(ring.context, str(tmp_path / "ciphertext"))
    decryptor = seal.Decryptor(ring.context, key)
    assert ciphertext.size() == 2
    assert decryptor.invariant_noise_budget(ciphertext) >= 3
    decryptor.decrypt(ciphertext, plain)
    assert [plain[i] for i in range(N_SLOTS)] == slots.tolist()


def test_coefficients_out_of_range_are_refused():
    """A chunk with a coefficient of q or more is refused by addition and by decryption."""
    ring = Ring(PARAMETERS)
    cipher = Cipher(ring, KEY)
    good = cipher.encrypt(np.zeros(N_SLOTS, dtype=np.uint64))
    words = np.zeros((1, N_SLOTS), dtype=np.uint64)
    words[0, 1234] = PARAMETERS.q
    bad = np.concatenate([good[:, :SEED_BYTES], pack_coefficients(words, PARAMETERS.q.bit_length())], axis=1)
    with pytest.raises(BadContainer):
        ring.add([good, good, bad])
    with pytest.raises(BadContainer):
        cipher.decrypt(np.concatenate([pack_coefficients(words, PARAMETERS.q.bit_length())] * 2, axis=1))
    with pytest.raises(BadKeyFile):
        Cipher(ring, pack_coefficients(words, PARAMETERS.q.bit_length()).tobytes())


def test_zero_ciphertexts_do_not_crash():
    """A ciphertext of zeros, which SEAL calls transparent, is a typed error or decrypts to zero."""
    cipher = Cipher(Ring(PARAMETERS), KEY)
    try:
        slots = cipher.decrypt(np.zeros((1, PARAMETERS.sum_chunk_bytes), np.uint8))
    except BadContainer:
        return
    assert not slots.any()


def test_encryption_is_randomised():
    """Equal plaintexts have different ciphertexts, with different seeds."""
    cipher = Cipher(Ring(PARAMETERS), KEY)
    chunks = cipher.encrypt(np.zeros(20 * N_SLOTS, dtype=np.uint64))
    assert len({chunk[:SEED_BYTES].tobytes() for chunk in chunks}) == 20
    assert len({chunk[SEED_BYTES:].tobytes() for chunk in chunks}) == 20


def test_files_in_memory_are_closed():
    """Rings close their file descriptors."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        Cipher(Ring(PARAMETERS), KEY)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
