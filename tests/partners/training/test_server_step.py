"""The server step against its formulas in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import StateMismatch, TrainingDiverged, TrunkMismatch
from partners.network.server_state import ServerState, initial_server_state
from partners.settings import ServerOptimiser
from partners.training.server_step import server_step

_METHODS = ("mean", "momentum", "adam")
_NUMBER = st.floats(-10, 10, width=32)
_ROUNDS = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(_NUMBER, min_size=n, max_size=n), min_size=2, max_size=5)
)


def _plain(trunk: list[float], changes: list[list[float]], o: ServerOptimiser) -> list[float]:
    """The same steps, one Python float at a time, the trunk rounded to float32 after every round."""
    first, second = [0.0] * len(trunk), [0.0] * len(trunk)
    for t, change in enumerate(changes, start=1):
        for i, d in enumerate(change):
            if o.method == "mean":
                step = d
            elif o.method == "momentum":
                step = first[i] = o.momentum * first[i] + d
            else:
                first[i] = o.beta1 * first[i] + (1 - o.beta1) * d
                second[i] = o.beta2 * second[i] + (1 - o.beta2) * d * d
                step = first[i] / (1 - o.beta1**t) / (math.sqrt(second[i] / (1 - o.beta2**t)) + o.epsilon)
            trunk[i] = float(np.float32(trunk[i] + o.learning_rate * step))
    return trunk


@pytest.mark.parametrize("method", _METHODS)
@given(rounds=_ROUNDS)
def test_steps_follow_the_formulas(method: str, rounds: list[list[float]]):
    """Several rounds in a row equal the formulas."""
    optimiser = ServerOptimiser(method=method, learning_rate=1.5)
    first, *changes = rounds
    trunk, state = np.array(first, np.float32), initial_server_state(optimiser, len(first))
    for change in changes:
        trunk, state = server_step(trunk, np.array(change, np.float32), optimiser, state)
    np.testing.assert_allclose(trunk, _plain(list(first), changes, optimiser), rtol=1e-6, atol=1e-6)
    assert state.n_steps == len(changes)


def test_the_plain_mean_is_exact():
    """Mean with rate 2 is trunk + 2 change in float64, rounded once."""
    rng = np.random.default_rng(0)
    trunk, change = rng.normal(size=1000).astype(np.float32), rng.normal(size=1000).astype(np.float32) * 1e-3
    new, state = server_step(trunk, change, ServerOptimiser(), ServerState())
    np.testing.assert_array_equal(new, (trunk.astype(float) + 2.0 * change.astype(float)).astype(np.float32))
    assert new.dtype == np.float32
    assert not state.arrays


@pytest.mark.parametrize("method", _METHODS)
def test_chunks_change_nothing(method: str, monkeypatch: pytest.MonkeyPatch):
    """Steps in pieces give the same bits as a step at once, and the arguments do not change."""
    rng = np.random.default_rng(1)
    trunk, change = rng.normal(size=100).astype(np.float32), rng.normal(size=100)
    optimiser = ServerOptimiser(method=method, learning_rate=0.1)
    state = initial_server_state(optimiser, 100)
    before = trunk.copy()
    whole, after = server_step(trunk, change, optimiser, state)
    monkeypatch.setattr("partners.training_data.aligned_arrays._PIECE", 7)
    pieces, after_pieces = server_step(trunk, change, optimiser, state)
    np.testing.assert_array_equal(whole, pieces)
    np.testing.assert_array_equal(trunk, before)
    for name, array in after.arrays.items():
        np.testing.assert_array_equal(array, after_pieces.arrays[name])
        assert not state.arrays[name].any()


def test_wrong_vectors_are_refused():
    """Trunk and change must be finite, of one length, the trunk float32."""
    ok, state = np.zeros(4, np.float32), ServerState()
    wrong = [
        (ok, ok[:3]),
        (np.zeros(4), ok),
        (ok.reshape(2, 2), ok.reshape(2, 2)),
        (ok, np.array([0, np.nan, 0, 0])),
        (np.array([0, np.inf, 0, 0], np.float32), ok),
    ]
    for trunk, change in wrong:
        with pytest.raises(TrunkMismatch):
            server_step(trunk, change, ServerOptimiser(), state)


def test_another_optimisers_state_is_refused():
    """Momentum cannot go on from nothing, the mean not from momentum, nothing from another length."""
    zeros, momentum = np.zeros(4, np.float32), ServerOptimiser(method="momentum")
    for optimiser, state in [
        (momentum, ServerState()),
        (ServerOptimiser(), initial_server_state(momentum, 4)),
        (momentum, initial_server_state(momentum, 5)),
    ]:
        with pytest.raises(StateMismatch, match=f"for method {optimiser.method}"):
            server_step(zeros, zeros, optimiser, state)


def test_an_overflowing_step_stops():
    """A new trunk that is not finite is an error that names the setting to lower."""
    huge = np.full(2, 3e38, np.float32)
    with pytest.raises(TrainingDiverged, match="server step 1") as caught:
        server_step(huge, huge, ServerOptimiser(), ServerState())
    assert "learning rate, now 2" in caught.value.__notes__[0]
