"""Noise is normal and independent; batches are independent draws of each compound."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from partners.privacy.draws import KeyedNoise, poisson_batches


def _key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _normal(seed: int, n: int, deviation: float = 1.0) -> np.ndarray:
    values = torch.zeros(n)
    KeyedNoise(_key(seed)).add_to(values, deviation)
    return values.numpy()


def test_noise_is_normal():
    """300,000 numbers pass Kolmogorov and Smirnov's test, and have a normal's tails and moments."""
    values = _normal(1, 300_000).astype(np.float64)
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert stats.kstest(values**2, stats.chi2(1).cdf).pvalue > 1e-3
    for limit in (2, 3, 4):
        expected = values.size * 2 * stats.norm.sf(limit)
        assert abs(np.count_nonzero(np.abs(values) > limit) - expected) < 5 * expected**0.5 + 1


def test_noise_is_independent():
    """Neighbours, both numbers of a transform, and pieces do not depend on one another."""
    values = _normal(2, 1 << 18)
    for lag in (1, 2, 1 << 15, 1 << 16):
        assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < 5 / values.size**0.5
        assert abs(np.corrcoef(values[:-lag] ** 2, values[lag:] ** 2)[0, 1]) < 5 / values.size**0.5


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 200), deviation=st.floats(0.1, 10))
def test_noise_is_added_in_place_and_scaled(n: int, deviation: float):
    """Any length; the same key gives the same numbers, scaled, and the next call others."""
    noise, values = KeyedNoise(_key(12)), torch.full((n,), 5.0)
    noise.add_to(values, deviation)
    np.testing.assert_allclose(values.numpy() - 5, deviation * _normal(12, n), rtol=1e-4, atol=1e-5)
    again = torch.zeros(n)
    noise.add_to(again, 1.0)
    assert n == 0 or not np.array_equal(again.numpy(), _normal(12, n))


def test_batches_have_each_compound_with_the_same_chance():
    """Sizes are binomial, each row comes as often as others, and all rows come with a share of 1."""
    rows, share, n = np.arange(50, 150), 0.2, 3000
    stream = poisson_batches(rows, share, _key(7))
    batches = [next(stream) for _ in range(n)]
    sizes, counts = [batch.size for batch in batches], np.bincount(np.concatenate(batches), minlength=150)
    assert not counts[:50].any()
    assert stats.chisquare(counts[50:], np.full(100, counts.sum() / 100)).pvalue > 1e-3
    assert abs(np.mean(sizes) - 20) < 5 * 4 / n**0.5
    assert abs(np.var(sizes) / 16 - 1) < 5 * (2 / n) ** 0.5
    assert np.array_equal(next(poisson_batches(rows, 1.0, _key(7))), rows)
    assert not np.array_equal(batches[0], next(poisson_batches(rows, share, _key(8))))
    assert np.array_equal(batches[0], next(poisson_batches(rows, share, _key(7))))
    assert any(next(poisson_batches(rows[:3], 0.01, _key(seed))).size == 0 for seed in range(3))
