"""Convert float vectors to integers of a few bits: stochastic rounding, clipping, error feedback, adaptive bounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from secure.ciphertexts.parameters import SealParameters, SealSettings
from secure.errors import UpdateOutOfRange


@dataclass(frozen=True, slots=True)
class Grid:
    """The fixed-point grid of a trunk: one step size per tensor."""

    slices: tuple[slice, ...]  # of the tensors in the vector; they tile it in order
    steps: np.ndarray  # (n_tensors,) float32
    limit: int  # largest magnitude in steps

    @property
    def n_params(self) -> int:
        """Length of the vector."""
        return int(self.slices[-1].stop)

    def tensors(self, start: int, stop: int) -> list[tuple[slice, np.float32]]:
        """Return the part of each tensor within [start, stop), as a slice relative to start, and its step size."""
        return [
            (slice(max(s.start, start) - start, min(s.stop, stop) - start), step)
            for s, step in zip(self.slices, self.steps, strict=True)
            if s.start < stop and s.stop > start
        ]


def make_grid(slices: Sequence[slice], bounds: np.ndarray, parameters: SealParameters) -> Grid:
    """Return the grid whose step sizes are bound / limit.

    slices : tile [0, n_params) in order; bounds : (n_tensors,), largest change of a parameter of each tensor.
    Raises UpdateOutOfRange for a gap, an overlap, or a bound that is not finite and positive.
    """
    stops = [0, *(s.stop for s in slices)]
    if not slices or [s.start for s in slices] != stops[:-1] or any(s.step not in (None, 1) for s in slices):
        raise UpdateOutOfRange("the slices of the tensors do not tile the vector in order")
    if any(s.stop <= s.start for s in slices):
        raise UpdateOutOfRange("a tensor of the trunk is empty")
    checked = np.asarray(bounds, dtype=np.float64)
    if checked.shape != (len(slices),) or not (np.isfinite(checked) & (checked > 0)).all():
        raise UpdateOutOfRange(f"bounds: shape {checked.shape}, expected {len(slices)} finite positive numbers")
    with np.errstate(over="ignore"):
        steps = (checked / parameters.limit).astype(np.float32)
    if not (np.isfinite(steps) & (steps >= np.finfo(np.float32).tiny)).all():
        raise UpdateOutOfRange("bounds: too small or too large for float32 steps")
    return Grid(tuple(slices), steps, parameters.limit)


def quantise(
    target: np.ndarray, start: int, grid: Grid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Round to the grid stochastically, with zero mean error, and clip at the limit.

    target : (m,) float32, the vector's values from position `start` on
    Returns the integers (m,) float32 in [-limit, limit], the residual target - integers * step (m,) float32, and the
    number of clipped values. Raises UpdateOutOfRange for NaN or infinity.
    """
    values, pieces = np.empty_like(target), grid.tensors(start, start + target.size)
    with np.errstate(over="ignore", invalid="ignore"):
        for piece, step in pieces:
            np.divide(target[piece], step, out=values[piece])
        # NaN and infinity survive this sum, and nothing in float64 overflows from float32 values
        is_finite = np.isfinite(values.sum(dtype=np.float64))
    if not is_finite:
        raise UpdateOutOfRange(f"parameters {start} to {start + target.size}: NaN, infinity, or far beyond the bound")
    below = np.floor(values)
    # The chance of rounding up is right to 2^-24: the random numbers are multiples of it, and the difference is exact
    # but for values just below zero, where it is rounded by at most 2^-25. The residual carries this error.
    values -= below
    below += rng.random(target.size, dtype=np.float32) < values
    n_clipped = int(np.count_nonzero(np.abs(below) > grid.limit))
    np.clip(below, -grid.limit, grid.limit, out=below)
    for piece, step in pieces:
        np.multiply(below[piece], step, out=values[piece])
    np.subtract(target, values, out=values)
    return below, values, n_clipped


def first_bounds(n_tensors: int, settings: SealSettings) -> np.ndarray:
    """Return the bounds of round one, (n_tensors,) float64."""
    return np.full(n_tensors, settings.first_bound)


def next_bounds(
    mean_change: np.ndarray, slices: Sequence[slice], bounds: np.ndarray, settings: SealSettings, n_members: int
) -> np.ndarray:
    """Return the bounds of the next round, (n_tensors,) float64, from the mean update that all partners opened.

    mean_change : (n_params,) in sent units, OpenedSum.sent_mean: the mean of what the members sent, which with weights
        is the mean change x weight_total / (max_weight x n_members). The mean change itself would keep the bounds far
        too wide for the sent values, which would then be lost in rounding.
    n_members : of the roster
    bound_factor x n_members x the largest mean change of the tensor, but at least bound_shrink x the bound before and
    min_bound. A parameter that one partner alone changes, by a feature only it has, has n_members times the mean.
    If partners' changes cancel, each may be larger still: a clipped part is carried to the next round, and a clipped
    tensor's bound grows. Only maxima and products in float64: the same bits on every machine.
    Raises UpdateOutOfRange for NaN or infinity.
    """
    largest = np.array([max(float(mean_change[s].max()), -float(mean_change[s].min())) for s in slices])
    if not np.isfinite(largest).all():
        raise UpdateOutOfRange("mean change: holds NaN or infinity")
    floor = np.maximum(np.asarray(bounds, dtype=np.float64) * settings.bound_shrink, settings.min_bound)
    return np.maximum(largest * (settings.bound_factor * n_members), floor)
