"""The noise in ciphertexts: the proven bound, and attacks of an aggregator that adds noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from secure.ciphertexts.bfv import Cipher, Ring
from secure.ciphertexts.parameters import N_SLOTS, SealParameters, SealSettings, seal_parameters
from secure.errors import TagMismatch
from secure.keys.group import GroupSecret
from secure.sealing.open_sum import OpenedSum
from tests.support.secure.ciphertexts import (
    decrypt,
    exact_bounds,
    from_chunks,
    noise,
    read_polynomials,
    seal_integers,
    secret_polynomial,
    write_sum,
)
from tests.support.secure.consortium import Consortium, make_consortium

N = 20_000


def with_noise(polynomials: np.ndarray, slots: np.ndarray, c: Consortium, beyond: int = 0) -> np.ndarray:
    """Raise the noise in every slot to the largest for which decryption is proven, plus `beyond`."""
    p = c.parameters
    limit = (p.q - 2 * p.t) // (2 * p.t)  # t (43 n + 2) < q, and n updates have 43 n / 2
    signs = np.random.default_rng(1).choice([-1, 1], polynomials[:, 0].shape)
    changed = polynomials.copy()
    errors = signs * (limit + beyond) - noise(polynomials, slots, c)
    changed[:, 0] = (changed[:, 0].astype(np.int64) + errors) % p.q
    return changed


@pytest.mark.parametrize(
    ("bits", "n"), [(16, 3), (16, 8), (16, 16), (12, 3), (12, 8), (8, 3), (8, 8), (8, 16), (8, 128)]
)
def test_decryption_is_exact_up_to_the_proven_limit(bits, n):
    """The noise of n updates is within the proven bound; more noise in every slot is harmless up to the limit only."""
    p = seal_parameters(SealSettings(bits=bits, max_partners=n))
    c = Consortium(SealSettings(), p, "", {}, None, GroupSecret.generate(p), {})
    ring, rng = Ring(p), np.random.default_rng(n)
    cipher = Cipher(ring, c.group.bfv_key)
    slots = rng.integers(0, p.t, (n, N_SLOTS), dtype=np.uint64)
    total = from_chunks(ring.add([cipher.encrypt(s) for s in slots]), p)
    wanted = (slots.sum(axis=0, dtype=object) % p.t).astype(np.uint64)
    measured = noise(total, wanted, c)
    assert np.abs(measured).max() <= 43 * n / 2
    assert abs(measured.std() / np.sqrt(n * 21 / 2) - 1) < 0.06  # centred binomial of 2 x 21 bits: variance 21 / 2
    np.testing.assert_array_equal(decrypt(with_noise(total, wanted, c), c), wanted)
    assert (decrypt(with_noise(total, wanted, c, beyond=3), c) != wanted).all()


@dataclass(frozen=True)
class Sealed:
    """A sum of three updates: its ciphertexts as the aggregator has them, and the integers inside."""

    c: Consortium
    folder: Path
    integers: np.ndarray
    polynomials: np.ndarray

    @property
    def p(self) -> SealParameters:
        """Encryption parameters."""
        return self.c.parameters

    def open(self, polynomials: np.ndarray) -> OpenedSum:
        """Let a partner open other ciphertexts under the sum's header."""
        path = write_sum(self.folder / "sum", polynomials, self.c.roster(), N, self.p)
        return self.c.open(path, N, bounds=exact_bounds(self.p))


@pytest.fixture(scope="module", params=[(16, 3), (16, 16), (12, 8), (8, 3)], ids=str)
def sealed(request, tmp_path_factory) -> Sealed:
    """Sums of three for plans of several shapes."""
    bits, max_partners = request.param
    c = make_consortium(3, bits=bits, max_partners=max_partners)
    rng, folder, limit = np.random.default_rng(0), tmp_path_factory.mktemp("noise"), c.parameters.limit
    integers = {name: rng.integers(-limit, limit + 1, N) for name in c.partners}
    files = [seal_integers(c, name, integers[name], folder / name, c.roster()) for name in c.partners]
    c.add(files, folder / "sum")
    return Sealed(c, folder, sum(integers.values()), read_polynomials(folder / "sum", c.parameters))


def test_errors_within_the_limit_change_nothing(sealed):
    """Errors that the aggregator adds within the limit stay unnoticed, and the sum opens to the same integers."""
    opened = sealed.open(with_noise(sealed.polynomials, decrypt(sealed.polynomials, sealed.c), sealed.c))
    np.testing.assert_array_equal(opened.total, sealed.integers)
    assert opened.weight_total == 3


@pytest.mark.parametrize("slot", [0, 77, N_SLOTS - 1])
def test_errors_beyond_the_limit_are_caught(sealed, slot):
    """Noise beyond the limit in a single slot changes the plaintext, so the tag is wrong."""
    forged, slots = sealed.polynomials.copy(), decrypt(sealed.polynomials, sealed.c)
    forged[-1, 0, slot] = with_noise(forged, slots, sealed.c, beyond=3)[-1, 0, slot]
    with pytest.raises(TagMismatch):
        sealed.open(forged)


@pytest.mark.parametrize("sealed", [(16, 16)], indirect=True, ids=str)
def test_an_answer_tells_about_one_number_of_the_key(sealed):
    """Errors can be placed so that a sum opens unless s_k = 1: one bit; who refuses once gives no more answers."""
    q, key = sealed.p.q, secret_polynomial(sealed.c)
    limit = q // (2 * sealed.p.t)
    tall, low = 400, limit - 200  # together beyond the limit, one alone within, whatever the noise of three updates
    assert low + 65 < limit < low + tall - 65
    refused = []
    for k in range(12):
        forged = sealed.polynomials.copy()
        forged[0, 1, 20 - k] = (int(forged[0, 1, 20 - k]) + tall) % q  # times the key: tall s_k in slot 20
        forged[0, 0, 20] = (int(forged[0, 0, 20]) + low) % q
        try:
            sealed.open(forged)
            refused.append(False)
        except TagMismatch:
            refused.append(True)
    assert refused == (key[:12] == 1).tolist()
