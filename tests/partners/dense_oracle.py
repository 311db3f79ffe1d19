"""The same network written the plain way: dense torch tensors, dense masks, autograd, textbook Adam."""

from collections.abc import Sequence

import numpy as np
import torch

from partners.state import HEAD_BIAS, HEAD_WEIGHT
from partners.training_set import TrainingSet


def dense_losses(
    weights: dict[str, np.ndarray], data: TrainingSet, batches: Sequence[np.ndarray], lr: float, decay: float = 0.0
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses and final weights of one Adam step per batch of rows, no dropout."""
    tensors = {name: torch.tensor(array).requires_grad_() for name, array in weights.items()}
    adam = torch.optim.Adam(list(tensors.values()), lr=lr, weight_decay=decay, foreach=False)
    losses = []
    for rows in batches:
        x, y = torch.tensor(data.x[rows].toarray()), torch.tensor(data.y[rows].toarray())
        hidden = x @ tensors["trunk.0.weight"] + tensors["trunk.0.bias"]
        n_layers = sum(name.startswith("trunk.") and name.endswith("weight") for name in tensors)
        for i in range(1, n_layers):
            hidden = torch.relu(hidden) @ tensors[f"trunk.{i}.weight"].T + tensors[f"trunk.{i}.bias"]
        logits = torch.relu(hidden) @ tensors[HEAD_WEIGHT].T + tensors[HEAD_BIAS]
        per_label = torch.nn.functional.binary_cross_entropy_with_logits(logits, (y > 0).float(), reduction="none")
        loss = (per_label * (y != 0) * torch.tensor(data.training_weight)).sum() / len(rows)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses, {name: tensor.detach().numpy() for name, tensor in tensors.items()}
