"""All partners' rounds in one process and in the clear: the real training, fixed point, mean and server step.

What is left out cancels exactly: masks, tags, encryption and messages. `test_clear_rounds.py` holds it against the real
protocol, bit for bit.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from partners.network.input_columns import InputColumns
from partners.network.server_state import initial_server_state
from partners.network.shared_head_rows import HolderCounts, SharedHeadRows, scale_rows
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, initial_trunk, trunk_layout
from partners.settings import NoiseSettings, ServerOptimiser, Training, TrunkSettings
from partners.training.server_step import server_step
from partners.training.training import round_seed, seeded_state, train_in_place
from partners.training_data.aligned_arrays import copied
from partners.training_data.training_set import TrainingSet
from secure.ciphertexts.parameters import SealSettings, seal_parameters
from secure.encoding.derive import derive_key
from secure.sealing.fixed_point import Grid, first_bounds, make_grid, next_bounds, quantise
from secure.sealing.open_sum import OpenedSum

_PIECE = 1 << 18  # values at a time, so that they stay in the cache


@dataclass(frozen=True)
class Member:
    """One partner: its data and how it trains."""

    training_set: TrainingSet
    training: Training
    held: Mapping[int, Sequence[int]] = field(default_factory=dict)  # row of the catalogue to classification tasks
    columns: InputColumns = field(default_factory=InputColumns)
    noise: NoiseSettings | None = None  # with differential privacy; its key is mixed with the round


@dataclass(frozen=True)
class Agreed:
    """What a plan says about the rounds, and what its counting round gave."""

    layout: TrunkLayout  # of the shared vector: counted input columns, and a catalogue's rows included
    trunk: TrunkSettings
    trunk_seed: int
    n_rounds: int
    local_steps: int
    server: ServerOptimiser = field(default_factory=ServerOptimiser)
    seal: SealSettings = field(default_factory=SealSettings)
    counts: HolderCounts = field(default_factory=HolderCounts)  # how many partners hold each row of the catalogue


@dataclass
class State:
    """Where the federation stands; `private` and `residual` are each partner's own."""

    vector: NDArray[np.float32]  # the trunk, and behind it the catalogue's rows
    layout: TrunkLayout  # of the vector
    bounds: NDArray[np.float64]
    private: dict[str, PartnerState] = field(default_factory=dict)
    residual: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    clipped: dict[str, float] = field(default_factory=dict)  # share of values beyond their bound, last round
    seconds: float = 0.0  # CPU seconds of the last round, all partners
    cosine: float = float("nan")  # mean cosine between two partners' changes of the trunk, last round

    def trunk(self, name: str, member: Member) -> NDArray[np.float32]:
        """The whole trunk of one partner."""
        return member.columns.trunk(self.layout, self.vector, self.private[name])


AfterRound = Callable[[int, State], None]


def clear_rounds(members: Mapping[str, Member], agreed: Agreed, after_round: AfterRound | None = None) -> State:
    """Run every round with everybody on the roster; `after_round` is told the number of rounds done and the state.

    What a round's state holds is used up by the next one.
    """
    layout, parameters = agreed.layout, seal_parameters(agreed.seal)
    slices = [tensor.place for tensor in layout.tensors]
    weights = {name: _weight(member.training_set, agreed.seal) for name, member in members.items()}
    server = initial_server_state(agreed.server, layout.n_params)
    first = initial_trunk(layout, agreed.trunk_seed, next(iter(members.values())).columns.shared)
    state, n_trunk = State(first, layout, first_bounds(len(slices), agreed.seal)), _n_trunk(layout)
    for round_no in range(1, agreed.n_rounds + 1):
        before = time.process_time()
        grid = make_grid(slices, state.bounds, parameters)
        total = np.zeros(layout.n_params, dtype=np.int32)
        spread = _Spread(n_trunk)
        for name in sorted(members):
            change = _change(name, members[name], agreed, state, round_no)
            spread.add(change[:n_trunk])
            scale = np.float32(weights[name] / parameters.max_weight)
            chance = np.random.default_rng((*_seed(members[name], round_no), *name.encode()))
            _add_sent(name, change, scale, state, grid, chance, total)
        opened = OpenedSum(total, sum(weights.values()), len(members), grid, parameters.max_weight)
        mean, sent = opened.mean, opened.sent_mean
        state.bounds = next_bounds(sent, slices, state.bounds, agreed.seal, len(members))
        scale_rows(mean, layout, agreed.counts.factors(members))  # `sent` may be the same array
        next(iter(members.values())).columns.hold_back(mean, layout, members)
        state.vector, server = server_step(state.vector, mean, agreed.server, server)
        for name, member in members.items():
            state.private[name] = _rows(member, agreed).from_vector(state.vector, state.private[name])
        state.seconds, state.cosine = time.process_time() - before - spread.seconds, spread.cosine
        if after_round is not None:
            after_round(round_no, state)
    return state


