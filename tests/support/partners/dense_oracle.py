"""The same network written plainly: dense torch tensors, dense masks, autograd, torch's own optimisers."""

from collections.abc import Sequence

import numpy as np
import torch

from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

Weights = dict[str, np.ndarray]

_FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh}
_TRANSFORMS = {"none": lambda x: x, "binarize": lambda x: (x > 0).float(), "log1p": torch.log1p, "tanh": torch.tanh}


def dense_losses(
    weights: Weights,
    data: TrainingSet,
    batches: Sequence[np.ndarray],
    trunk: TrunkSettings,
    training: Training,
    normalisation: Weights,
) -> tuple[list[float], Weights]:
    """Losses and final weights of one optimiser step per batch of rows, no dropout."""
    tensors = {name: torch.tensor(array).requires_grad_() for name, array in weights.items()}
    optimiser = _optimiser(list(tensors.values()), training)
    losses = []
    for rows in batches:
        outputs = dense_outputs(tensors, torch.tensor(data.x[rows].toarray()), trunk, training)
        loss = _class_loss(outputs, data, rows, training) + _regr_loss(outputs, data, rows, training, normalisation)
        optimiser.zero_grad()
        (loss / len(rows)).backward()
        optimiser.step()
        losses.append(loss.item() / len(rows))
    return losses, {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def dense_outputs(
    tensors: dict[str, torch.Tensor], x: torch.Tensor, trunk: TrunkSettings, training: Training
) -> dict[str, torch.Tensor]:
    """Logits and regression outputs of dense inputs, by kind of head."""
    hidden = _TRANSFORMS[trunk.input_transform](x) @ tensors["trunk.0.weight"] + tensors["trunk.0.bias"]
    for i in range(1, len(trunk.hidden)):
        hidden = _layer(tensors, f"trunk.{i}", _FUNCTIONS[trunk.non_linearity](hidden))
    outputs = {}
    for kind, head in (("classification", training.classification), ("regression", training.regression)):
        if f"{kind}.bias" in tensors:
            out = hidden
            for layer in (*(f"{kind}.hidden.{i}" for i in range(len(head.hidden))), kind):
                out = _layer(tensors, layer, _FUNCTIONS[head.non_linearity](out))
            outputs[kind] = out
    return outputs


def _layer(tensors: dict[str, torch.Tensor], name: str, hidden: torch.Tensor) -> torch.Tensor:
    return hidden @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def _class_loss(
    outputs: dict[str, torch.Tensor], data: TrainingSet, rows: np.ndarray, training: Training
) -> torch.Tensor:
    if "classification" not in outputs:
        return torch.zeros(())
    y = torch.tensor(data.y[rows].toarray())
    per_label = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs["classification"], (y > 0).float(), reduction="none"
    )
    factor = torch.tensor(data.training_weight) * (1 - _share(data, training)) * 2
    return (per_label * (y != 0) * factor).sum()


def _regr_loss(
    outputs: dict[str, torch.Tensor], data: TrainingSet, rows: np.ndarray, training: Training, normalisation: Weights
) -> torch.Tensor:
    if "regression" not in outputs:
        return torch.zeros(())
    seen = data.y_regr[rows].copy()
    seen.data[:] = 1
    mask, censor = torch.tensor(seen.toarray()), torch.tensor(data.y_censor[rows].toarray())
    mean, deviation = (torch.tensor(normalisation[name]) for name in ("mean", "deviation"))
    miss = (torch.tensor(data.y_regr[rows].toarray()) - mean) / deviation - outputs["regression"]
    miss = torch.where(censor < 0, miss.clamp(max=0), torch.where(censor > 0, miss.clamp(min=0), miss))
    factor = torch.tensor(data.regr_weight) * _share(data, training) * 2
    factor = torch.where(censor == 0, factor, factor * torch.tensor(data.censored_weight))
    return (miss**2 * mask * factor).sum()


def _share(data: TrainingSet, training: Training) -> float:
    return training.regression_weight if data.y.shape[1] and data.y_regr.shape[1] else 0.5


def _optimiser(parameters: list[torch.Tensor], training: Training) -> torch.optim.Optimizer:
    lr, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=training.momentum, weight_decay=decay, foreach=False)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimiser]
    return kind(parameters, lr=lr, weight_decay=decay, foreach=False)
