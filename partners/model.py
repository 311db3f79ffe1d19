"""Trunk and heads as torch tensors: forward, loss and gradients of one batch (SparseChem's semantics).

x (sparse) -> input layer -> (relu, dropout, linear)* -> relu, dropout, linear head. Binary cross entropy on the
observed labels only, times the task's training weight, summed, divided by the number of compounds in the batch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.kernels import Observed, ObservedLogits, SparseRows, observed, rows_times, rows_times_into, sparse_rows
from partners.settings import Training, TrunkSettings
from partners.state import HEAD_BIAS, HEAD_WEIGHT, Arrays
from partners.trunk import TrunkLayout

_INPUT_WEIGHT, _INPUT_BIAS = "trunk.0.weight", "trunk.0.bias"


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Let torch compute with this many threads inside the block; the only place that touches torch's thread count."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some compounds of a training set, ready for torch."""

    x: SparseRows
    x_transposed: SparseRows
    labels: Observed
    targets: torch.Tensor  # (n_labels,) 1 active, 0 inactive
    weights: torch.Tensor  # (n_labels,) training weight of each label's task

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return self.x.shape[0]


def make_batch(x: sparse.csr_matrix, y: sparse.csr_matrix, training_weight: NDArray[np.float32]) -> Batch:
    """Batch of all rows of x (n, n_inputs) and y (n, n_tasks); training_weight (n_tasks,)."""
    return Batch(
        x=sparse_rows(x),
        x_transposed=sparse_rows(x.T.tocsr()),
        labels=observed(y),
        targets=torch.tensor(y.data > 0, dtype=torch.float32),
        weights=torch.tensor(training_weight[y.indices]),
    )


class Network:
    """All weights of one partner's network as torch tensors of its own, in `parameter_shapes` order."""

    def __init__(self, layout: TrunkLayout, trunk: NDArray[np.float32], heads: Arrays) -> None:
        arrays: Mapping[str, NDArray[np.float32]] = layout.views(trunk) | dict(heads)
        self.layout = layout
        self.parameters = {name: torch.tensor(array).requires_grad_() for name, array in arrays.items()}
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

    def logits(self, x: SparseRows) -> torch.Tensor:
        """Logits of all tasks (n, n_tasks), without dropout."""
        with torch.no_grad():
            hidden = self.activations(self.input_layer(x))
            return torch.nn.functional.linear(hidden, self.parameters[HEAD_WEIGHT], self.parameters[HEAD_BIAS])

    def loss_and_gradients(self, batch: Batch, dropout: "Dropout | None" = None) -> float:
        """Loss of the batch; leaves its gradient in the parameters' `grad`."""
        for parameter in self.parameters.values():
            parameter.grad = None
        first = self.input_layer(batch.x).requires_grad_()
        hidden = self.activations(first, dropout)
        loss = self._summed_loss(hidden, batch) / batch.n_compounds
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
        slope = first.grad
        if slope is None:  # pragma: no cover -- backward always fills a leaf
            raise AssertionError("backward left no gradient at the input layer")
        rows_times_into(self._input_gradient, batch.x_transposed, slope)
        self.parameters[_INPUT_WEIGHT].grad = self._input_gradient
        self.parameters[_INPUT_BIAS].grad = slope.sum(dim=0)
        return float(loss.detach())

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
        return hidden * torch.from_numpy(kept) * (2**16 / (2**16 - threshold))
