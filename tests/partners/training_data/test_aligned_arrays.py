"""Arrays whose memory torch shares, and training in them."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partners.network.device import tensor_of
from partners.network.state import PartnerState
from partners.settings import Training
from partners.training.training import seeded_state, train_in_place, train_round
from partners.training_data.aligned_arrays import copied, empty, is_sharable, pieces, zeros
from tests.support.partners.synthetic import hybrid_set, small_trunk

Place = Callable[[np.ndarray], np.ndarray]  # a copy of an array

_ROOT = Path(__file__).resolve().parents[3]
_PARTS = ("heads", "first_moment", "second_moment")
_LAYOUT, _TRUNK, _SETTINGS = small_trunk(16, 9)


def _shifted(array: np.ndarray) -> np.ndarray:
    """Copy that torch cannot share: it begins four bytes after the boundary."""
    room = empty((array.size + 1,))
    room[1:] = array.ravel()
    return room[1:].reshape(array.shape)


def test_arrays_begin_where_torchs_tensors_begin():
    """Arrays of any shape and type can be shared, also a copy of an array that cannot."""
    for shape in ((1,), (3, 5), (7, 1000)):
        moved = copied(_shifted(np.ones(shape, dtype=np.float32)))
        for array in (empty(shape), empty(shape, np.float64), zeros(shape), moved):
            assert is_sharable(array)
            assert array.shape == shape
            assert array.ctypes.data % 64 == torch.empty(shape).data_ptr() % 64
    assert empty((0, 3)).shape == (0, 3)
    assert not zeros((5, 5)).any()


def test_a_tensor_shares_memory_only_where_asked_and_possible():
    """A read-only array, or one that begins elsewhere, is copied; without `shared` every array is."""
    read_only = zeros((4,))
    read_only.flags.writeable = False
    for array, shared in ((zeros((4,)), True), (_shifted(zeros((4,))), False), (read_only, False)):
        assert np.shares_memory(tensor_of(array, "cpu", shared=True).numpy(), array) == shared
        assert not np.shares_memory(tensor_of(array, "cpu").numpy(), array)


@pytest.mark.parametrize("n_values", [0, 1, 2**18, 2**18 + 1, 10**6])
def test_pieces_tile_a_vector(n_values: int):
    """Every value is in exactly one piece, in order."""
    joined = np.concatenate([np.arange(n_values)[part] for part in pieces(n_values)] or [np.arange(0)])
    np.testing.assert_array_equal(joined, np.arange(n_values))


@pytest.mark.parametrize("place", [copied, _shifted])
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_training_in_place_is_training(place: Place, optimiser: str):
    """Training in place gives the bits of `train_round`, which does not change its arguments."""
    training = Training(batch_size=32, learning_rate=1e-2, regression_weight=0.5, optimiser=optimiser)
    for before in (None, seeded_state(hybrid_set(), _LAYOUT, training, 1)):
        start = None if before is None else _moved(before, place)
        expected = train_round(hybrid_set(), _TRUNK, start, _LAYOUT, _SETTINGS, training, 1, 4)
        if before is not None:
            _assert_same(start, before)
        trunk = place(_TRUNK)
        result = train_in_place(hybrid_set(), trunk, start, _LAYOUT, _SETTINGS, training, 1, 4)
        np.testing.assert_array_equal(trunk - _TRUNK, expected.trunk_change)
        np.testing.assert_array_equal(result.losses, expected.losses)
        assert result.n_compounds_seen == expected.n_compounds_seen
        _assert_same(result.state, expected.state)


def _moved(state: PartnerState, place: Place) -> PartnerState:
    moved = {part: {name: place(array) for name, array in getattr(state, part).items()} for part in _PARTS}
    return replace(state, **moved)


def _assert_same(one: PartnerState, other: PartnerState) -> None:
    for part in _PARTS:
        arrays, others = getattr(one, part), getattr(other, part)
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name])


_PEAK = """
import numpy as np
from pathlib import Path
from partners.settings import Training, TrunkSettings
from partners.training.training import seeded_state, train_in_place, train_round
from partners.network.trunk import initial_trunk, trunk_layout
from tests.support.partners.synthetic import N_INPUTS, TRAINING, small_set

def peak_mb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

def grown(train, n_hidden):
    layout = trunk_layout(N_INPUTS, (n_hidden,))
    trunk, state = initial_trunk(layout, 0), seeded_state(small_set(), layout, TRAINING, 0)
    for moments in (state.first_moment, state.second_moment):
        for array in moments.values():
            array += 1  # so that all of its memory is there
    before = peak_mb()
    train(small_set(), trunk, state, layout, TrunkSettings(hidden=(n_hidden,)), Training(batch_size=8), 0, 1)
    return (peak_mb() - before) / (trunk.nbytes / 2**20)

grown(train_in_place, 3000)  # what the first training loads
print(grown(train_in_place, 150_000), grown(train_round, 150_000))
"""


@pytest.mark.slow
def test_training_in_place_holds_no_second_trunk():
    """Its peak memory beyond trunk and moments is a part of a trunk; `train_round`, which copies, needs three more."""
    done = subprocess.run([sys.executable, "-c", _PEAK], cwd=_ROOT, check=True, capture_output=True, text=True)
    in_place, copying = map(float, done.stdout.split())
    assert in_place < 0.8
    assert copying > 2
