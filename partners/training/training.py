"""One round of local training: a fixed number of optimiser steps from the common trunk."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from partners.errors import TrainingDiverged
from partners.network.batches import BatchMaker, parts_of
from partners.network.device import arithmetic
from partners.network.model import Dropout, Network
from partners.network.normalisation import normalisation_of
from partners.network.state import FIRST, SECOND, HeadSizes, PartnerState, check_state, fresh_state, initial_heads
from partners.network.tied_heads import Groups
from partners.network.trunk import TrunkLayout, check_layers, check_trunk
from partners.privacy.draws import poisson_batches
from partners.privacy.noised_network import NoisedNetwork
from partners.privacy.steps import sampling_share
from partners.settings import NoiseSettings, Training, TrunkSettings
from partners.training.optimiser import Optimiser, check_moments, learning_rate_at, steps_per_epoch
from partners.training_data.aligned_arrays import copied
from partners.training_data.training_set import TrainingSet, check_features

TrainingProgress = Callable[[int, int, str], None]  # steps done, steps in all, text to show


@dataclass(frozen=True, slots=True, eq=False)
class RoundResult:
    """Result of one round of local training."""

    trunk_change: NDArray[np.float32]  # (n_params,) trunk after minus trunk before
    state: PartnerState  # heads and optimiser, for the next round
    losses: NDArray[np.float64]  # (n_steps,) training loss of each step's batch, dropout on
    n_compounds_seen: int  # compounds over all batches, repeats included


@dataclass(frozen=True, slots=True, eq=False)
class TrainedInPlace:
    """Result of one round of local training whose trunk replaced the old one in its memory."""

    state: PartnerState
    losses: NDArray[np.float64]
    n_compounds_seen: int


def round_seed(
    seed: int, round_no: int, attempt: int = 0, revision: int = 1, chance: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """Seed of one attempt at one round under one revision of the plan, different for each.

    chance : a number that only this partner knows, or nothing
    The networks without and with federation have the same seeds (first attempt, first plan).
    """
    return (seed, round_no, attempt, *(() if revision == 1 else (revision,)), *chance)


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
    progress: TrainingProgress | None = None,
) -> RoundResult:
    """Take exactly `n_steps` optimiser steps over shuffled batches of the training folds.

    trunk : (n_params,) float32, the start of all partners; it does not change
    state : the last round's; None in the first: heads are drawn from the seed and the optimiser has taken no step
    seed  : of everything random in the round (see `round_seed`): heads, shuffling, dropout
    Equal arguments give equal bits. Raises FeatureCountMismatch, TrunkMismatch, StateMismatch, BadFeatures,
    DeviceMissing or TrainingDiverged.
    """
    after, kept = copied(trunk), state and state.copied()
    trained = train_in_place(
        training_set, after, kept, layout, trunk_settings, training, seed, n_steps, progress=progress
    )
    after -= trunk
    return RoundResult(after, trained.state, trained.losses, trained.n_compounds_seen)


def train_in_place(  # noqa: PLR0913 -- as train_round
    training_set: TrainingSet,
    trunk: NDArray[np.float32],
    state: PartnerState | None,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    seed: int | Sequence[int],
    n_steps: int,
    *,
    tied: Groups = (),
    noise: NoiseSettings | None = None,
    progress: TrainingProgress | None = None,
) -> TrainedInPlace:
    """Train as `train_round` does, to the same bits, in the memory of trunk and state.

    trunk : (n_params,) float32, afterwards the new trunk; state: afterwards use the one returned
    tied  : groups of classification tasks whose heads are equal in the state, and are trained as one
    noise : train with differential privacy: on random batches of `training.batch_size` on average (see
            `sampling_share_of`), with clipped and noised gradients and equal weights of all tasks; batches and noise
            are drawn from its key, and not from the seed
    On the CPU no other array as large as the trunk is held, if the arrays are `aligned_arrays.is_sharable`.
    """
    check_fit(training_set, trunk, layout, trunk_settings)
    _, batch_seed, dropout_seed = np.random.SeedSequence(seed).spawn(3)
    if state is None:
        state = seeded_state(training_set, layout, training, seed)
    check_state(state, layout, HeadSizes.of(training_set, training))
    check_moments(state, training)
    dropout = Dropout.of(trunk_settings, training, np.random.default_rng(dropout_seed))
    rows = training_set.training_rows
    make_batch = BatchMaker(
        training_set, trunk_settings, training, state.normalisation, equal_weights=noise is not None
    )
    with arithmetic(training):
        if noise is None:
            batches = shuffled_rows(rows, training.batch_size, np.random.default_rng(batch_seed))
            network = Network.of(layout, trunk, state.heads, trunk_settings, training, in_place=True, tied=tied)
        else:
            batches = poisson_batches(rows, noise.sampling_share, noise.key)
            network = NoisedNetwork(
                layout, trunk, state.heads, trunk_settings, training, noise=noise, in_place=True, tied=tied
            )
        n_expected = None if noise is None else training.batch_size
        stepper = Stepper(network, state, training, steps_per_epoch(rows.size, training.batch_size), n_expected)
        losses = stepper.take(n_steps, batches, make_batch, dropout, progress)
        after = stepper.state()
    if not np.may_share_memory(trunk, network.trunk()):
        trunk[:] = network.trunk()
    if not (math.isfinite(trunk.min()) and math.isfinite(trunk.max())):
        raise _diverged(n_steps, stepper.learning_rate)
    return TrainedInPlace(after, losses, n_steps * min(training.batch_size, rows.size))


def check_fit(
    training_set: TrainingSet, trunk: NDArray[np.float32], layout: TrunkLayout, trunk_settings: TrunkSettings
) -> None:
    """Raise unless data, trunk vector, layout and settings fit together."""
    check_features(training_set.x, layout.n_inputs)
    check_layers(layout, trunk_settings)
    check_trunk(trunk, layout)


def seeded_state(
    training_set: TrainingSet, layout: TrunkLayout, training: Training, seed: int | Sequence[int]
) -> PartnerState:
    """State with which `train_round` begins if it has none, from the round's seed."""
    head_seed = np.random.SeedSequence(seed).spawn(1)[0]
    return first_state(training_set, layout, training, np.random.default_rng(head_seed))


