"""Head rows to and from the shared vector: exactly the shared ones, and no others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import TrunkMismatch
from partners.network.shared_head_rows import HolderCounts, SharedHeadRows, hold_back_rows, scale_rows
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, HeadSizes, PartnerState, check_state, fresh_state
from partners.network.trunk import (
    CATALOGUE_BIAS,
    CATALOGUE_WEIGHT,
    TrunkLayout,
    check_layers,
    initial_trunk,
    padded_rows,
    trunk_layout,
)
from partners.training.training import round_seed, seeded_state, train_round
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk

LAYOUT = trunk_layout(5, (4, 3), n_rows=6)
N_TASKS = 7
PARTNERS = tuple(f"P{i}" for i in range(8))
HELD = st.dictionaries(st.integers(0, N_TASKS - 1), st.integers(0, 5)).map(
    lambda row_of: {row: tuple(task for task in row_of if row_of[task] == row) for row in row_of.values()}
)  # a task is in one row at most, and a row may have several


def state(rng: np.random.Generator) -> PartnerState:
    """State with heads of seven tasks and two regression tasks, on a trunk of three units."""
    shapes = {HEAD_WEIGHT: (N_TASKS, 3), HEAD_BIAS: (N_TASKS,), "regression.weight": (2, 3), "regression.bias": (2,)}
    heads = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    normalisation = {"mean": np.zeros(2, np.float32), "deviation": np.ones(2, np.float32)}
    return fresh_state(heads, normalisation, LAYOUT, TRAINING)


def test_the_catalogue_follows_the_trunk():
    """The trunk's tensors come first, then the rows' weights, then their biases, to the end."""
    plain = trunk_layout(5, (4, 3))
    assert LAYOUT.tensors[:4] == plain.tensors
    assert LAYOUT.trunk == plain == plain.trunk
    weight, bias = LAYOUT.tensors[4:]
    assert (weight.name, weight.shape, weight.start) == (CATALOGUE_WEIGHT, (6, 3), plain.n_params)
    assert (bias.name, bias.shape) == (CATALOGUE_BIAS, (6,))
    assert bias.place.stop == LAYOUT.n_params == plain.n_params + 6 * 4


def test_the_first_trunk_does_not_depend_on_a_catalogue():
    """Same trunk; rows go on in the same stream of PCG64, uniform as other heads are, with biases of zero."""
    vector = initial_trunk(LAYOUT, 11)
    np.testing.assert_array_equal(vector[: LAYOUT.trunk.n_params], initial_trunk(LAYOUT.trunk, 11))
    raw = np.random.PCG64(11).random_raw(5 * 4 + 4 * 3 + 6 * 3)[-18:]
    by_hand = (((raw >> np.uint64(11)) * 2.0**-53) * 2 - 1) * (1 / np.sqrt(3))
    np.testing.assert_array_equal(LAYOUT.views(vector)[CATALOGUE_WEIGHT].ravel(), by_hand.astype(np.float32))
    assert not LAYOUT.views(vector)[CATALOGUE_BIAS].any()


def test_a_states_moments_are_those_of_trunk_and_heads():
    """A state fits the whole vector's layout as it fits the trunk's: rows have no second set of moments."""
    fresh = state(np.random.default_rng(0))
    for layout in (LAYOUT, LAYOUT.trunk):
        check_state(fresh, layout, HeadSizes((N_TASKS,), (2,)))


def test_the_network_takes_the_trunk_alone():
    """A layout with a catalogue is refused where a network is made of it."""
    _, _, settings = small_trunk(16)
    with pytest.raises(TrunkMismatch, match=r"6 rows .*catalogue"):
        check_layers(trunk_layout(5, (16,), n_rows=6), settings)


def counted(shared: set[int]) -> tuple[HolderCounts, TrunkLayout]:
    """Counts by which exactly these of six rows are shared, and the vector's layout."""
    counts = HolderCounts(tuple(3 if row in shared else 2 for row in range(6)), frozenset(PARTNERS), 3)
    return counts, trunk_layout(5, (4, 3), counts.n_places)