def _seed(member: Member, round_no: int) -> tuple[int, ...]:
    return round_seed(member.training.seed, round_no - 1)


def _n_trunk(layout: TrunkLayout) -> int:
    """Values of the vector before the catalogue's rows."""
    return trunk_layout(layout.n_inputs, layout.hidden, n_columns=layout.n_columns).n_params


def _rows(member: Member, agreed: Agreed) -> SharedHeadRows:
    return SharedHeadRows.of(agreed.layout, member.held, agreed.counts)


def _change(name: str, member: Member, agreed: Agreed, state: State, round_no: int) -> NDArray[np.float32]:
    """Train, keep heads and optimiser, and return what may leave."""
    seed, layout, rows = _seed(member, round_no), agreed.layout, _rows(member, agreed)
    private = state.private.get(name)
    if private is None:
        drawn = seeded_state(member.training_set, layout.trunk, member.training, seed)
        private = member.columns.begin(layout, rows.from_vector(state.vector, drawn))
    vector = copied(state.vector)
    trunk = member.columns.trunk(layout, vector, private)
    result = train_in_place(
        member.training_set,
        trunk,
        private,
        layout.trunk,
        agreed.trunk,
        member.training,
        seed,
        agreed.local_steps,
        tied=rows.tied,
        noise=member.noise and _noise_of_round(member.noise, seed),
    )
    rows.to_vector(result.state, vector)
    state.private[name] = member.columns.take_back(layout, trunk, vector, result.state)
    vector -= state.vector
    return vector


def _noise_of_round(noise: NoiseSettings, seed: tuple[int, ...]) -> NoiseSettings:
    return replace(noise, key=derive_key(noise.key, "clear rounds", {"seed": list(seed)}))


def _add_sent(
    name: str,
    change: NDArray[np.float32],
    scale: np.float32,
    state: State,
    grid: Grid,
    chance: np.random.Generator,
    total: NDArray[np.int32],
) -> None:
    """Add the integers that would be sealed to `total`, and keep the residual; `change` is used up.

    Piece by piece, as the real thing does it, so that no other array is as long as the vector.
    """
    residual, n_clipped = state.residual.get(name), 0
    for start in range(0, change.size, _PIECE):
        part = slice(start, start + _PIECE)
        target = change[part] * scale
        if residual is not None:
            target += residual[part]
        integers, change[part], n_in_piece = quantise(target, start, grid, chance)
        total[part] += integers.astype(np.int32)
        n_clipped += n_in_piece
    state.residual[name], state.clipped[name] = change, n_clipped / grid.n_params


def _weight(training_set: TrainingSet, seal: SealSettings) -> int:
    return 1 if seal.weights == "equal" else max(1, min(training_set.n_training_labels, seal.max_weight))


class _Spread:
    """How much the partners' changes point the same way, and what it took to find out."""

    def __init__(self, n_params: int) -> None:
        self._units, self._n = np.zeros(n_params, dtype=np.float32), 0
        self.seconds = 0.0  # CPU seconds; no part of a round

    def add(self, change: NDArray[np.float32]) -> None:
        before = time.process_time()
        length = np.linalg.norm(change)
        for start in range(0, change.size, _PIECE):
            part = slice(start, start + _PIECE)
            self._units[part] += change[part] / length
        self._n += 1
        self.seconds += time.process_time() - before

    @property
    def cosine(self) -> float:
        """Mean over all pairs: of the squared length of the sum of n unit vectors, n is from themselves."""
        return (float(self._units @ self._units) - self._n) / max(1, self._n * (self._n - 1))
