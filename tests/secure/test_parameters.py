"""Parameters and the proof that sums are exact."""

import dataclasses

import pytest
import tenseal.sealapi as seal
from hypothesis import given
from hypothesis import strategies as st

from secure.errors import ParameterMismatch
from secure.parameters import MIN_TAG_BITS, SealSettings, batching_prime, prove_margin, seal_parameters

settings = st.builds(
    SealSettings,
    bits=st.sampled_from([16, 12, 8]),
    max_partners=st.integers(3, 128),
    weights=st.sampled_from(["equal", "size"]),
    max_weight=st.integers(1, 1 << 32),
)


@given(settings)
def test_every_accepted_setting_has_its_margins(chosen):
    """Noise, fields, weights and tag all fit, for the largest roster."""
    p = seal_parameters(chosen)
    n = chosen.max_partners
    largest = n * (2**chosen.bits - 2)
    assert 2 * p.t * (21.5 * n + 1) < p.q
    assert largest < 2**p.width
    assert sum(largest * 2 ** (p.width * field) for field in range(p.fields)) < p.t
    assert n * p.max_weight < p.t
    assert p.t > 2**MIN_TAG_BITS


@pytest.mark.parametrize("bits", [41, 42, 43, 44, 45])
def test_plain_moduli_are_seals(bits):
    """The plain modulus is the batching prime that SEAL would choose."""
    assert batching_prime(bits) == seal.PlainModulus.Batching(2048, bits).value()


def test_ciphertext_modulus_is_seals():
    """The ciphertext modulus is the prime that SEAL would choose, and within the 128-bit security table."""
    assert batching_prime(54) == seal.CoeffModulus.Create(2048, [54])[0].value()
    assert seal.CoeffModulus.MaxBitCount(2048, seal.SEC_LEVEL_TYPE.TC128) == 54


@pytest.mark.parametrize(
    ("bits", "partners", "fields", "limit"), [(16, 16, 2, 3.45), (12, 8, 3, 2.3), (8, 16, 3, 2.3), (8, 8, 4, 1.75)]
)
def test_bytes_per_parameter(bits, partners, fields, limit):
    """An update takes fewer bytes than plain float32."""
    p = seal_parameters(SealSettings(bits=bits, max_partners=partners))
    assert p.fields == fields
    assert p.update_chunk_bytes / 2048 / p.fields < limit


@pytest.mark.parametrize(
    "change",
    [
        {"t": batching_prime(47)},
        {"t": batching_prime(40)},
        {"max_partners": 2},
        {"max_partners": 1000},
        {"width": 19},
        {"fields": 3},
        {"fields": 0},
        {"max_weight": 1 << 38},
        {"q": batching_prime(50)},
    ],
)
def test_parameters_without_margin_are_refused(change):
    """No parameters exist whose sums could come out wrong."""
    with pytest.raises(ParameterMismatch):
        dataclasses.replace(seal_parameters(SealSettings()), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 10},
        {"max_partners": 2},
        {"max_partners": 129},
        {"first_bound": 0.0},
        {"first_bound": float("nan")},
        {"first_bound": float("inf")},
        {"bound_factor": 0.5},
        {"bound_shrink": 0.0},
        {"bound_shrink": 1.5},
        {"min_bound": 0.0},
        {"min_bound": float("nan")},
        {"weights": "none"},
        {"max_weight": 0},
        {"max_weight": (1 << 32) + 1},
    ],
)
def test_impossible_settings_are_refused(change):
    """The message names the key and what was found."""
    with pytest.raises(ValueError, match=next(iter(change))):
        SealSettings(**change)


def test_slots_and_chunks():
    """Values, a weight and a tag always fit, and never with a chunk to spare."""
    p = seal_parameters(SealSettings())
    for n, chunks in ((1, 1), (2 * 2046, 1), (2 * 2046 + 1, 2), (2 * 2048, 2), (2 * 4094, 2), (2 * 4094 + 1, 3)):
        assert p.n_chunks(n) == chunks


def test_margin_is_checked_at_the_boundary():
    """The largest roster for a modulus is accepted, one more is not."""
    p = seal_parameters(SealSettings(bits=8, max_partners=8))
    n = (p.q // p.t - 2) // 43
    wide = {"width": 18, "fields": 2}
    prove_margin(dataclasses.replace(p, max_partners=n, **wide))
    with pytest.raises(ParameterMismatch, match="might not decrypt"):
        dataclasses.replace(p, max_partners=n + 1, **wide)
