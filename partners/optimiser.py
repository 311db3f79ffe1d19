"""A partner's optimiser: torch's fused ones, their state kept as arrays, and the learning rate by step."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from partners.errors import StateMismatch
from partners.model import Network
from partners.settings import Training
from partners.state import Arrays, PartnerState

_FIRST, _SECOND = "first_moment", "second_moment"


def moment_names(training: Training) -> dict[str, str]:
    """Which moments of a partner's state this optimiser has, and what torch calls them."""
    if training.optimiser in {"adam", "adamw"}:
        return {_FIRST: "exp_avg", _SECOND: "exp_avg_sq"}
    return {_FIRST: "momentum_buffer"} if training.momentum else {}


def check_moments(state: PartnerState, training: Training) -> None:
    """Raise StateMismatch unless the state holds the moments of this optimiser."""
    names = moment_names(training)
    for part in (_FIRST, _SECOND):
        if bool(getattr(state, part)) != (part in names):
            words = part.replace("_", " ")
            found, expected = ("a", "none") if part not in names else ("no", "one")
            error = StateMismatch(
                f"partner state: found {found} {words}, expected {expected} for optimiser {training.optimiser}"
            )
            error.add_note("an optimiser, and sgd's momentum, is chosen once: heads go on with the one they began with")
            raise error


def make_optimiser(network: Network, state: PartnerState, training: Training) -> torch.optim.Optimizer:
    """Optimiser of all the network's parameters that goes on from the state."""
    optimiser = _fresh(list(network.parameters.values()), training)
    counts = training.optimiser != "sgd"
    for name, parameter in network.parameters.items():
        kept = {theirs: torch.tensor(getattr(state, ours)[name]) for ours, theirs in moment_names(training).items()}
        if counts:
            kept["step"] = torch.tensor(float(state.n_steps))
        optimiser.state[parameter] = kept
    return optimiser


def _fresh(parameters: list[torch.Tensor], training: Training) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


def moments_of(network: Network, optimiser: torch.optim.Optimizer, training: Training) -> dict[str, Arrays]:
    """First and second moment of every parameter by name; empty where the optimiser has none."""
    names = moment_names(training)

    def arrays(part: str) -> dict[str, NDArray[np.float32]]:
        if part not in names:
            return {}
        return {name: optimiser.state[p][names[part]].numpy() for name, p in network.parameters.items()}

    return {part: arrays(part) for part in (_FIRST, _SECOND)}


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Optimiser steps in which every training compound is seen about once."""
    return math.ceil(n_rows / min(batch_size, n_rows))


def learning_rate_at(step: int, n_per_epoch: int, training: Training) -> float:
    """Learning rate of a step, counted from 0 over all rounds: times `lr_alpha` for every `lr_steps` epoch passed."""
    n_passed = sum(step // n_per_epoch >= epoch for epoch in training.lr_steps)
    return training.learning_rate * training.lr_alpha**n_passed
