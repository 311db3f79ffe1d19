"""Trunk and heads as torch tensors: forward, loss and gradients of one batch (SparseChem's semantics).

x (sparse) -> input layer -> (non-linearity, dropout, linear)* = the trunk's output, and from it for each kind of head
(non-linearity, dropout, linear)+. Losses on the observed labels only, each times its weight, summed, divided by the
number of compounds in the step: binary cross entropy and censored squared error.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.batches import Batch, Targets
from partners.kernels import ObservedOutputs, SparseRows, rows_times, rows_times_into
from partners.settings import ClassificationHead, NonLinearity, Training, TrunkSettings
from partners.state import CLASSIFICATION, REGRESSION, Arrays, HeadSizes
from partners.trunk import TrunkLayout

_INPUT_WEIGHT, _INPUT_BIAS = "trunk.0.weight", "trunk.0.bias"
_FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh}


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Let torch compute with this many threads inside the block; the only place that touches torch's thread count."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class NonLinearities:
    """Which function follows the layers of each part."""

    trunk: NonLinearity = "relu"
    classification: NonLinearity = "relu"
    regression: NonLinearity = "tanh"

    @classmethod
    def of(cls, trunk: TrunkSettings, training: Training) -> "NonLinearities":
        """As the plan and the partner's settings say."""
        return cls(trunk.non_linearity, training.classification.non_linearity, training.regression.non_linearity)


class Network:
    """All weights of one partner's network as torch tensors of its own, in `parameter_shapes` order."""

    def __init__(
        self,
        layout: TrunkLayout,
        trunk: NDArray[np.float32],
        heads: Arrays,
        non_linearities: NonLinearities = NonLinearities(),
    ) -> None:
        arrays: Mapping[str, NDArray[np.float32]] = layout.views(trunk) | dict(heads)
        self.layout = layout
        self.parameters = {name: torch.tensor(array).requires_grad_() for name, array in arrays.items()}
        sizes = HeadSizes.found_in(heads)
        self._head_layers = {
            kind: [name for name, _, _ in sizes.layers(kind, layout.hidden[-1])]
            for kind in (CLASSIFICATION, REGRESSION)
        }
        self._trunk_function = _FUNCTIONS[non_linearities.trunk]
        self._head_functions = {
            CLASSIFICATION: _FUNCTIONS[non_linearities.classification],
            REGRESSION: _FUNCTIONS[non_linearities.regression],
        }
        # autograd stops before the input layer: its gradient has the trunk's size and is written into this one buffer
        self._input_gradient = torch.zeros(layout.tensors[0].shape)

    def trunk(self) -> NDArray[np.float32]:
        """Trunk weights as one flat vector (n_params,), a copy."""
        return np.concatenate([self.array(tensor.name).ravel() for tensor in self.layout.tensors])

    def array(self, name: str) -> NDArray[np.float32]:
        """One tensor as an array that shares its memory."""
        array: NDArray[np.float32] = self.parameters[name].detach().numpy()
        return array

    def input_layer(self, x: SparseRows) -> torch.Tensor:
        """Sparse x (n, n_inputs) through the first layer: (n, hidden[0]), outside autograd."""
        with torch.no_grad():
            return rows_times(x, self.parameters[_INPUT_WEIGHT]).add_(self.parameters[_INPUT_BIAS])

    def trunk_output(self, first: torch.Tensor, dropout: "Dropout | None" = None) -> torch.Tensor:
        """First layer's output (n, hidden[0]) to the trunk's, (n, hidden[-1]), before any head's non-linearity."""
        hidden = first
        for i in range(1, len(self.layout.hidden)):
            hidden = self._trunk_function(hidden)
            if dropout is not None:
                hidden = dropout.apply(hidden, dropout.trunk[i - 1])
            hidden = self._linear(hidden, f"trunk.{i}")
        return hidden

    def outputs(self, x: SparseRows) -> dict[str, torch.Tensor]:
        """Logits (n, n_tasks) and regression outputs (n, n_regressions) by kind of head, without dropout."""
        with torch.no_grad():
            hidden = self.trunk_output(self.input_layer(x))
            return {
                kind: self._linear(self._head_input(kind, hidden, None), kind)
                for kind, layers in self._head_layers.items()
                if layers
            }

    def loss_and_gradients(self, parts: Iterable[Batch], n_compounds: int, dropout: "Dropout | None" = None) -> float:
        """Loss of one optimiser step's batches together; leaves its gradient in the parameters' `grad`.

        parts        : computed one after the other, gradients added up, so that memory is that of the largest
        n_compounds  : in all parts; the summed loss is divided by it
        """
        for parameter in self.parameters.values():
            parameter.grad = None
        total = 0.0
        for i, batch in enumerate(parts):
            total += self._add_part(batch, n_compounds, dropout, is_first=i == 0)
        return total

    def _add_part(self, batch: Batch, n_compounds: int, dropout: "Dropout | None", *, is_first: bool) -> float:
        first = self.input_layer(batch.x).requires_grad_()
        loss = self._summed_loss(self.trunk_output(first, dropout), batch, dropout) / n_compounds
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
        slope = first.grad
        if slope is None:  # pragma: no cover -- backward always fills a leaf
            raise AssertionError("backward left no gradient at the input layer")
        rows_times_into(self._input_gradient, batch.x_transposed, slope, add=not is_first)
        bias_slope = slope.sum(dim=0)
        before = self.parameters[_INPUT_BIAS].grad
        self.parameters[_INPUT_WEIGHT].grad = self._input_gradient
        self.parameters[_INPUT_BIAS].grad = bias_slope if before is None else before + bias_slope
        return float(loss.detach())

    def _summed_loss(self, hidden: torch.Tensor, batch: Batch, dropout: "Dropout | None") -> torch.Tensor:
        losses = []
        if batch.classification is not None:
            targets = batch.classification
            logits = self._observed(CLASSIFICATION, hidden, targets, dropout)
            losses.append(
                torch.nn.functional.binary_cross_entropy_with_logits(
                    logits, targets.values, weight=targets.weights, reduction="sum"
                )
            )
        if batch.regression is not None:
            targets = batch.regression
            predicted = self._observed(REGRESSION, hidden, targets, dropout)
            losses.append((censored_squares(predicted, targets.values, targets.censoring) * targets.weights).sum())
        return losses[0] if len(losses) == 1 else losses[0] + losses[1]

    def _observed(self, kind: str, hidden: torch.Tensor, targets: Targets, dropout: "Dropout | None") -> torch.Tensor:
        hidden = self._head_input(kind, hidden, dropout)
        last = (self.parameters[f"{kind}.weight"], self.parameters[f"{kind}.bias"])
        outputs: torch.Tensor = ObservedOutputs.apply(hidden, *last, targets.pattern)  # type: ignore[no-untyped-call]
        return outputs

    def _head_input(self, kind: str, hidden: torch.Tensor, dropout: "Dropout | None") -> torch.Tensor:
        """Trunk's output (n, hidden[-1]) to what the last layer of a head multiplies: after function and dropout."""
        layers = self._head_layers[kind]
        for i, layer in enumerate(layers):
            hidden = self._head_functions[kind](hidden)
            if dropout is not None:
                hidden = dropout.apply(hidden, dropout.heads[kind][i])
            if i < len(layers) - 1:
                hidden = self._linear(hidden, layer)
        return hidden

    def _linear(self, hidden: torch.Tensor, layer: str) -> torch.Tensor:
        return torch.nn.functional.linear(hidden, self.parameters[f"{layer}.weight"], self.parameters[f"{layer}.bias"])


