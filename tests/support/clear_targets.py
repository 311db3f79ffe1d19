"""The sums of target models in one process and in the clear: the real parts, fixed point and steps.

What is left out cancels exactly: masks, tags, encryption and messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from partners.target_models.conjugate_gradients import Ridges, RidgeSettings
from partners.target_models.own_part import OwnPart
from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.sealing.fixed_point import make_grid, quantise

Floats = NDArray[np.float64]


def clear_ridges(
    parts: Mapping[str, OwnPart],
    n_targets: int,
    settings: RidgeSettings,
    after_step: Callable[[Ridges, float], None] | None = None,
    seal: SealSettings | None = None,
) -> Ridges:
    """The ridges of all targets after every step; `after_step` is told them and the share of clipped numbers.

    seal : bits of a number and most partners; all weigh the same. None: as shipped
    """
    parameters = seal_parameters(replace(seal or SealSettings(), weights="equal"))
    first = Ridges.first_bounds(n_targets, settings)
    total, clipped = _total(parts, parameters, 0, first, lambda part, target: part.values_part(target))
    ridges = Ridges.begin(total, settings)
    for step in range(1, settings.n_steps + 1):
        if after_step:
            after_step(ridges, clipped)
        direction = ridges.direction
        total, clipped = _total(
            parts,
            parameters,
            step,
            ridges.bounds,
            lambda part, target, direction=direction: part.product_part(target, direction[target]),
        )
        ridges = ridges.stepped(total)
    if after_step:
        after_step(ridges, clipped)
    return ridges


def _total(
    parts: Mapping[str, OwnPart],
    parameters: SealParameters,
    step: int,
    bounds: Floats,
    part_of: Callable[[OwnPart, int], Floats],
) -> tuple[Floats, float]:
    """The sum, (n_targets, n_features), of what the partners would seal, each target with its own step size."""
    n_features, total, n_clipped = _n_features(parts), list[Floats](), 0
    for target, bound in enumerate(bounds):
        grid = make_grid([slice(0, n_features)], np.array([bound]), parameters)
        integers = np.zeros(n_features)
        for name, part in parts.items():
            rng = np.random.default_rng([step, target, *name.encode()])
            sent, _, clipped = quantise(part_of(part, target).astype(np.float32), 0, grid, rng)
            integers += sent
            n_clipped += clipped
        total.append(integers * np.float64(grid.steps[0]))
    return np.array(total).reshape(-1, n_features), n_clipped / max(1, n_features * bounds.size * len(parts))


def _n_features(parts: Mapping[str, OwnPart]) -> int:
    return next(iter(parts.values())).hashes.n_features
