"""Trunk and heads as torch tensors: forward, loss and gradients of one batch (SparseChem's semantics).

x (sparse) -> input layer -> (non-linearity, dropout, linear)* = the trunk's output, and from it for each kind of head
(non-linearity, dropout, linear)+. Losses on the observed labels only, each times its weight, summed, divided by the
number of compounds in the step: binary cross entropy and censored squared error.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.network.batches import Batch, Targets
from partners.network.device import device_of, tensor_of
from partners.network.input_layer import InputLayer, InputRows, Part
from partners.network.kernels import Masked, MaskedRelu, ObservedOutputs
from partners.network.state import CLASSIFICATION, REGRESSION, Arrays, HeadSizes
from partners.network.tied_heads import Groups, TiedHeads
from partners.network.trunk import INPUT_BIAS, INPUT_WEIGHT, TrunkLayout
from partners.settings import ClassificationHead, NonLinearity, Training, TrunkSettings

Gradients = list[tuple[torch.Tensor, torch.Tensor]]  # parameters or pieces of them, each with its gradient

_FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True, slots=True)
class NonLinearities:
    """Non-linearity of the trunk and of each kind of head."""

    trunk: NonLinearity = "relu"
    classification: NonLinearity = "relu"
    regression: NonLinearity = "tanh"

    @classmethod
    def of(cls, trunk: TrunkSettings, training: Training) -> "NonLinearities":
        """Take the non-linearities from the plan and the partner's settings."""
        return cls(trunk.non_linearity, training.classification.non_linearity, training.regression.non_linearity)


