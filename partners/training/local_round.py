"""The arithmetic of a partner's round: train from the shared vector, step the server on the mean, score the result."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.network.server_state import ServerState
from partners.network.shared_head_rows import scale_rows
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.scores import regression_scores, scores
from partners.settings import ServerOptimiser, TrunkSettings
from partners.training.evaluation import evaluate
from partners.training.partner_data import PartnerData
from partners.training.server_step import server_step
from partners.training.training import Progress, train_in_place


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """What all partners agreed on about the arithmetic of a round."""

    layout: TrunkLayout  # of the shared vector, a catalogue's rows included
    trunk: TrunkSettings
    server: ServerOptimiser
    n_steps: int  # optimiser steps of every partner


@dataclass(frozen=True, slots=True, eq=False)
class LocalRound:
    """What one round's training at a partner gave."""

    change: NDArray[np.float32]  # (n_params,) vector after minus vector before, rows that stay here zero
    private: PartnerState
    loss: float  # mean training loss over the steps


@dataclass(frozen=True, slots=True, eq=False)
class ServerStep:
    """What every partner makes of a round's mean change, to the same bits."""

    vector: NDArray[np.float32]  # (n_params,)
    server: ServerState
    change_norm: float  # of the mean


def train_locally(
    own: PartnerData,
    agreed: RoundSettings,
    vector: NDArray[np.float32],
    before: Iterable[tuple[slice, NDArray[np.float32]]],
    private: PartnerState | None,
    seed: tuple[int, ...],
    progress: Progress | None = None,
) -> LocalRound:
    """Train trunk and heads for one round from the shared vector; vector and private state are used up.

    vector  : (n_params,) float32, where all partners start; the change is made in its memory
    before  : its places and values once more, a piece at a time, so that no second vector is held
    private : heads and optimiser of the round before; None: drawn from the seed
    seed    : all chance of this training, see `round_seed`
    Raises what `train_round` raises.
    """
    layout, rows = agreed.layout.trunk, own.shared_rows(agreed.layout)
    result = train_in_place(
        own.training_set,
        vector[: layout.n_params],
        own.first_state(agreed.layout, vector, seed) if private is None else private,
        layout,
        agreed.trunk,
        own.training,
        seed=seed,
        n_steps=agreed.n_steps,
        progress=progress,
    )
    rows.to_vector(result.state, vector)
    for place, values in before:
        vector[place] -= values
    return LocalRound(vector, result.state, float(result.losses.mean()))


def step_server(
    agreed: RoundSettings,
    vector: NDArray[np.float32],
    server: ServerState,
    mean: NDArray[np.float32],
    factors: NDArray[np.float64],
) -> ServerStep:
    """The next round's vector from the mean change of a roster; mean is used up.

    vector  : (n_params,) float32, at the start of the round
    mean    : (n_params,) over the members of the roster
    factors : (n_rows,) what the mean of each of the catalogue's rows is multiplied by, see `HolderCounts.factors`
    Raises what `server_step` raises.
    """
    scale_rows(mean, agreed.layout, factors)
    following, server = server_step(vector, mean, agreed.server, server)
    return ServerStep(following, server, float(np.linalg.norm(mean)))


def validation_scores(
    own: PartnerData, agreed: RoundSettings, trunk: NDArray[np.float32], private: PartnerState
) -> dict[str, float]:
    """Loss and mean scores on the validation fold by name; NaN where no task can be judged.

    trunk   : the trunk alone, without the catalogue's rows
    Raises what `evaluate` raises: BadFolds where the fold has no labelled compound.
    """
    data = own.training_set
    found = evaluate(data, data.validation_fold, trunk, private, agreed.layout.trunk, agreed.trunk, own.training)
    means = {name: getattr(found.mean, name) for name in scores.METRICS}
    if data.n_regressions:
        means |= {name: getattr(found.regression_mean, name).value for name in regression_scores.METRICS}
    return {"validation_loss": found.loss, **{f"validation_{name}": value for name, value in means.items()}}