@given(HELD, st.sets(st.integers(0, 5)), st.integers(0, 2**32))
def test_only_shared_rows_are_set_from_the_vector(held: dict[int, tuple[int, ...]], shared: set[int], seed: int):
    """Held and shared rows are set from the vector; all other numbers of the heads, and the argument, do not change."""
    rng, (counts, layout) = np.random.default_rng(seed), counted(shared)
    before, vector = state(rng), rng.normal(size=layout.n_params).astype(np.float32)
    kept = {name: array.copy() for name, array in before.heads.items()}
    after = SharedHeadRows.of(layout, held, counts).from_vector(vector, before)
    views = layout.views(vector)
    place = {row: place for place, row in enumerate(sorted(shared))}
    by_task = {task: place[row] for row, tasks in held.items() if row in shared for task in tasks}
    for task in range(N_TASKS):
        row = by_task.get(task)
        weight, bias = (kept[HEAD_WEIGHT][task], kept[HEAD_BIAS][task])
        if row is not None:
            weight, bias = views[CATALOGUE_WEIGHT][row], views[CATALOGUE_BIAS][row]
        np.testing.assert_array_equal(after.heads[HEAD_WEIGHT][task], weight)
        assert after.heads[HEAD_BIAS][task] == bias
    for name, array in kept.items():
        np.testing.assert_array_equal(before.heads[name], array)
        if name.startswith("regression"):
            assert after.heads[name] is before.heads[name]


@given(HELD, st.sets(st.integers(0, 5)), st.integers(0, 2**32))
def test_only_shared_rows_are_written_to_the_vector(held: dict[int, tuple[int, ...]], shared: set[int], seed: int):
    """Places of held and shared rows are set from the heads; all other numbers of the vector do not change."""
    rng, (counts, layout) = np.random.default_rng(seed), counted(shared)
    heads, vector = state(rng), rng.normal(size=layout.n_params).astype(np.float32)
    put = vector.copy()
    rows = SharedHeadRows.of(layout, held, counts)
    rows.to_vector(rows.from_vector(vector, heads), put)
    np.testing.assert_array_equal(put, vector)
    for name in (HEAD_WEIGHT, HEAD_BIAS):  # as after training: heads of one row are equal
        for tasks in held.values():
            heads.heads[name][list(tasks)] = heads.heads[name][tasks[0]]
    rows.to_vector(heads, put)
    np.testing.assert_array_equal(put[: layout.trunk.n_params], vector[: layout.trunk.n_params])
    if not shared:
        return
    before, after, row_at = layout.views(vector), layout.views(put), sorted(shared)
    for place in range(layout.n_rows):
        weight, bias = before[CATALOGUE_WEIGHT][place], before[CATALOGUE_BIAS][place]
        row = row_at[place] if place < len(row_at) else None
        if row in held:
            weight, bias = (heads.heads[name][held[row][0]] for name in (HEAD_WEIGHT, HEAD_BIAS))
        np.testing.assert_array_equal(after[CATALOGUE_WEIGHT][place], weight)
        assert after[CATALOGUE_BIAS][place] == bias


@given(HELD, st.sets(st.integers(0, 5)))
def test_tasks_of_one_shared_row_are_tied(held: dict[int, tuple[int, ...]], shared: set[int]):
    """Every row with several tasks is a group, if it is shared; other heads are trained alone."""
    counts, layout = counted(shared)
    tied = SharedHeadRows.of(layout, held, counts).tied
    assert tied == [list(held[row]) for row in sorted(shared & held.keys()) if len(held[row]) > 1]


def test_without_a_catalogue_nothing_is_written():
    """The vector is the trunk alone, which does not change."""
    layout = LAYOUT.trunk
    trunk = np.ones(layout.n_params, np.float32)
    SharedHeadRows.of(layout, {}, HolderCounts()).to_vector(state(np.random.default_rng(0)), trunk)
    assert (trunk == 1).all()


@given(st.lists(st.floats(0, 10), min_size=6, max_size=6), st.integers(0, 2**32))
def test_scaled_rows(factors: list[float], seed: int):
    """Each row times its factor in float64, rounded once; the trunk stays."""
    vector = np.random.default_rng(seed).normal(size=LAYOUT.n_params).astype(np.float32)
    scaled = vector.copy()
    scale_rows(scaled, LAYOUT, np.array(factors))
    np.testing.assert_array_equal(scaled[: LAYOUT.trunk.n_params], vector[: LAYOUT.trunk.n_params])
    before, after = LAYOUT.views(vector), LAYOUT.views(scaled)
    for row, factor in enumerate(factors):
        for name in (CATALOGUE_WEIGHT, CATALOGUE_BIAS):
            exact = before[name][row].astype(np.float64) * factor
            np.testing.assert_array_equal(after[name][row], exact.astype(np.float32))


