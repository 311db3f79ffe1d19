"""One round of local training: a fixed number of optimiser steps from the common trunk."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.device import arithmetic
from partners.errors import TrainingDiverged, TrunkMismatch
from partners.input_layer import frequent_features
from partners.model import Batch, Dropout, Network, make_batch
from partners.settings import Training, TrunkSettings
from partners.state import PartnerState, check_state, initial_heads
from partners.training_set import TrainingSet, check_features
from partners.trunk import TrunkLayout, check_trunk

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class RoundResult:
    """What one round of local training gave."""

    trunk_change: NDArray[np.float32]  # (n_params,) trunk after minus trunk before
    state: PartnerState  # heads and optimiser, for the next round
    losses: NDArray[np.float64]  # (n_steps,) training loss of each step's batch, dropout on
    n_compounds_seen: int  # compounds over all batches, repeats counted


def round_seed(seed: int, round_no: int, attempt: int = 0, revision: int = 1) -> tuple[int, ...]:
    """Seed of one attempt at one round under one revision of the plan: distinct for each.

    The same for *local only* and *federated* (first attempt, first plan).
    """
    return (seed, round_no, attempt) if revision == 1 else (seed, round_no, attempt, revision)


def train_round(  # noqa: PLR0913 -- data, model, settings and chance: each is one thing and has its own owner
    training_set: TrainingSet,
    trunk: NDArray[np.float32],
    state: PartnerState | None,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    seed: int | Sequence[int],
    n_steps: int,
    *,
    progress: Progress | None = None,
) -> RoundResult:
    """Take exactly `n_steps` optimiser steps over shuffled batches of the training folds.

    trunk : (n_params,) float32, where all partners start; left as it is
    state : the last round's; None in the first, then heads are drawn from the seed and Adam starts from zero
    seed  : all chance of the round (see `round_seed`): heads, shuffling, dropout
    Equal arguments give equal bits. Raises FeatureCountMismatch, TrunkMismatch, StateMismatch, DeviceMissing or
    TrainingDiverged.
    """
    check_fit(training_set, trunk, layout, trunk_settings)
    head_seed, batch_seed, dropout_seed = np.random.SeedSequence(seed).spawn(3)
    if state is None:
        state = _first_state(layout, training_set.n_tasks, np.random.default_rng(head_seed))
    check_state(state, layout, training_set.n_tasks)
    dropout = Dropout.of(trunk_settings, training, np.random.default_rng(dropout_seed))
    batches = _batches(training_set, training, np.random.default_rng(batch_seed))
    with arithmetic(training):
        half = training.precision == "bfloat16"
        network = Network(layout, trunk, state.heads, device=training.device, half=half)
        adam = _adam(network, state, training)
        losses = _steps(network, adam, batches, dropout, training, n_steps, progress)
        after = _state_of(network, adam, state.n_steps + n_steps)
        change = network.trunk()  # the network's own memory: at this size a copy counts, and it is not used again
        change -= trunk
    if not (math.isfinite(change.min()) and math.isfinite(change.max())):
        raise _diverged(n_steps, training)
    n_seen = n_steps * min(training.batch_size, training_set.training_rows.size)
    return RoundResult(change, after, losses, n_seen)


def check_fit(
    training_set: TrainingSet, trunk: NDArray[np.float32], layout: TrunkLayout, trunk_settings: TrunkSettings
) -> None:
    """Raise unless data, trunk vector, layout and settings belong together."""
    check_features(training_set.x, layout.n_inputs)
    check_layers(layout, trunk_settings)
    check_trunk(trunk, layout)


def check_layers(layout: TrunkLayout, trunk_settings: TrunkSettings) -> None:
    """Raise TrunkMismatch when the layout has other layers than the settings."""
    if layout.hidden != tuple(trunk_settings.hidden):
        raise TrunkMismatch(f"trunk: found layers {layout.hidden} in the layout, expected {trunk_settings.hidden}")


def _first_state(layout: TrunkLayout, n_tasks: int, rng: np.random.Generator) -> PartnerState:
    heads = initial_heads(layout, n_tasks, rng)
    zeros = {tensor.name: np.zeros(tensor.shape, dtype=np.float32) for tensor in layout.tensors}
    zeros |= {name: np.zeros_like(head) for name, head in heads.items()}
    return PartnerState(heads=heads, first_moment=zeros, second_moment=zeros, n_steps=0)


def _batches(training_set: TrainingSet, training: Training, rng: np.random.Generator) -> Iterator[Batch]:
    """Endless batches of equal size; compounds are reshuffled when all were seen."""
    frequent = frequent_features(training_set.x[training_set.training_rows])
    for rows in shuffled_rows(training_set.training_rows, training.batch_size, rng):
        x, y = training_set.x[rows], training_set.y[rows]
        yield make_batch(x, y, training_set.training_weight, frequent, training.device)


def shuffled_rows(rows: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Endless batches of exactly min(batch_size, number of rows) rows, in random order, every row equally often.

    A batch may take the end of one shuffle and the beginning of the next.
    """
    size = min(batch_size, rows.size)
    waiting = rng.permutation(rows)
    while True:
        if waiting.size < size:
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        batch, waiting = waiting[:size], waiting[size:]
        yield batch


@dataclass(frozen=True, slots=True, eq=False)
class _Adam:
    """Torch's Adam over the network's pieces, and the moments they share."""

    optimiser: torch.optim.Adam
    first_moment: dict[str, torch.Tensor]
    second_moment: dict[str, torch.Tensor]


def _adam(network: Network, state: PartnerState, training: Training) -> _Adam:
    first = {name: torch.tensor(array, device=training.device) for name, array in state.first_moment.items()}
    second = {name: torch.tensor(array, device=training.device) for name, array in state.second_moment.items()}
    leaves = [(name, place, leaf) for name in network.parameters for place, leaf in network.pieces(name)]
    rate, decay = training.learning_rate, training.weight_decay
    adam = torch.optim.Adam([leaf for _, _, leaf in leaves], lr=rate, weight_decay=decay, fused=True)
    for name, place, leaf in leaves:
        adam.state[leaf] = {
            "step": torch.tensor(float(state.n_steps), device=training.device),
            "exp_avg": first[name][place],
            "exp_avg_sq": second[name][place],
        }
    return _Adam(adam, first, second)


def _steps(
    network: Network,
    adam: _Adam,
    batches: Iterator[Batch],
    dropout: Dropout,
    training: Training,
    n_steps: int,
    progress: Progress | None,
) -> NDArray[np.float64]:
    losses = np.empty(n_steps)
    for step in range(n_steps):
        losses[step] = network.loss_and_gradients(next(batches), dropout)
        if not math.isfinite(losses[step]):
            raise _diverged(step + 1, training)
        network.step(adam.optimiser)
        if progress is not None:
            progress(step + 1, n_steps)
    return losses


def _state_of(network: Network, adam: _Adam, n_steps: int) -> PartnerState:
    def arrays(moments: dict[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        return {name: moment.cpu().numpy() for name, moment in moments.items()}

    trunk_names = {tensor.name for tensor in network.layout.tensors}
    heads = {name: network.array(name) for name in network.parameters if name not in trunk_names}
    return PartnerState(heads, arrays(adam.first_moment), arrays(adam.second_moment), n_steps)


def _diverged(step: int, training: Training) -> TrainingDiverged:
    error = TrainingDiverged(f"step {step}: loss or weights are not finite at learning rate {training.learning_rate:g}")
    error.add_note(f"lower learning_rate, for example to {training.learning_rate / 10:g}")
    return error
