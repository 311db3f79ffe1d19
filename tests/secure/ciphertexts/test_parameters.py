"""Encryption parameters, and the proof that sums are exact."""

import dataclasses
from math import isqrt

import pytest
import tenseal.sealapi as seal
from hypothesis import given
from hypothesis import strategies as st

from secure.ciphertexts.parameters import (
    MIN_TAG_BITS,
    N_SLOTS,
    Q_BITS,
    SealSettings,
    largest_prime,
    prove_margin,
    seal_parameters,
)
from secure.errors import ParameterMismatch

settings = st.builds(
    SealSettings,
    bits=st.sampled_from([16, 12, 8]),
    max_partners=st.integers(3, 128),
    weights=st.sampled_from(["equal", "size"]),
    max_weight=st.integers(1, 1 << 32),
)


@given(settings)
def test_every_accepted_setting_has_its_margins(chosen):
    """Noise, fields, weights and tag have their margin for the largest roster."""
    p = seal_parameters(chosen)
    n = chosen.max_partners
    largest = n * (2**chosen.bits - 2)
    assert 2 * p.t * (21.5 * n + 1) < p.q
    assert largest < p.radix
    assert sum(largest * p.radix**field for field in range(p.fields)) < p.t
    assert n * p.max_weight < p.t
    assert p.t > 2**MIN_TAG_BITS


@pytest.mark.parametrize("bits", Q_BITS)
def test_ciphertext_moduli_are_seals(bits):
    """The ciphertext modulus is the prime that SEAL would choose, and within the 256-bit security table."""
    assert largest_prime((1 << bits) - 1, step=2 * N_SLOTS) == seal.CoeffModulus.Create(N_SLOTS, [bits])[0].value()
    assert seal.CoeffModulus.MaxBitCount(N_SLOTS, seal.SEC_LEVEL_TYPE.TC256) == 118


@given(st.integers(3, 1 << 20))
def test_largest_prime(most):
    """The largest prime is a prime, and no number between it and the bound is one."""
    prime = largest_prime(most)
    assert all(any(n % d == 0 for d in range(2, isqrt(n) + 1)) for n in range(prime + 1, most + 1))
    assert all(prime % d for d in range(2, isqrt(prime) + 1))


@pytest.mark.parametrize(
    ("bits", "partners", "fields", "limit"),
    [(16, 3, 3, 2.51), (16, 16, 2, 3.26), (12, 8, 3, 2.35), (8, 3, 5, 1.41), (8, 16, 4, 1.88)],
)
def test_bytes_per_parameter(bits, partners, fields, limit):
    """An update takes fewer bytes than plain float32."""
    p = seal_parameters(SealSettings(bits=bits, max_partners=partners))
    assert p.fields == fields
    assert p.update_chunk_bytes / N_SLOTS / p.fields < limit


@pytest.mark.parametrize(
    "change",
    [
        {"t": largest_prime(1 << 47)},
        {"t": largest_prime(1 << 40)},
        {"max_partners": 2},
        {"max_partners": 1000},
        {"radix": 1048544},
        {"fields": 3},
        {"fields": 0},
        {"max_weight": 1 << 38},
        {"q": largest_prime(1 << 49, step=2 * N_SLOTS)},
        {"q": largest_prime(1 << 53, step=2 * N_SLOTS)},
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
    """The chunks hold all values, the weight and the tag, with no chunk to spare."""
    p = seal_parameters(SealSettings())
    for n, chunks in ((1, 1), (2 * 8190, 1), (2 * 8190 + 1, 2), (2 * 8192, 2), (2 * 16382, 2), (2 * 16382 + 1, 3)):
        assert p.n_chunks(n) == chunks


def test_margin_is_checked_at_the_boundary():
    """The largest roster for a modulus is accepted, one more is not."""
    p = seal_parameters(SealSettings(bits=8, max_partners=8))
    n = (p.q // p.t - 2) // 43
    wide = {"radix": 1 << 18, "fields": 2}
    prove_margin(dataclasses.replace(p, max_partners=n, **wide))
    with pytest.raises(ParameterMismatch, match="might not decrypt"):
        dataclasses.replace(p, max_partners=n + 1, **wide)