def censored_squares(predicted: torch.Tensor, measured: torch.Tensor, censoring: torch.Tensor | None) -> torch.Tensor:
    """Squared error of every value, 0 for a censored one whose prediction lies on the right side of the bound.

    predicted, measured : (n_labels,)
    censoring           : (n_labels,) -1 the true value is below `measured`, 0 exact, +1 above; None: all exact
    """
    miss = measured - predicted
    if censoring is not None:
        miss = torch.where(censoring == 0, miss, torch.relu(censoring * miss))
    return miss * miss


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Random zeros in the hidden activations; what is kept is scaled so that the mean stays."""

    trunk: tuple[float, ...]  # share dropped after each trunk layer but the last
    heads: Mapping[str, tuple[float, ...]]  # by kind: share dropped of the trunk's output, then after each extra layer
    rng: np.random.Generator

    @classmethod
    def of(cls, trunk: TrunkSettings, training: Training, rng: np.random.Generator) -> "Dropout":
        """Dropout as the plan and the partner's settings say."""
        *between, last = trunk.dropouts
        entry = last if training.head_dropout is None else training.head_dropout

        def shares(head: ClassificationHead) -> tuple[float, ...]:
            return (entry if head.dropout is None else head.dropout, *(head.dropouts or (0.0,) * len(head.hidden)))

        heads = {CLASSIFICATION: shares(training.classification), REGRESSION: shares(training.regression)}
        return cls(tuple(between), heads, rng)

    def apply(self, hidden: torch.Tensor, share: float) -> torch.Tensor:
        """Activations (n, n_units) with a fresh mask; no chance is drawn where nothing is dropped."""
        if share == 0:
            return hidden
        # 16 random bits a unit: 15 times cheaper than torch's bernoulli_, and exact to 2^-16 in the share
        threshold = round(share * 2**16)
        kept = self.rng.integers(0, 2**16, size=tuple(hidden.shape), dtype=np.uint16) >= threshold
        return hidden * torch.from_numpy(kept) * (2**16 / (2**16 - threshold))
