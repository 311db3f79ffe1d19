"""SparseChem's training step in plain PyTorch, from its published semantics, as a reference for our trainer.

Input layer: a COO matrix through `torch.mm` under autograd. Trunk's output times a mask for each kind of head (all ones
here); classification head over all tasks, of which the observed labels are picked for the loss; a regression head
without tasks, which SparseChem computes all the same; `torch.optim.Adam` with foreach, on gradients made anew.
"""

import numpy as np
import torch
from scipy import sparse


class PlainNetwork(torch.nn.Module):
    """One hidden layer, classification only."""

    def __init__(self, n_inputs: int, n_hidden: int, n_tasks: int, dropout: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(n_inputs, n_hidden))
        torch.nn.init.xavier_uniform_(self.weight, gain=2**0.5)
        self.bias = torch.nn.Parameter(torch.zeros(n_hidden))
        self.classification = torch.nn.Sequential(
            torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(n_hidden, n_tasks)
        )
        self.regression = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Dropout(dropout))
        self.register_buffer("class_mask", torch.ones(1, n_hidden))
        self.register_buffer("regr_mask", torch.ones(1, n_hidden))
        self.register_buffer("no_tasks", torch.empty(0, n_hidden))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, n_tasks) and an empty (n, 0) of regression outputs from a COO matrix (n, n_inputs)."""
        hidden = torch.mm(x, self.weight) + self.bias
        regression = self.regression(hidden * self.regr_mask)
        return self.classification(hidden * self.class_mask), torch.nn.functional.linear(regression, self.no_tasks)

    def load(self, trunk: dict[str, np.ndarray], weight: np.ndarray, bias: np.ndarray) -> None:
        """Set the weights from the trunk's tensors by name and the head's weight and bias."""
        last = self.classification[-1]
        places = ((self.weight, trunk["trunk.0.weight"]), (self.bias, trunk["trunk.0.bias"]))
        with torch.no_grad():
            for parameter, array in (*places, (last.weight, weight), (last.bias, bias)):
                parameter.copy_(torch.from_numpy(array))


class PlainTrainer:
    """Network, optimiser and data of SparseChem's training."""

    def __init__(self, network: PlainNetwork, x: sparse.csr_matrix, y: sparse.csr_matrix, weights: np.ndarray) -> None:
        self._network, self._x, self._y = network, x, y
        self._weights = torch.from_numpy(weights)
        self._adam = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=True)

    def step(self, rows: np.ndarray) -> float:
        """Loss of a batch of these rows, before one Adam step on it."""
        self._adam.zero_grad()
        x, y = self._x[rows].tocoo(), self._y[rows].tocoo()
        places = torch.from_numpy(np.stack([x.row, x.col]).astype(np.int64))
        inputs = torch.sparse_coo_tensor(places, torch.from_numpy(x.data), size=x.shape, check_invariants=False)
        row, task = torch.from_numpy(y.row.astype(np.int64)), torch.from_numpy(y.col.astype(np.int64))
        logits, _ = self._network(inputs)
        per_label = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[row, task], torch.from_numpy((y.data > 0).astype(np.float32)), reduction="none"
        )
        loss = (per_label * self._weights[task]).sum() / len(rows)
        loss.backward()
        self._adam.step()
        return float(loss.detach())
