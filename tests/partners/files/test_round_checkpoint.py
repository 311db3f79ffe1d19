"""The checkpoints of a round: written once, read whole or part by part; without a file the first round's start."""

from pathlib import Path

import numpy as np

from partners.files.round_checkpoint import FirstRound, Provenance, RoundStart, StoredStart
from partners.network.server_state import initial_server_state
from partners.network.trunk import initial_trunk, trunk_digest
from partners.settings import ServerOptimiser
from partners.training.training import seeded_state
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk

LAYOUT, TRUNK, _ = small_trunk(6)
ADAM = ServerOptimiser(method="adam")
FIRST = FirstRound(LAYOUT, 7, ADAM, np.full(len(LAYOUT.tensors), 0.5))


def test_a_start_comes_back_part_by_part(tmp_path: Path):
    """Every part that is read alone equals the one of the whole start, to the last bit."""
    state, under = seeded_state(small_set(), LAYOUT, TRAINING, 3), Provenance("a" * 64, "b" * 64)
    bounds = np.linspace(0.1, 0.2, len(LAYOUT.tensors))
    server = initial_server_state(ADAM, LAYOUT.n_params)
    start = RoundStart(LAYOUT, TRUNK, server, bounds, state, TRUNK / 2, under)
    path = tmp_path / "round-0002" / "start.safetensors"
    start.write(path)
    whole, parts = RoundStart.read(path, LAYOUT), StoredStart(path, FIRST)
    for vector in (whole.vector, parts.vector(), np.concatenate([values for _, values in parts.pieces()])):
        np.testing.assert_array_equal(vector, TRUNK)
    assert parts.digest == whole.digest == trunk_digest(TRUNK)
    assert parts.under == whole.under == under
    assert parts.n_params == LAYOUT.n_params
    np.testing.assert_array_equal(parts.bounds, bounds)
    np.testing.assert_array_equal(parts.residual(), TRUNK / 2)
    assert parts.server().arrays.keys() == whole.server.arrays.keys()
    private = parts.private()
    assert private is not None
    for name, head in state.heads.items():
        np.testing.assert_array_equal(private.heads[name], head)


def test_without_a_file_it_is_the_first_start(tmp_path: Path):
    """The first start follows from the settings alone; it has no heads, no residual and no plan before it."""
    parts = StoredStart(tmp_path / "start.safetensors", FIRST)
    np.testing.assert_array_equal(parts.vector(), initial_trunk(LAYOUT, 7))
    np.testing.assert_array_equal(np.concatenate([values for _, values in parts.pieces()]), parts.vector())
    assert parts.bounds is FIRST.bounds
    assert parts.n_params == LAYOUT.n_params
    assert parts.server().arrays.keys() == {"first", "second"}
    assert (parts.private(), parts.residual(), parts.under) == (None, None, None)
