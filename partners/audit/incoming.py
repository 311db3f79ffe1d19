"""Sizes of the trunk that comes back from a sum, measured before training on it.

A sender that wants the others' compounds can plant a trunk in which a hidden unit answers to single compounds: their
gradients then stand in the next sum one by one (Fowl et al., "Robbing the Fed", ICLR 2022; Boenisch et al., "When the
Curious Abandon Honesty", EuroS&P 2023). Such a trunk differs from all before it in the sizes of single weights and
biases, or in units that a single compound switches on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.network.input_transform import transformed
from partners.network.trunk import TrunkLayout
from partners.settings import TrunkSettings

MOST_COMPOUNDS = 2000  # looked at for units of a single compound
_JUMP = 4.0  # times the largest value before
_TINY = np.finfo(np.float64).tiny
# natural sizes, below which a jump means nothing. In all rounds of the demo the largest unit is 1.03 to 1.10 times the
# median, biases are at most 0.03 of it, and no unit answers to a single compound.
_FLOORS = {"largest unit": 1.0, "largest bias": 0.1, "weights": 0.0, "units of one compound": 0.005}


@dataclass(frozen=True, slots=True)
class TrunkSizes:
    """Sizes in one trunk: of each layer, and of its first layer on own compounds."""

    round_no: int  # that begins with this trunk
    sizes: dict[str, float]  # by "layer 1, largest unit" and so on


def measure_trunk(
    round_no: int,
    vector: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    x: sparse.csr_matrix,
) -> TrunkSizes:
    """Measure a trunk.

    vector, layout        : of what is shared
    x                     : (n_compounds, columns in the vector) of own training compounds; the first 2,000 are used
    largest unit          : largest norm of a unit's weights over their median
    largest bias          : largest absolute bias over that median
    weights               : root mean square
    units of one compound : share of the first layer's units, beyond one, that exactly one compound switches on
    """
    views = layout.views(vector)
    sizes: dict[str, float] = {}
    for layer in range(len(layout.hidden)):
        sizes |= {f"layer {layer + 1}, {name}": size for name, size in _layer_sizes(views, layer)}
    if trunk_settings.non_linearity == "relu":
        sizes["layer 1, units of one compound"] = _share_of_one(views, trunk_settings, x)
    return TrunkSizes(round_no, sizes)


def jumps(before: Sequence[TrunkSizes], now: TrunkSizes) -> list[str]:
    """Warnings about sizes far outside those of earlier rounds; empty for a trunk like those before.

    before : of the same federation, the first trunk included. A size jumps if it exceeds four times the largest before.
    """
    texts = []
    for name, size in now.sizes.items():
        past = [look.sizes[name] for look in before if name in look.sizes]
        kind = name.split(", ")[1]
        most = max([*past, _FLOORS[kind]])
        if past and size > _JUMP * most:
            texts.append(f"{name}: found {size:.3g}, expected at most {_JUMP * most:.3g} after {max(past):.3g} before")
    return texts


def _layer_sizes(views: dict[str, NDArray[np.float32]], layer: int) -> Iterator[tuple[str, float]]:
    weight, bias = views[f"trunk.{layer}.weight"], views[f"trunk.{layer}.bias"]
    unit = "ij,ij->j" if layer == 0 else "ij,ij->i"  # the first has inputs as rows
    squares = np.einsum(unit, weight, weight, dtype=np.float64)
    norms = np.sqrt(squares)
    middle = max(float(np.median(norms)), _TINY)
    yield "largest unit", float(norms.max()) / middle
    yield "largest bias", float(np.abs(bias).max()) / middle
    yield "weights", float(np.sqrt(squares.sum() / weight.size))


def _share_of_one(views: dict[str, NDArray[np.float32]], trunk_settings: TrunkSettings, x: sparse.csr_matrix) -> float:
    rows = transformed(x[:MOST_COMPOUNDS], trunk_settings.input_transform)
    is_on = rows @ views["trunk.0.weight"] + views["trunk.0.bias"] > 0
    n_units = int((is_on.sum(axis=0) == 1).sum())
    return float(max(0, n_units - 1) / is_on.shape[1])
