"""The ridges of all common targets by conjugate gradients (Hestenes and Stiefel 1952), step by step from opened sums.

Each partner takes the same steps from the same sums, so all must get the same bits on every machine. So there are only
elementwise operations in float64, results rounded once to float32, and sums by halving in a fixed order.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

# Bounds of what one partner may send. Too small a bound clips, too large a one costs precision.
_FACTOR = 8.0  # of a partner's product, over the largest of the sum before, for a direction of the same length
_LEAST = 1e-20  # a bound must not be 0; a target that nobody holds has such sums


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """What all partners must agree on for the ridges of common targets."""

    penalty: float = 0.3
    """Added to the diagonal; similarities are from 0 to 1."""

    n_steps: int = 10
    """Sums of products after the one sum of values; of the first only the size is used."""

    values_bound: float = 64.0
    """Largest |F'Cy| of a partner: log units times 1/32 of the compounds of a target; what is larger is clipped."""

    product_bound: float = 1000.0
    """Largest |F'CF v| of a partner in the first step, for a vector v whose largest entry is 1: with this coarse bound
    the size of the sum is found, and the step is done again with a bound that fits it.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Ridges:
    """The iteration after some sums; the same at every partner."""

    settings: RidgeSettings
    weights: Rows  # (n_targets, n_features) w
    residual: Rows  # sum F'Cy - (sum F'CF + penalty) w, as the iteration knows it
    direction: Rows  # whose product every partner computes next
    bounds: Floats  # (n_targets,) of the next sum
    squares: Floats  # (n_targets,) squared length of the residual
    n_sums: int = 1  # that were opened

    @classmethod
    def begin(cls, values: Floats, settings: RidgeSettings) -> Self:
        """Begin with the opened sum of values, (n_targets, n_features)."""
        residual = values.astype(np.float32)
        bounds = np.maximum(_largest(residual) * settings.product_bound, _LEAST)
        return cls(settings, np.zeros_like(residual), residual, residual.copy(), bounds, _squares(residual))

    @classmethod
    def first_bounds(cls, n_targets: int, settings: RidgeSettings) -> Floats:
        """Bounds of the sum of values, (n_targets,)."""
        return np.full(n_targets, settings.values_bound)

    def stepped(self, products: Floats) -> Self:
        """Take the next step, with the opened sum of all partners' products, (n_targets, n_features)."""
        if self.n_sums == 1:
            bounds = np.maximum(_FACTOR * np.abs(products).max(axis=1, initial=0), _LEAST)
            return replace(self, bounds=bounds, n_sums=2)
        weights, residual, direction = self.weights.copy(), self.residual.copy(), self.direction.copy()
        bounds, squares = self.bounds.copy(), self.squares.copy()
        for target, product in enumerate(products):
            old = direction[target].astype(np.float64)
            curved = product + self.settings.penalty * old
            curvature = halving_sum(old * curved)
            if not curvature > 0:  # nothing was sent, or rounding has eaten it: this target stays as it is
                continue
            length = squares[target] / curvature
            weights[target] = weights[target] + length * old
            left = (residual[target] - length * curved).astype(np.float32)
            square = halving_sum(left.astype(np.float64) ** 2)
            new = left + (square / squares[target]) * old
            growth = np.sqrt(halving_sum(new**2) / halving_sum(old**2))
            bounds[target] = max(_FACTOR * growth * float(np.abs(product).max()), _LEAST)
            residual[target], direction[target], squares[target] = left, new, square
        return type(self)(self.settings, weights, residual, direction, bounds, squares, self.n_sums + 1)


def halving_sum(numbers: Floats) -> float:
    """Sum of some numbers, (n,): halves are added elementwise until one is left, the same bits on every machine."""
    size = 1 << max(0, numbers.size - 1).bit_length()
    part = np.zeros(size)
    part[: numbers.size] = numbers
    while part.size > 1:
        half = part.size // 2
        part = part[:half] + part[half:]
    return float(part[0])


def _largest(rows: Rows) -> Floats:
    largest: Floats = np.abs(rows).max(axis=1, initial=0).astype(np.float64)
    return largest


def _squares(rows: Rows) -> Floats:
    return np.array([halving_sum(row.astype(np.float64) ** 2) for row in rows])
