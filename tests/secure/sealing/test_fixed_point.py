"""Stochastic rounding, clipping, error feedback and the rule of bounds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure.ciphertexts.parameters import SealSettings, seal_parameters
from secure.errors import UpdateOutOfRange
from secure.sealing.fixed_point import first_bounds, make_grid, next_bounds, quantise

PARAMETERS = {bits: seal_parameters(SealSettings(bits=bits)) for bits in (16, 12, 8)}


def grid_of(sizes, bounds, bits=16):
    stops = np.cumsum([0, *sizes])
    slices = [slice(int(a), int(b)) for a, b in pairwise(stops)]
    return make_grid(slices, np.array(bounds), PARAMETERS[bits])


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from([16, 12, 8]), st.floats(1e-6, 1e3), st.floats(0.01, 3))
def test_conservation(seed, bits, bound, spread):
    """Sent values and residual add up to the target, clipped or not, up to counted float32 roundings."""
    rng = np.random.default_rng(seed)
    grid = grid_of([30, 70], [bound, 3 * bound], bits)
    steps = np.repeat(grid.steps.astype(np.float64), [30, 70])
    residual, sent, wanted, roundings = np.zeros(100, np.float32), np.zeros(100), np.zeros(100), np.zeros(100)
    for _ in range(5):
        change = (rng.standard_normal(100) * bound * spread).astype(np.float32)
        target = change + residual
        integers, residual, _ = quantise(target, 0, grid, rng)
        sent += integers * steps
        wanted += change
        roundings += 2.0**-24 * (np.abs(target) + np.abs(integers * steps) + np.abs(residual))
    assert (np.abs(sent + residual - wanted) <= roundings * (1 + 1e-6)).all()


class Chance:
    """A random generator that returns given numbers."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers

    def random(self, size: int, dtype: type) -> np.ndarray:
        """Return the given numbers."""
        assert (size, dtype) == (self._numbers.size, np.float32)
        return self._numbers


@given(st.sampled_from([16, 12, 8]), st.floats(-1, 1, width=32))
def test_expectation_is_exact(bits, share):
    """The share of the generator's 2^24 numbers that round up equals the fraction of the value within 2^-23."""
    grid = grid_of([1], [float(PARAMETERS[bits].limit)], bits)  # the step is 1
    value = np.array([share * (grid.limit - 1)], dtype=np.float32)
    below = np.floor(value)
    fraction = value - below  # exact but just below zero
    n_up = np.ceil(fraction.astype(np.float64) * 2**24)  # numbers below it: 0, 2^-24, ...
    assert abs(n_up / 2**24 - (value.astype(np.float64) - below)) <= 2**-23
    for position, rounded in ((n_up - 1, below + 1), (n_up, below)):
        if 0 <= position < 2**24:
            chance = Chance((position / 2**24).astype(np.float32))
            assert quantise(value, 0, grid, chance)[0] == rounded


@pytest.mark.parametrize("bits", [16, 12, 8])
def test_unbiased(bits):
    """The mean of many roundings is within five standard errors of the value, near zero as near the limit."""
    limit, n = PARAMETERS[bits].limit, 100_000
    grid, rng = grid_of([n], [float(limit)], bits), np.random.default_rng(bits)
    for value in (0.001, 0.3, -0.5, 10.25, -100.9, limit - 0.5, -(limit - 0.0625)):
        exact = np.float32(value)
        fraction = float(exact - np.floor(exact))
        mean = quantise(np.full(n, exact), 0, grid, rng)[0].mean(dtype=np.float64)
        assert abs(mean - float(exact)) <= 5 * np.sqrt(fraction * (1 - fraction) / n)


def test_neighbours_only():
    """A value is rounded to one of its two neighbours, and a value on the grid to itself."""
    grid, rng = grid_of([1000], [1.0], 8), np.random.default_rng(1)
    values = rng.uniform(-1, 1, 1000).astype(np.float32)
    integers, residual, n_clipped = quantise(values, 0, grid, rng)
    assert np.abs(residual).max() <= grid.steps[0] * 1.0001
    on_grid = (integers * grid.steps[0]).astype(np.float32)
    assert n_clipped == 0
    np.testing.assert_allclose(quantise(on_grid, 0, grid, rng)[1], 0, atol=float(grid.steps[0]) * 1.001)


