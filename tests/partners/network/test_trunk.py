"""The flat trunk vector: layout, first values, digest."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import TrunkMismatch
from partners.network.trunk import check_trunk, initial_digests, initial_trunk, trunk_digest, trunk_layout

_LAYERS = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@given(st.integers(1, 40), _LAYERS)
def test_tensors_tile_the_vector(n_inputs: int, hidden: tuple[int, ...]):
    """Every value of the flat vector belongs to exactly one tensor, in layout order."""
    layout = trunk_layout(n_inputs, hidden)
    vector = np.arange(layout.n_params, dtype=np.float32)
    views = layout.views(vector)
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in views.values()]), vector)
    assert all(np.shares_memory(view, vector) for view in views.values())


def test_names_and_shapes():
    """The input weight stands input first, later weights output first, each followed by its bias."""
    layout = trunk_layout(10, (4, 3))
    assert [(t.name, t.shape, t.place) for t in layout.tensors] == [
        ("trunk.0.weight", (10, 4), slice(0, 40)),
        ("trunk.0.bias", (4,), slice(40, 44)),
        ("trunk.1.weight", (3, 4), slice(44, 56)),
        ("trunk.1.bias", (3,), slice(56, 59)),
    ]
    assert layout.n_params == 59


@pytest.mark.parametrize(("n_inputs", "hidden"), [(0, (4,)), (5, ()), (5, (4, 0))])
def test_impossible_trunks_are_refused(n_inputs: int, hidden: tuple[int, ...]):
    """A trunk needs inputs and layers."""
    with pytest.raises(TrunkMismatch, match="expected positive numbers"):
        trunk_layout(n_inputs, hidden)


def test_the_first_trunk_never_changes():
    """The first values depend on the seed alone; these were recorded once and may never change."""
    trunk = initial_trunk(trunk_layout(10, (4, 3)), 2024)
    assert trunk.dtype == np.float32
    assert trunk_digest(trunk) == "59705fccd1c0c13d84a9c67670a8e9eecfc8535ce39d9d9892af00e0497c7497"


@pytest.mark.parametrize("seed", [0, 7])
def test_digests_of_first_vectors_are_those_of_the_vectors(seed: int):
    """With and without rows, in any order and any choice of them, though no vector is made."""
    layouts = [trunk_layout(600, (500, 3), n_rows) for n_rows in (0, 4, 1, 70_000)]
    expected = [trunk_digest(initial_trunk(layout, seed)) for layout in layouts]
    assert list(initial_digests(layouts, seed)) == expected
    assert list(initial_digests(layouts[2:], seed)) == expected[2:]


def test_first_values_follow_pcg64_by_hand():
    """Weights are PCG64's raw 64-bit output turned into uniform numbers; biases are zero."""
    layout = trunk_layout(6, (5,))
    views = layout.views(initial_trunk(layout, 7))
    raw = np.random.PCG64(7).random_raw(30)
    bound = (6 / 11) ** 0.5
    expected = [(int(value) // 2**11 / 2**53 * 2 - 1) * bound for value in raw]
    np.testing.assert_array_equal(views["trunk.0.weight"].ravel(), np.array(expected, dtype=np.float32))
    assert not views["trunk.0.bias"].any()


def test_first_values_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch):
    """Drawing in pieces gives the values drawn at once."""
    layout = trunk_layout(50, (7, 3))
    whole = initial_trunk(layout, 1)
    monkeypatch.setattr("partners.training_data.aligned_arrays._PIECE", 13)
    np.testing.assert_array_equal(initial_trunk(layout, 1), whole)
    assert not np.array_equal(initial_trunk(layout, 2), whole)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_digest_is_sha256_of_little_endian_bytes(values: list[float]):
    """The digest is SHA-256 over the values as little-endian float32, on any machine and in any memory layout."""
    expected = hashlib.sha256(struct.pack(f"<{len(values)}f", *values)).hexdigest()
    assert trunk_digest(np.array(values, dtype=np.float32)) == expected
    assert trunk_digest(np.array(values, dtype=">f4")) == expected
    assert trunk_digest(np.repeat(np.array(values, dtype=np.float32), 2)[::2]) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float):
    """A trunk with NaN or infinity has no digest and passes no check."""
    layout = trunk_layout(3, (2,))
    trunk = initial_trunk(layout, 0)
    trunk[4] = bad
    with pytest.raises(TrunkMismatch, match=r"1 of 8 .*not finite"):
        trunk_digest(trunk)
    with pytest.raises(TrunkMismatch):
        check_trunk(trunk, layout)


def test_wrong_length_and_type_are_refused():
    """A trunk vector must be float32 and as long as its layout."""
    layout = trunk_layout(3, (2,))
    for wrong in (np.zeros(7, np.float32), np.zeros(8), np.zeros((2, 4), np.float32)):
        with pytest.raises(TrunkMismatch, match=r"float32 .*\(8,\)"):
            check_trunk(wrong, layout)
