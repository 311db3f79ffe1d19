"""Trunk and heads as torch tensors: forward, loss and gradients of one batch (SparseChem's semantics).

x (sparse) -> input layer -> (relu, dropout, linear)* -> relu, dropout, linear head. Binary cross entropy on the
observed labels only, times the task's training weight, summed, divided by the number of compounds in the batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.input_layer import NO_FEATURES, InputLayer, InputRows, Part, input_rows
from partners.kernels import Masked, Observed, ObservedLogits, observed
from partners.settings import Training, TrunkSettings
from partners.state import HEAD_BIAS, HEAD_WEIGHT, Arrays
from partners.trunk import TrunkLayout

_INPUT_WEIGHT, _INPUT_BIAS = "trunk.0.weight", "trunk.0.bias"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some compounds of a training set, ready for torch."""

    x: InputRows
    labels: Observed
    targets: torch.Tensor  # (n_labels,) 1 active, 0 inactive
    weights: torch.Tensor  # (n_labels,) training weight of each label's task

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return self.x.n_rows


def make_batch(
    x: sparse.csr_matrix,
    y: sparse.csr_matrix,
    training_weight: NDArray[np.float32],
    frequent: NDArray[np.int64] = NO_FEATURES,
    device: str = "cpu",
) -> Batch:
    """Batch of all rows of x (n, n_inputs) and y (n, n_tasks); training_weight (n_tasks,), frequent features of x."""
    return Batch(
        x=input_rows(x, frequent, device=device),
        labels=observed(y, device=device),
        targets=torch.tensor(y.data > 0, dtype=torch.float32, device=device),
        weights=torch.tensor(training_weight[y.indices], device=device),
    )


class Network:
    """All weights of one partner's network as torch tensors of its own, in `parameter_shapes` order."""

    def __init__(
        self,
        layout: TrunkLayout,
        trunk: NDArray[np.float32],
        heads: Arrays,
        *,
        device: str = "cpu",
        half: bool = False,
    ) -> None:
        self.layout = layout
        self._half = half  # compute the layers between input layer and heads in bfloat16
        self._trunk = torch.tensor(trunk, device=device)
        tensors = {tensor.name: self._trunk[tensor.place].view(tensor.shape) for tensor in layout.tensors}
        tensors |= {name: torch.tensor(array, device=device) for name, array in heads.items()}
        self.parameters = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
        # autograd stops before the input layer, whose gradient is made and used piece by piece
        self._input = InputLayer(self.parameters[_INPUT_WEIGHT], self.parameters[_INPUT_BIAS])
        self._parts: list[Part] = []

    def trunk(self) -> NDArray[np.float32]:
        """Trunk weights as one flat vector (n_params,) that shares the network's memory, on the CPU."""
        trunk: NDArray[np.float32] = self._trunk.cpu().numpy()
        return trunk

    def pieces(self, name: str) -> list[tuple[slice, torch.Tensor]]:
        """What an optimiser works on: consecutive rows of a parameter, where they stand, sharing its memory."""
        if name == _INPUT_WEIGHT:
            return list(zip(self._input.places, self._input.pieces, strict=True))
        return [(slice(None), self.parameters[name])]

    def array(self, name: str) -> NDArray[np.float32]:
        """One tensor as an array that shares its memory, on the CPU."""
        array: NDArray[np.float32] = self.parameters[name].detach().cpu().numpy()
        return array

    def activations(self, first: torch.Tensor, dropout: "Dropout | None" = None) -> torch.Tensor:
        """First layer's output (n, hidden[0]) to what the heads multiply, (n, hidden[-1]): after relu and dropout."""
        hidden = first
        n_layers = len(self.layout.hidden)
        for i in range(1, n_layers + 1):
            hidden = torch.relu(hidden)
            if dropout is not None:
                hidden = dropout.apply(hidden, is_last=i == n_layers)
            if i < n_layers:
                weight, bias = self.parameters[f"trunk.{i}.weight"], self.parameters[f"trunk.{i}.bias"]
                hidden = torch.nn.functional.linear(hidden, weight, bias)
        return hidden

    def _output(self, first: torch.Tensor, dropout: "Dropout | None") -> torch.Tensor:
        if not self._half:
            return self.activations(first, dropout)
        # no cache of rounded weights: the optimiser changes them in place
        with torch.autocast(first.device.type, dtype=torch.bfloat16, cache_enabled=False):
            return self.activations(first, dropout).float()

    def logits(self, x: InputRows) -> torch.Tensor:
        """Logits of all tasks (n, n_tasks), without dropout."""
        with torch.no_grad():
            hidden = self._output(self._input(x), None)
            return torch.nn.functional.linear(hidden, self.parameters[HEAD_WEIGHT], self.parameters[HEAD_BIAS])

    def loss_and_gradients(self, batch: Batch, dropout: "Dropout | None" = None) -> float:
        """Loss of the batch; leaves its gradient in the parameters' `grad`, but for the input weight's (see `step`)."""
        for parameter in self.parameters.values():
            parameter.grad = None
        first = self._input(batch.x).requires_grad_()
        hidden = self._output(first, dropout)
        loss = self._summed_loss(hidden, batch) / batch.n_compounds
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
        slope = first.grad
        if slope is None:  # pragma: no cover -- backward always fills a leaf
            raise AssertionError("backward left no gradient at the input layer")
        self._parts = [(batch.x, slope)]
        self.parameters[_INPUT_BIAS].grad = slope.sum(dim=0)
        return float(loss.detach())

    def input_gradients(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Every piece of the input weight and its gradient of the last batch; a gradient lives until the next one."""
        return self._input.gradients(self._parts)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Let an optimiser of all `pieces` take its step, parameters without a gradient being left alone by it."""
        optimiser.step()
        for parameter in self.parameters.values():
            parameter.grad = None
        for piece, gradient in self.input_gradients():
            piece.grad = gradient
            optimiser.step()
            piece.grad = None
        self._parts = []

    def _summed_loss(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        head = (self.parameters[HEAD_WEIGHT], self.parameters[HEAD_BIAS])
        logits = ObservedLogits.apply(hidden, *head, batch.labels)  # type: ignore[no-untyped-call]  # torch's gap
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, batch.targets, weight=batch.weights, reduction="sum"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dropout:
    """Random zeros in the hidden activations; what is kept is scaled so that the mean stays."""

    hidden: float  # share dropped between trunk layers
    last: float  # share dropped before the heads
    rng: np.random.Generator

    @classmethod
    def of(cls, trunk: TrunkSettings, training: Training, rng: np.random.Generator) -> "Dropout":
        """Dropout as the plan and the partner's settings say."""
        last = trunk.dropout if training.head_dropout is None else training.head_dropout
        return cls(trunk.dropout, last, rng)

    def apply(self, hidden: torch.Tensor, *, is_last: bool) -> torch.Tensor:
        """Activations (n, n_units) with a fresh mask; no chance is drawn where nothing is dropped."""
        share = self.last if is_last else self.hidden
        if share == 0:
            return hidden
        # 16 random bits a unit: 15 times cheaper than torch's bernoulli_, and exact to 2^-16 in the share
        threshold = round(share * 2**16)
        kept = self.rng.integers(0, 2**16, size=tuple(hidden.shape), dtype=np.uint16) >= threshold
        mask, factor = torch.from_numpy(kept).to(hidden.device), 2**16 / (2**16 - threshold)
        dropped: torch.Tensor = Masked.apply(hidden, mask, factor)  # type: ignore[no-untyped-call]  # torch's gap
        return dropped
