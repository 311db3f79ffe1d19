"""Arithmetic of a partner's round: train from the shared vector, take the server step, score the result."""

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
from partners.training.training import TrainingProgress, train_in_place


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """Settings of a round's arithmetic, the same at all partners."""

    layout: TrunkLayout  # of the shared vector: counted input columns, and a catalogue's rows included
    trunk: TrunkSettings
    server: ServerOptimiser
    n_steps: int  # optimiser steps of every partner


@dataclass(frozen=True, slots=True, eq=False)
class LocalRound:
    """Result of one round's training at a partner."""

    change: NDArray[np.float32]  # (n_params,) vector after minus before, zero in rows and columns that it must not send
    private: PartnerState
    loss: float  # mean training loss over the steps


@dataclass(frozen=True, slots=True, eq=False)
class ServerStep:
    """Result of the server step on a round's mean change: the same bits at every partner."""

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
    progress: TrainingProgress | None = None,
) -> LocalRound:
    """Train trunk and heads for one round from the shared vector, in the memory of vector and private state.

    If input columns are counted, a whole trunk is held beside the vector.
    vector  : (n_params,) float32, the start of all partners; its memory then holds the change
    before  : positions and values of the same vector, a piece at a time, so that no second vector is held
    private : heads and optimiser of the round before; None: drawn from the seed
    seed    : of everything random in this training, see `round_seed`
    Raises what `train_round` raises.
    """
    rows, columns = own.shared_rows(agreed.layout), own.columns
    if private is None:
        private = columns.begin(agreed.layout, own.first_state(agreed.layout, vector, seed))
    trunk = columns.trunk(agreed.layout, vector, private)
    result = train_in_place(
        own.training_set,
        trunk,
        # a row that an earlier revision did not share was trained as private heads, which must not be sent
        rows.from_vector(vector, private),
        agreed.layout.trunk,
        agreed.trunk,
        own.training,
        seed=seed,
        n_steps=agreed.n_steps,
        tied=rows.tied,
        progress=progress,
    )
    rows.to_vector(result.state, vector)
    state = columns.take_back(agreed.layout, trunk, vector, result.state)
    for place, values in before:
        vector[place] -= values
    return LocalRound(vector, state, float(result.losses.mean()))


def step_server(
    agreed: RoundSettings,
    vector: NDArray[np.float32],
    server: ServerState,
    mean: NDArray[np.float32],
    factors: NDArray[np.float64],
) -> ServerStep:
    """Compute the next round's vector from the mean change of a roster, in the memory of `mean`.

    vector  : (n_params,) float32, at the start of the round
    mean    : (n_params,) over the members of the roster
    factors : (n_places,) factor on the mean of each place for a row, see `HolderCounts.factors`
    Raises what `server_step` raises.
    """
    scale_rows(mean, agreed.layout, factors)
    following, server = server_step(vector, mean, agreed.server, server)
    return ServerStep(following, server, float(np.linalg.norm(mean)))


def validation_scores(
    own: PartnerData, agreed: RoundSettings, vector: NDArray[np.float32], private: PartnerState
) -> dict[str, float]:
    """Loss and mean scores on the validation fold by name; NaN if no task can be scored.

    vector  : (n_params,) of what is shared
    Raises what `evaluate` raises: BadFolds if the fold has no labelled compound.
    """
    data, trunk = own.training_set, own.columns.trunk(agreed.layout, vector, private)
    evaluation = evaluate(data, data.validation_fold, trunk, private, agreed.layout.trunk, agreed.trunk, own.training)
    means = {name: getattr(evaluation.mean, name) for name in scores.METRICS}
    if data.n_regressions:
        means |= {name: getattr(evaluation.regression_mean, name).value for name in regression_scores.METRICS}
    return {"validation_loss": evaluation.loss, **{f"validation_{name}": value for name, value in means.items()}}