def test_clipping_is_counted_and_carried():
    """A value beyond the bound is clipped and counted, and the excess is in the residual."""
    grid = grid_of([4], [0.5])
    values = np.array([2.0, -3.0, 0.1, 0.5], dtype=np.float32)
    integers, residual, n_clipped = quantise(values, 0, grid, np.random.default_rng(0))
    assert n_clipped == 2
    assert integers[0] == grid.limit == -integers[1]
    np.testing.assert_allclose(residual[:2], [1.5, -2.5], rtol=1e-5)


def test_each_tensor_has_its_step():
    """Blocks that begin inside a tensor use the right steps."""
    grid, rng = grid_of([3, 5, 2], [1.0, 10.0, 100.0]), np.random.default_rng(0)
    vector = np.array([1] * 3 + [10] * 5 + [100] * 2, dtype=np.float32)
    for start, stop in ((0, 10), (2, 9), (4, 7), (8, 10), (3, 8)):
        integers, _, _ = quantise(vector[start:stop], start, grid, rng)
        np.testing.assert_allclose(integers, grid.limit, atol=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    """A vector with one NaN or infinity at any position is refused."""
    values = np.ones(1000, np.float32)
    values[617] = bad
    with pytest.raises(UpdateOutOfRange):
        quantise(values, 0, grid_of([1000], [1.0]), np.random.default_rng(0))


def test_opposite_infinities_are_refused():
    """Infinities of both signs do not cancel in the check."""
    with pytest.raises(UpdateOutOfRange):
        quantise(np.array([np.inf, -np.inf], np.float32), 0, grid_of([2], [1.0]), np.random.default_rng(0))


@pytest.mark.parametrize("bounds", [[0.0], [-1.0], [np.nan], [np.inf], [1.0, 1.0], [], [1e-44], [1e300]])
def test_bad_bounds_are_refused(bounds):
    """Bounds are finite, positive, one for each tensor, and leave a float32 step."""
    with pytest.raises(UpdateOutOfRange):
        grid_of([4], bounds)


@pytest.mark.parametrize(
    "slices",
    [[], [slice(1, 4)], [slice(0, 2), slice(3, 4)], [slice(0, 3), slice(2, 4)], [slice(0, 0)], [slice(0, 4, 2)]],
)
def test_slices_that_do_not_tile_are_refused(slices):
    """Slices that leave a gap, overlap or are empty are refused."""
    with pytest.raises(UpdateOutOfRange):
        make_grid(slices, np.ones(len(slices)), PARAMETERS[16])


def test_bound_rule():
    """The next bound is factor x members x the largest mean change, but falls slowly and never to zero."""
    chosen = SealSettings(bound_factor=2, bound_shrink=0.25, min_bound=1e-6)
    mean = np.array([0.1, -0.2, 0.0, 0.0, 1e-9], dtype=np.float32)
    slices = [slice(0, 2), slice(2, 4), slice(4, 5)]
    bounds = next_bounds(mean, slices, np.array([0.1, 0.4, 2e-6]), chosen, 5)
    np.testing.assert_array_equal(bounds, [10 * float(np.float32(0.2)), 0.1, 1e-6])
    np.testing.assert_array_equal(first_bounds(3, chosen), [0.1] * 3)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20),
    st.floats(1e-8, 1e3),
    st.floats(1, 10),
    st.integers(3, 16),
)
def test_laws_of_the_bounds(shares, bound, factor, n):
    """Bounds are the same for all, make a grid, hold any lone change, grow by factor x n at most, shrink by the share.

    For any mean within the bound, which is all that open_sum lets through.
    """
    chosen, slices = SealSettings(bound_factor=factor), [slice(0, len(shares))]
    bounds = np.array([bound])
    for _ in range(5):
        mean = np.array(shares, np.float32) * np.float32(bounds[0])
        following = next_bounds(mean, slices, bounds, chosen, n)
        np.testing.assert_array_equal(following, next_bounds(mean[::-1], slices, bounds.copy(), chosen, n))
        make_grid(slices, following, PARAMETERS[16])
        assert following[0] >= n * float(np.abs(mean).max())
        assert following[0] >= max(chosen.min_bound, bounds[0] * chosen.bound_shrink)
        assert following[0] <= max(chosen.min_bound, bounds[0] * factor * n * (1 + 2**-22))
        bounds = following


def test_bound_rule_refuses_nan():
    """A NaN in the mean update does not become a bound."""
    with pytest.raises(UpdateOutOfRange):
        next_bounds(np.array([np.nan, 1]), [slice(0, 2)], np.ones(1), SealSettings(), 3)
