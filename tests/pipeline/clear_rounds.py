"""All partners' rounds in one process and in the clear: the real training, fixed point, mean and server step.

What is left out cancels exactly: masks, tags, encryption and messages. `test_clear_rounds.py` holds it against the real
protocol, bit for bit.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partners.server_step import initial_server_state, server_step
from partners.settings import ServerOptimiser, Training, TrunkSettings
from partners.state import PartnerState
from partners.training import round_seed, train_round
from partners.training_set import TrainingSet
from partners.trunk import TrunkLayout, initial_trunk
from secure.fixed_point import Grid, first_bounds, make_grid, next_bounds, quantise
from secure.open_sum import OpenedSum
from secure.parameters import SealSettings, seal_parameters


@dataclass(frozen=True)
class Member:
    """One partner: its data and how it trains."""

    training_set: TrainingSet
    training: Training


@dataclass(frozen=True)
class Agreed:
    """What a plan says about the rounds."""

    layout: TrunkLayout
    trunk: TrunkSettings
    trunk_seed: int
    n_rounds: int
    local_steps: int
    server: ServerOptimiser = field(default_factory=ServerOptimiser)
    seal: SealSettings = field(default_factory=SealSettings)


@dataclass
class State:
    """Where the federation stands; `private` and `residual` are each partner's own."""

    trunk: NDArray[np.float32]
    bounds: NDArray[np.float64]
    private: dict[str, PartnerState] = field(default_factory=dict)
    residual: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    clipped: dict[str, float] = field(default_factory=dict)  # share of values beyond their bound, last round
    seconds: float = 0.0  # CPU seconds of the last round, all partners
    cosine: float = float("nan")  # mean cosine between two partners' changes, last round


AfterRound = Callable[[int, State], None]


def clear_rounds(members: Mapping[str, Member], agreed: Agreed, after_round: AfterRound | None = None) -> State:
    """Run every round with everybody on the roster; `after_round` is told the number of rounds done and the state."""
    slices = [tensor.place for tensor in agreed.layout.tensors]
    parameters = seal_parameters(agreed.seal)
    server = initial_server_state(agreed.server, agreed.layout.n_params)
    state = State(initial_trunk(agreed.layout, agreed.trunk_seed), first_bounds(len(slices), agreed.seal))
    for round_no in range(1, agreed.n_rounds + 1):
        before = time.process_time()
        grid = make_grid(slices, state.bounds, parameters)
        total = np.zeros(agreed.layout.n_params, dtype=np.int32)
        weight_total, spread = 0, _Spread(agreed.layout.n_params)
        for name in sorted(members):
            weight = _weight(members[name].training_set, agreed.seal)
            total += _sent(name, members[name], agreed, state, grid, round_no, weight, spread)
            weight_total += weight
        opened = OpenedSum(total, weight_total, len(members), grid, parameters.max_weight)
        state.trunk, server = server_step(state.trunk, opened.mean, agreed.server, server)
        state.bounds = next_bounds(opened.sent_mean, slices, state.bounds, agreed.seal, len(members))
        state.seconds, state.cosine = time.process_time() - before, spread.cosine
        if after_round is not None:
            after_round(round_no, state)
    return state


def _sent(
    name: str,
    member: Member,
    agreed: Agreed,
    state: State,
    grid: Grid,
    round_no: int,
    weight: int,
    spread: "_Spread",
) -> NDArray[np.int32]:
    """Train, and return the integers that would be sealed; keeps heads and residual."""
    seed = round_seed(member.training.seed, round_no - 1)
    result = train_round(
        member.training_set,
        state.trunk,
        state.private.get(name),
        agreed.layout,
        agreed.trunk,
        member.training,
        seed,
        agreed.local_steps,
    )
    spread.add(result.trunk_change)
    scale = 1.0 if agreed.seal.weights == "equal" else weight / agreed.seal.max_weight
    target = result.trunk_change * np.float32(scale)
    if name in state.residual:
        target += state.residual[name]
    chance = np.random.default_rng((*seed, *name.encode()))
    integers, state.residual[name], n_clipped = quantise(target, 0, grid, chance)
    state.private[name], state.clipped[name] = result.state, n_clipped / grid.n_params
    return integers.astype(np.int32)


def _weight(training_set: TrainingSet, seal: SealSettings) -> int:
    return 1 if seal.weights == "equal" else max(1, min(training_set.n_training_labels, seal.max_weight))


class _Spread:
    """How much the partners' changes point the same way."""

    def __init__(self, n_params: int) -> None:
        self._units, self._n = np.zeros(n_params, dtype=np.float32), 0

    def add(self, change: NDArray[np.float32]) -> None:
        self._units += change / np.linalg.norm(change)
        self._n += 1

    @property
    def cosine(self) -> float:
        """Mean over all pairs: of the squared length of the sum of n unit vectors, n is from themselves."""
        return (float(self._units @ self._units) - self._n) / max(1, self._n * (self._n - 1))
