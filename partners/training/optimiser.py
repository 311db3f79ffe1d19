"""A partner's optimiser: torch's fused functions on a state kept as arrays, and the learning rate by step."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from partners.errors import StateMismatch
from partners.network.device import device_of, tensor_of
from partners.network.model import Gradients, Network
from partners.network.state import FIRST, SECOND, PartnerState, moment_names
from partners.settings import Training

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's own, and SparseChem's

Tensors = list[torch.Tensor]


def check_moments(state: PartnerState, training: Training) -> None:
    """Raise StateMismatch unless the state holds the moments of this optimiser."""
    names = moment_names(training)
    for part in (FIRST, SECOND):
        if bool(getattr(state, part)) != (part in names):
            words = part.replace("_", " ")
            found, expected = ("a", "none") if part not in names else ("no", "one")
            error = StateMismatch(
                f"partner state: found {found} {words}, expected {expected} for optimiser {training.optimiser}"
            )
            error.add_note(
                "keep the optimiser, and sgd's momentum, that the heads were trained with from the first round"
            )
            raise error


class Optimiser:
    """An optimiser that goes on from a partner's state, in the state's memory if the network is in place.

    It calls the functions behind `torch.optim`'s classes, because an instance imports torch's compiler, 80 MB.
    """

    def __init__(self, network: Network, state: PartnerState, training: Training) -> None:
        self._training = training
        device = device_of(training)
        self._moments = {
            part: {
                name: tensor_of(array, device, shared=network.in_place) for name, array in getattr(state, part).items()
            }
            for part in moment_names(training)
        }
        self._kept: dict[str, dict[torch.Tensor, torch.Tensor]] = {FIRST: {}, SECOND: {}}  # moments of each piece
        self._n_steps: dict[torch.Tensor, torch.Tensor] = {}  # torch expects a tensor for each piece
        for name in network.parameters:
            for place, piece in network.pieces(name):
                self._n_steps[piece] = torch.tensor(float(state.n_steps), device=device)
                for part, moments in self._moments.items():
                    self._kept[part][piece] = moments[name][place]

    def step(self, learning_rate: float, gradients_by_piece: Gradients) -> None:
        """Update pieces by their gradients; every piece once in a step."""
        pieces = [piece for piece, _ in gradients_by_piece]
        gradients = [gradient for _, gradient in gradients_by_piece]
        with torch.no_grad():
            if self._training.optimiser == "sgd":
                self._sgd(pieces, gradients, learning_rate)
            else:
                self._adam(pieces, gradients, learning_rate)

    def _adam(self, pieces: Tensors, gradients: Tensors, learning_rate: float) -> None:
        (adam if self._training.optimiser == "adam" else adamw)(
            pieces,
            gradients,
            exp_avgs=[self._kept[FIRST][piece] for piece in pieces],
            exp_avg_sqs=[self._kept[SECOND][piece] for piece in pieces],
            max_exp_avg_sqs=[],
            state_steps=[self._n_steps[piece] for piece in pieces],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=learning_rate,
            weight_decay=self._training.weight_decay,
            eps=_EPSILON,
            maximize=False,
        )

    def _sgd(self, pieces: Tensors, gradients: Tensors, learning_rate: float) -> None:
        sgd(
            pieces,
            gradients,
            momentum_buffer_list=[self._kept[FIRST].get(piece) for piece in pieces],
            fused=True,
            weight_decay=self._training.weight_decay,
            momentum=self._training.momentum,
            lr=learning_rate,
            dampening=0,
            nesterov=False,
            maximize=False,
        )

    def arrays(self, part: str) -> dict[str, NDArray[np.float32]]:
        """First or second moment of every parameter, sharing its memory; empty if the optimiser has none."""
        return {name: moment.cpu().numpy() for name, moment in self._moments.get(part, {}).items()}


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Number of optimiser steps that use every training compound about once."""
    return math.ceil(n_rows / min(batch_size, n_rows))


def learning_rate_at(step: int, n_per_epoch: int, training: Training) -> float:
    """Learning rate of a step, counted from 0 over all rounds: times `lr_alpha` for each epoch of `lr_steps` passed."""
    n_passed = sum(step // n_per_epoch >= epoch for epoch in training.lr_steps)
    return training.learning_rate * training.lr_alpha**n_passed
