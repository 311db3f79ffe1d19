"""What stays at a partner between rounds: its heads and the state of its optimiser."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.errors import StateMismatch
from partners.trunk import TrunkLayout

HEAD_WEIGHT = "classification.weight"  # (n_tasks, last hidden layer)
HEAD_BIAS = "classification.bias"  # (n_tasks,)

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class PartnerState:
    """Private heads and Adam's moments of trunk and heads. Head rows identify targets: they never leave the partner.

    heads         : HEAD_WEIGHT and HEAD_BIAS
    first_moment  : Adam's running mean of the gradient, for every trunk tensor and head
    second_moment : Adam's running mean of the squared gradient, same names
    n_steps       : optimiser steps taken so far, over all rounds
    """

    heads: Arrays
    first_moment: Arrays
    second_moment: Arrays
    n_steps: int

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.heads[HEAD_BIAS].shape[0])


def head_shapes(layout: TrunkLayout, n_tasks: int) -> dict[str, tuple[int, ...]]:
    """Shape of every head tensor by name."""
    return {HEAD_WEIGHT: (n_tasks, layout.hidden[-1]), HEAD_BIAS: (n_tasks,)}


def parameter_shapes(layout: TrunkLayout, n_tasks: int) -> dict[str, tuple[int, ...]]:
    """Shape of every trunk tensor and head by name, in the optimiser's order."""
    return {tensor.name: tensor.shape for tensor in layout.tensors} | head_shapes(layout, n_tasks)


def initial_heads(layout: TrunkLayout, n_tasks: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Fresh heads: weights uniform in +-1/sqrt(last hidden layer), biases zero."""
    shapes = head_shapes(layout, n_tasks)
    unit = rng.random(shapes[HEAD_WEIGHT], dtype=np.float32) * 2 - 1
    return {
        HEAD_WEIGHT: unit * np.float32(layout.hidden[-1] ** -0.5),
        HEAD_BIAS: np.zeros(shapes[HEAD_BIAS], dtype=np.float32),
    }


def check_state(state: PartnerState, layout: TrunkLayout, n_tasks: int) -> None:
    """Raise StateMismatch unless the state fits this trunk and this number of tasks."""
    _check_arrays("heads", state.heads, head_shapes(layout, n_tasks))
    _check_arrays("first moment", state.first_moment, parameter_shapes(layout, n_tasks))
    _check_arrays("second moment", state.second_moment, parameter_shapes(layout, n_tasks))


def _check_arrays(part: str, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    found = {name: array.shape for name, array in arrays.items()}
    for name in sorted(found.keys() | shapes.keys()):
        if found.get(name) != shapes.get(name):
            raise StateMismatch(
                f"partner state: {part} {name} has shape {found.get(name)}, expected {shapes.get(name)} "
                f"for this trunk and number of tasks"
            )
        if arrays[name].dtype != np.float32:
            raise StateMismatch(f"partner state: {part} {name} is {arrays[name].dtype}, expected float32")