def first_state(
    training_set: TrainingSet, layout: TrunkLayout, training: Training, rng: np.random.Generator
) -> PartnerState:
    """State before any training: drawn heads, the training folds' normalisation, an optimiser without a step."""
    heads = initial_heads(layout, HeadSizes.of(training_set, training), rng)
    normalisation = normalisation_of(training_set, normalise=training.normalise_regression)
    return fresh_state(heads, normalisation, layout, training)


def shuffled_rows(rows: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield batches of exactly min(batch_size, number of rows) rows without end, every row equally often.

    A batch may take the end of one shuffle and the beginning of the next.
    """
    size = min(batch_size, rows.size)
    shuffled = rng.permutation(rows)
    while True:
        if shuffled.size < size:
            shuffled = np.concatenate([shuffled, rng.permutation(rows)])
        batch, shuffled = shuffled[:size], shuffled[size:]
        yield batch


def sampling_share_of(training_set: TrainingSet, training: Training) -> float:
    """Probability with which a training compound is in a random batch of `batch_size` on average."""
    return sampling_share(training_set.training_rows.size, training.batch_size)


class Stepper:
    """Takes optimiser steps on a network, from a partner's state on.

    n_expected : number by which summed losses and gradients are divided; None: compounds in the batch
    """

    def __init__(
        self,
        network: Network,
        state: PartnerState,
        training: Training,
        n_per_epoch: int,
        n_expected: int | None = None,
    ) -> None:
        self._network = network
        self._before = state
        self._training = training
        self._n_per_epoch = n_per_epoch
        self._n_expected = n_expected
        self._n_steps = state.n_steps
        self._optimiser = Optimiser(network, state, training)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return learning_rate_at(self._n_steps, self._n_per_epoch, self._training)

    def take(
        self,
        n_steps: int,
        batches: Iterator[NDArray[np.int64]],
        make_batch: BatchMaker,
        dropout: Dropout | None = None,
        progress: TrainingProgress | None = None,
    ) -> NDArray[np.float64]:
        """Take steps, each on the next rows of `batches`; return their losses (n_steps,). Raises TrainingDiverged."""
        losses = np.empty(n_steps)
        for step in range(n_steps):
            rows = next(batches)
            parts = map(make_batch, parts_of(rows, self._training.internal_batch_max) if rows.size else ())
            losses[step] = self._network.loss_and_gradients(parts, self._n_expected or rows.size, dropout)
            if not math.isfinite(losses[step]):
                raise _diverged(step + 1, self.learning_rate)
            self._network.each_gradient(partial(self._optimiser.step, self.learning_rate))
            self._n_steps += 1
            if progress is not None:
                progress(step + 1, n_steps, f"loss {losses[step]:.4f}")
        return losses

    def state(self) -> PartnerState:
        """Current heads and moments."""
        network = self._network
        trunk_names = {tensor.name for tensor in network.layout.tensors}
        heads = {name: network.array(name) for name in network.parameters if name not in trunk_names}
        first, second = (self._optimiser.arrays(part) for part in (FIRST, SECOND))
        return PartnerState(heads, first, second, self._n_steps, self._before.normalisation, self._before.columns)


def _diverged(step: int, learning_rate: float) -> TrainingDiverged:
    error = TrainingDiverged(f"step {step}: loss or weights are not finite at learning rate {learning_rate:g}")
    error.add_note(f"lower learning_rate, for example to {learning_rate / 10:g}")
    return error
