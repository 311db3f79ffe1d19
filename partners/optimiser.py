"""A partner's optimiser: torch's fused ones, their state kept as arrays, and the learning rate by step."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.errors import StateMismatch
from partners.model import Network
from partners.settings import Training
from partners.state import PartnerState

FIRST, SECOND = "first_moment", "second_moment"  # parts of a partner's state


def moment_names(training: Training) -> dict[str, str]:
    """Which moments of a partner's state this optimiser has, and what torch calls them."""
    if training.optimiser in {"adam", "adamw"}:
        return {FIRST: "exp_avg", SECOND: "exp_avg_sq"}
    return {FIRST: "momentum_buffer"} if training.momentum else {}


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
            error.add_note("an optimiser, and sgd's momentum, is chosen once: heads go on with the one they began with")
            raise error


@dataclass(frozen=True, slots=True, eq=False)
class Moving:
    """Torch's optimiser of a network's pieces, and the moments they share."""

    optimiser: torch.optim.Optimizer
    moments: dict[str, dict[str, torch.Tensor]]  # by part of the state and parameter, as large as the parameter

    def arrays(self, part: str) -> dict[str, NDArray[np.float32]]:
        """First or second moment of every parameter, sharing its memory; empty where the optimiser has none."""
        return {name: moment.cpu().numpy() for name, moment in self.moments.get(part, {}).items()}


def make_optimiser(network: Network, state: PartnerState, training: Training) -> Moving:
    """Optimiser of all the network's parameters, in its pieces, that goes on from a copy of the state."""
    moments: dict[str, dict[str, torch.Tensor]] = {
        ours: {name: torch.tensor(array, device=training.device) for name, array in getattr(state, ours).items()}
        for ours in moment_names(training)
    }
    leaves = [(name, place, leaf) for name in network.parameters for place, leaf in network.pieces(name)]
    optimiser = _fresh([leaf for _, _, leaf in leaves], training)
    for name, place, leaf in leaves:
        kept = {theirs: moments[ours][name][place] for ours, theirs in moment_names(training).items()}
        if training.optimiser != "sgd":
            kept["step"] = torch.tensor(float(state.n_steps), device=training.device)
        optimiser.state[leaf] = kept
    return Moving(optimiser, moments)


def _fresh(parameters: list[torch.Tensor], training: Training) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Optimiser steps in which every training compound is seen about once."""
    return math.ceil(n_rows / min(batch_size, n_rows))


def learning_rate_at(step: int, n_per_epoch: int, training: Training) -> float:
    """Learning rate of a step, counted from 0 over all rounds: times `lr_alpha` for every `lr_steps` epoch passed."""
    n_passed = sum(step // n_per_epoch >= epoch for epoch in training.lr_steps)
    return training.learning_rate * training.lr_alpha**n_passed