def test_the_seeded_state_is_the_one_a_round_begins_with():
    """A round with this state and one without a state give the same bits, regression included."""
    layout, trunk, settings = small_trunk(16)
    for data in (small_set(), hybrid_set()):
        seed = round_seed(4, 0, 1)
        drawn = seeded_state(data, layout, TRAINING, seed)
        explicit, implicit = (train_round(data, trunk, s, layout, settings, TRAINING, seed, 3) for s in (drawn, None))
        np.testing.assert_array_equal(explicit.trunk_change, implicit.trunk_change)
        for name, array in implicit.state.heads.items():
            np.testing.assert_array_equal(explicit.state.heads[name], array)


@given(st.data())
def test_a_row_is_sent_only_with_enough_holders_on_the_roster(data: st.DataObject):
    """For any holders, the factor is never too large, and exact if all holders are on the roster."""
    least = data.draw(st.integers(2, 4))
    holders = data.draw(st.lists(st.sets(st.sampled_from(PARTNERS)), min_size=1, max_size=6))
    members = data.draw(st.sets(st.sampled_from(PARTNERS), min_size=3))
    counts = HolderCounts(tuple(map(len, holders)), frozenset(PARTNERS), least)
    n_absent = len(PARTNERS) - len(members)
    factors = counts.factors(members)
    assert factors.shape == (counts.n_places,)
    assert counts.travelling == [row for row, held in enumerate(holders) if len(held) >= least]
    assert not factors[len(counts.travelling) :].any()
    for row, factor in zip(counts.travelling, factors, strict=False):
        held = holders[row]
        there = len(held & members)
        if factor:
            assert there >= least
            assert factor <= len(members) / there
            assert factor <= len(members) / least
            if not n_absent:
                assert factor == len(members) / there
        else:
            assert len(held) - n_absent < least
    assert counts.factors(PARTNERS)[: len(counts.travelling)].all()
    assert counts.shared_rows == counts.travelling


@pytest.mark.parametrize(("n_travelling", "n_places"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1025, 2048)])
def test_the_vector_has_a_power_of_two_of_places(n_travelling: int, n_places: int):
    """So that its length tells little of how many rows travel, but whether there is any."""
    assert padded_rows(n_travelling) == n_places


def test_a_revision_moves_no_row():
    """Places are those of the count; with a larger minimum a row keeps its place but is not shared any more."""
    for least, shared in ((2, [0, 2, 3]), (3, [0, 2, 3]), (4, [2, 3]), (6, [])):
        counts = HolderCounts((3, 2, 5, 4, 1), frozenset(PARTNERS), least, 3)
        assert (counts.travelling, counts.n_places, counts.shared_rows) == ([0, 2, 3], 4, shared)
        np.testing.assert_array_equal(counts.factors(PARTNERS) > 0, [row in shared for row in (0, 2, 3)] + [False])


def test_without_a_catalogue_there_are_no_rows():
    """No row is shared, and no row is multiplied."""
    assert HolderCounts().shared_rows == []
    assert HolderCounts().factors(PARTNERS).shape == (0,)


@pytest.mark.parametrize(
    ("members", "kept"),
    [(PARTNERS[:3], [3]), (PARTNERS[:5], [1, 3]), (PARTNERS[:6], [1, 2, 3]), (PARTNERS, [0, 1, 2, 3])],
)
def test_rows_with_too_few_holders_on_the_roster_are_held_back(members: tuple[str, ...], kept: list[int]):
    """Every absent partner may be a holder; the trunk and rows with enough holders do not change."""
    counts = HolderCounts((3, 1, 7, 0, 5, 8), frozenset(PARTNERS), 3)  # rows 0, 2, 4 and 5 have places
    layout = trunk_layout(5, (4, 3), counts.n_places)
    vector = initial_trunk(layout, 3)
    expected = vector.copy()
    for name in (CATALOGUE_WEIGHT, CATALOGUE_BIAS):
        layout.views(expected)[name][[place for place in range(4) if place not in kept]] = 0
    hold_back_rows(vector, layout, counts, members)
    np.testing.assert_array_equal(vector, expected)
