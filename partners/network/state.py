"""Private state of a partner between rounds: its heads and the state of its optimiser."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partners.errors import StateMismatch
from partners.network.trunk import TrunkLayout
from partners.settings import Training
from partners.training_data.aligned_arrays import copied, empty, zeros
from partners.training_data.training_set import TrainingSet

CLASSIFICATION, REGRESSION = "classification", "regression"  # the kinds of heads, in this order everywhere
HEAD_WEIGHT = "classification.weight"  # (n_tasks, width of the layer's input): a row for each task
HEAD_BIAS = "classification.bias"  # (n_tasks,)
FIRST, SECOND = "first_moment", "second_moment"  # the optimiser's parts of a partner's state
MEAN, DEVIATION = "mean", "deviation"  # (n_regressions,) each, of the values a regression head was trained on

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class HeadSizes:
    """Number of outputs of every layer of each head, the number of tasks last; empty for a kind without tasks."""

    classification: tuple[int, ...] = ()
    regression: tuple[int, ...] = ()

    @classmethod
    def of(cls, training_set: TrainingSet, training: Training) -> "HeadSizes":
        """Sizes of heads for these tasks, with the extra layers of the settings."""
        n_classes, n_regressions = training_set.n_tasks, training_set.n_regressions
        return cls(
            (*training.classification.hidden, n_classes) if n_classes else (),
            (*training.regression.hidden, n_regressions) if n_regressions else (),
        )

    @classmethod
    def from_heads(cls, heads: Arrays) -> "HeadSizes":
        """Read the sizes from the heads' tensors; `check_state` checks that they fit together."""
        return cls(*(tuple(_layer_sizes(heads, kind)) for kind in (CLASSIFICATION, REGRESSION)))

    def layers(self, kind: str, n_inputs: int) -> Iterator[tuple[str, int, int]]:
        """Name, inputs and outputs of every layer of one kind; the last is `classification` or `regression`."""
        sizes = self.classification if kind == CLASSIFICATION else self.regression
        for i, n_outputs in enumerate(sizes):
            yield (kind if i == len(sizes) - 1 else f"{kind}.hidden.{i}"), n_inputs, n_outputs
            n_inputs = n_outputs


def _layer_sizes(heads: Arrays, kind: str) -> Iterator[int]:
    n_hidden = len({name.split(".")[2] for name in heads if name.startswith(f"{kind}.hidden.")})
    for layer in (*(f"{kind}.hidden.{i}" for i in range(n_hidden)), kind):
        tensor = heads.get(f"{layer}.bias", heads.get(f"{layer}.weight"))
        if tensor is not None:
            yield int(tensor.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class PartnerState:
    """What stays at a partner between rounds: its heads, its optimiser's moments and its private input columns.

    Head rows identify targets, and columns that few hold identify compounds: they never leave the partner.

    heads         : weight and bias of every head layer, see `head_shapes`
    first_moment  : running mean of the gradient (Adam) or last step (SGD), for every trunk tensor and head, or empty
    second_moment : Adam's running mean of the squared gradient, same names, or empty
    n_steps       : optimiser steps taken so far, over all rounds
    normalisation : MEAN and DEVIATION of every regression task's values; empty without regression
    columns       : (n_own, hidden[0]) input columns that are not taken from the shared vector, ascending; None if they
                    are not kept apart from the trunk
    """

    heads: Arrays
    first_moment: Arrays
    second_moment: Arrays
    n_steps: int
    normalisation: Arrays = field(default_factory=dict)
    columns: NDArray[np.float32] | None = None

    def copied(self) -> "PartnerState":
        """Copy heads, moments and columns into new memory."""
        heads, first, second = (
            {name: copied(array) for name, array in arrays.items()}
            for arrays in (self.heads, self.first_moment, self.second_moment)
        )
        columns = None if self.columns is None else copied(self.columns)
        return PartnerState(heads, first, second, self.n_steps, self.normalisation, columns)

    @property
    def sizes(self) -> HeadSizes:
        """Sizes of the heads."""
        return HeadSizes.from_heads(self.heads)

    @property
    def n_tasks(self) -> int:
        """Number of classification tasks."""
        return int(self.heads[HEAD_BIAS].shape[0]) if HEAD_BIAS in self.heads else 0

    @property
    def n_regressions(self) -> int:
        """Number of regression tasks."""
        return int(self.normalisation[MEAN].shape[0]) if self.normalisation else 0


def head_shapes(layout: TrunkLayout, sizes: HeadSizes) -> dict[str, tuple[int, ...]]:
    """Shape of every head tensor by name; a weight is (outputs, inputs)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for kind in (CLASSIFICATION, REGRESSION):
        for name, n_inputs, n_outputs in sizes.layers(kind, layout.hidden[-1]):
            shapes |= {f"{name}.weight": (n_outputs, n_inputs), f"{name}.bias": (n_outputs,)}
    return shapes


def parameter_shapes(layout: TrunkLayout, sizes: HeadSizes) -> dict[str, tuple[int, ...]]:
    """Shape of every trunk tensor and head by name, in the optimiser's order."""
    return {tensor.name: tensor.shape for tensor in layout.trunk.tensors} | head_shapes(layout, sizes)


def initial_heads(layout: TrunkLayout, sizes: HeadSizes, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Heads before any training: weights uniform in +-1/sqrt(inputs of the layer), biases zero."""
    heads: dict[str, NDArray[np.float32]] = {}
    for name, shape in head_shapes(layout, sizes).items():
        if name.endswith(".weight"):
            heads[name] = rng.random(out=empty(shape), dtype=np.float32)
            heads[name] *= 2
            heads[name] -= 1
            heads[name] *= np.float32(shape[1] ** -0.5)
        else:
            heads[name] = zeros(shape)
    return heads


def moment_names(training: Training) -> tuple[str, ...]:
    """Names of the moments that this optimiser keeps in a partner's state."""
    if training.optimiser in {"adam", "adamw"}:
        return (FIRST, SECOND)
    return (FIRST,) if training.momentum else ()


def fresh_state(heads: Arrays, normalisation: Arrays, layout: TrunkLayout, training: Training) -> PartnerState:
    """State of these heads with an optimiser before its first step."""
    shapes = parameter_shapes(layout, HeadSizes.from_heads(heads))
    kept = moment_names(training)
    first, second = (
        {name: zeros(shape) for name, shape in shapes.items()} if part in kept else {} for part in (FIRST, SECOND)
    )
    return PartnerState(heads, first, second, n_steps=0, normalisation=normalisation)


def check_state(state: PartnerState, layout: TrunkLayout, sizes: HeadSizes) -> None:
    """Raise StateMismatch unless the state fits this trunk and these heads."""
    _check_arrays("heads", state.heads, head_shapes(layout, sizes))
    for part, moments in (("first moment", state.first_moment), ("second moment", state.second_moment)):
        if moments:
            _check_arrays(part, moments, parameter_shapes(layout, sizes))
    tasks = sizes.regression[-1:]
    _check_arrays("normalisation", state.normalisation, dict.fromkeys((MEAN, DEVIATION), tasks) if tasks else {})


def _check_arrays(part: str, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    held = {name: array.shape for name, array in arrays.items()}
    for name in sorted(held.keys() | shapes.keys()):
        if held.get(name) != shapes.get(name):
            raise StateMismatch(
                f"partner state: {part} {name} has shape {held.get(name)}, expected {shapes.get(name)} "
                f"for this trunk and number of tasks"
            )
        if arrays[name].dtype != np.float32:
            raise StateMismatch(f"partner state: {part} {name} is {arrays[name].dtype}, expected float32")