class Network:
    """All weights of one partner's network as torch tensors, in `parameter_shapes` order.

    in_place : the tensors share the memory of the arrays given, if torch can compute there; else they are copies
    tied     : classification tasks that are trained as one, and whose heads are equal
    """

    def __init__(
        self,
        layout: TrunkLayout,
        trunk: NDArray[np.float32],
        heads: Arrays,
        non_linearities: NonLinearities = NonLinearities(),
        *,
        device: str = "cpu",
        half: bool = False,
        in_place: bool = False,
        tied: Groups = (),
    ) -> None:
        self.layout = layout
        self.in_place = in_place
        self._half = half  # compute the trunk's layers after the first in bfloat16
        self._trunk = tensor_of(trunk, device, shared=in_place)
        tensors = {tensor.name: self._trunk[tensor.place].view(tensor.shape) for tensor in layout.tensors}
        tensors |= {name: tensor_of(head, device, shared=in_place) for name, head in heads.items()}
        self.parameters = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
        sizes = HeadSizes.from_heads(heads)
        self._head_layers = {
            kind: [name for name, _, _ in sizes.layers(kind, layout.hidden[-1])]
            for kind in (CLASSIFICATION, REGRESSION)
        }
        self._functions = non_linearities
        # autograd stops before the input layer: its gradient is computed and used piece by piece
        self.input_layer = InputLayer(self.parameters[INPUT_WEIGHT], self.parameters[INPUT_BIAS])
        self._parts: list[Part] = []
        self._tied = TiedHeads(tied, device)

    @classmethod
    def of(
        cls,
        layout: TrunkLayout,
        trunk: NDArray[np.float32],
        heads: Arrays,
        trunk_settings: TrunkSettings,
        training: Training,
        *,
        in_place: bool = False,
        tied: Groups = (),
    ) -> "Network":
        """Make a network with the non-linearities, device and precision of the settings."""
        functions, half = NonLinearities.of(trunk_settings, training), training.precision == "bfloat16"
        device = device_of(training)
        return cls(layout, trunk, heads, functions, device=device, half=half, in_place=in_place, tied=tied)

    def trunk(self) -> NDArray[np.float32]:
        """Trunk weights as one flat vector (n_params,) that shares the network's memory, on the CPU."""
        trunk: NDArray[np.float32] = self._trunk.cpu().numpy()
        return trunk

    def pieces(self, name: str) -> list[tuple[slice, torch.Tensor]]:
        """Consecutive rows of a parameter as tensors that share its memory, each with its place in the parameter."""
        if name == INPUT_WEIGHT:
            return list(zip(self.input_layer.places, self.input_layer.pieces, strict=True))
        return [(slice(None), self.parameters[name])]

    def array(self, name: str) -> NDArray[np.float32]:
        """One tensor as an array that shares its memory, on the CPU."""
        array: NDArray[np.float32] = self.parameters[name].detach().cpu().numpy()
        return array

    def trunk_output(self, first: torch.Tensor, dropout: "Dropout | None" = None) -> torch.Tensor:
        """Trunk's output (n, hidden[-1]) from the first layer's (n, hidden[0]), before any head's non-linearity."""
        if not self._half:
            return self._later_layers(first, dropout)
        # no cache of rounded weights: the optimiser changes them in place
        with torch.autocast(first.device.type, dtype=torch.bfloat16, cache_enabled=False):
            return self._later_layers(first, dropout).float()

    def _later_layers(self, hidden: torch.Tensor, dropout: "Dropout | None") -> torch.Tensor:
        for i in range(1, len(self.layout.hidden)):
            hidden = _activated(hidden, self._functions.trunk, dropout, dropout.trunk[i - 1] if dropout else 0)
            hidden = self._linear(hidden, f"trunk.{i}")
        return hidden

    def outputs(self, x: InputRows) -> dict[str, torch.Tensor]:
        """Logits (n, n_tasks) and regression outputs (n, n_regressions) by kind of head, without dropout."""
        with torch.no_grad():
            hidden = self.trunk_output(self.input_layer(x))
            return {
                kind: self._linear(self._head_input(kind, hidden, None), kind)
                for kind, layers in self._head_layers.items()
                if layers
            }

    def loss_and_gradients(self, parts: Iterable[Batch], n_compounds: float, dropout: "Dropout | None" = None) -> float:
        """Loss over all batches of one optimiser step; `each_gradient` then gives its gradient.

        The gradient is in the parameters' `grad`, except the input weight's, which is computed piece by piece.
        parts        : computed one after the other, gradients added up, so that memory is that of the largest part
        n_compounds  : in all parts; the summed loss is divided by it
        """
        self._begin(n_compounds)
        return sum(self._add_part(batch, n_compounds, dropout) for batch in parts)

    def each_gradient(self, use: Callable[[Gradients], None]) -> None:
        """Let `use` change all parameters by the last loss's gradients, some at a time; then forget the gradients."""
        self._tied.sum_gradients(self.parameters)
        use([(leaf, leaf.grad) for leaf in self.parameters.values() if leaf.grad is not None])
        self._forget_gradients()
        self.input_layer.each_gradient(self._parts, lambda piece, gradient: use([(piece, gradient)]))
        self._parts = []
        self._tied.copy_weights(self.parameters)

    def _begin(self, n_compounds: float) -> None:  # noqa: ARG002 -- for networks that need it
        """Forget the last batch."""
        self._forget_gradients()
        self._parts = []

    def _forget_gradients(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def _add_part(self, batch: Batch, n_compounds: float, dropout: "Dropout | None") -> float:
        first = self.input_layer(batch.x).requires_grad_()
        loss = self._summed_loss(self.trunk_output(first, dropout), batch, dropout) / n_compounds
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
        slope = first.grad
        if slope is None:  # pragma: no cover -- backward always fills a leaf
            raise AssertionError("backward left no gradient at the input layer")
        self._parts.append((batch.x, slope))
        bias, bias_slope = self.parameters[INPUT_BIAS], slope.sum(dim=0)
        bias.grad = bias_slope if bias.grad is None else bias.grad + bias_slope
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
        """Input of a head's last layer from the trunk's output (n, hidden[-1]), after non-linearity and dropout."""
        layers = self._head_layers[kind]
        function = self._functions.classification if kind == CLASSIFICATION else self._functions.regression
        for i, layer in enumerate(layers):
            hidden = _activated(hidden, function, dropout, dropout.heads[kind][i] if dropout else 0)
            if i < len(layers) - 1:
                hidden = self._linear(hidden, layer)
        return hidden

    def _linear(self, hidden: torch.Tensor, layer: str) -> torch.Tensor:
        return torch.nn.functional.linear(hidden, self.parameters[f"{layer}.weight"], self.parameters[f"{layer}.bias"])


def _activated(hidden: torch.Tensor, function: NonLinearity, dropout: "Dropout | None", share: float) -> torch.Tensor:
    """Activations (n, n_units) after the non-linearity and, in training, dropout."""
    if dropout is None or share == 0:  # nothing is drawn from the generator if nothing is dropped
        return _FUNCTIONS[function](hidden)
    mask, factor = dropout.mask(hidden, share)
    if function == "relu":
        clipped: torch.Tensor = MaskedRelu.apply(hidden, mask, factor)  # type: ignore[no-untyped-call]  # torch's gap
        return clipped
    dropped: torch.Tensor = Masked.apply(_FUNCTIONS[function](hidden), mask, factor)  # type: ignore[no-untyped-call]
    return dropped


def censored_squares(predicted: torch.Tensor, measured: torch.Tensor, censoring: torch.Tensor | None) -> torch.Tensor:
    """Squared error of every value; 0 for a censored value if the prediction is on the right side of the bound.

    predicted, measured : (n_labels,)
    censoring           : (n_labels,) -1 the true value is below `measured`, 0 exact, +1 above; None: all exact
    """
    miss = measured - predicted
    if censoring is not None:
        miss = torch.where(censoring == 0, miss, torch.relu(censoring * miss))
    return miss * miss


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Random zeros in the hidden activations; the others are scaled so that the mean stays the same."""

    trunk: tuple[float, ...]  # share dropped after each trunk layer but the last
    heads: Mapping[str, tuple[float, ...]]  # by kind: share dropped of the trunk's output, then after each extra layer
    rng: np.random.Generator

    @classmethod
    def of(cls, trunk: TrunkSettings, training: Training, rng: np.random.Generator) -> "Dropout":
        """Take the shares from the plan and the partner's settings."""
        *between, last = trunk.dropouts
        entry = last if training.head_dropout is None else training.head_dropout

        def shares(head: ClassificationHead) -> tuple[float, ...]:
            return (entry if head.dropout is None else head.dropout, *(head.dropouts or (0.0,) * len(head.hidden)))

        heads = {CLASSIFICATION: shares(training.classification), REGRESSION: shares(training.regression)}
        return cls(tuple(between), heads, rng)

    def mask(self, hidden: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
        """Draw which activations (n, n_units) are kept, and the factor to multiply them by."""
        # 16 random bits a unit: 15 times cheaper than torch's bernoulli_, and exact to 2^-16 in the share
        threshold = round(share * 2**16)
        kept = self.rng.integers(0, 2**16, size=tuple(hidden.shape), dtype=np.uint16) >= threshold
        return torch.from_numpy(kept).to(hidden.device), 2**16 / (2**16 - threshold)
