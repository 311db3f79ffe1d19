"""Input columns: which are in the shared vector, which travel, and which are a partner's own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import StateMismatch, TrunkMismatch
from partners.network.input_columns import InputColumns
from partners.network.shared_head_rows import HolderCounts
from partners.network.state import PartnerState, fresh_state
from partners.network.trunk import INPUT_WEIGHT, TrunkLayout, check_layers, initial_pieces, initial_trunk, trunk_layout
from partners.settings import TrunkSettings
from tests.support.partners.synthetic import TRAINING

N_INPUTS, PARTNERS = 9, ("P1", "P2", "P3", "P4")
WHOLE = trunk_layout(N_INPUTS, (4, 3))
COUNTS = HolderCounts((3, 0, 4, 2, 3, 1, 4, 0, 3), frozenset(PARTNERS), 3)
SHARED = [0, 2, 4, 6, 8]
COLUMNS = InputColumns(COUNTS, flagged=np.array([0, 2, 3, 6]), withheld=np.array([5, 8]), trunk_seed=5)


@st.composite
def parts(draw: st.DrawFn) -> InputColumns:
    """A partner's part in any counts with at least one shared column."""
    counts = draw(st.lists(st.integers(0, 4), min_size=N_INPUTS, max_size=N_INPUTS).filter(lambda all_: max(all_) > 2))
    kinds = draw(st.lists(st.sampled_from(["flagged", "withheld", "not held"]), min_size=N_INPUTS, max_size=N_INPUTS))
    flagged, withheld = (np.flatnonzero(np.array(kinds) == kind) for kind in ("flagged", "withheld"))
    return InputColumns(HolderCounts(tuple(counts), frozenset(PARTNERS), 3), flagged, withheld, 5)


def layout_of(columns: InputColumns) -> TrunkLayout:
    """Layout of the shared vector, with two places for rows of a catalogue."""
    return trunk_layout(N_INPUTS, (4, 3), 2, columns.n_columns)


def first_state(columns: InputColumns) -> PartnerState:
    """A partner's state before any training."""
    return columns.begin(layout_of(columns), fresh_state({}, {}, WHOLE, TRAINING))


def first_vector(columns: InputColumns) -> np.ndarray:
    """The first shared vector."""
    return initial_trunk(layout_of(columns), 5, columns.shared)


def test_the_vector_has_the_columns_with_enough_holders():
    """All others, and those that this partner withheld, are its own."""
    assert COLUMNS.shared is not None
    assert COLUMNS.shared.tolist() == SHARED
    assert COLUMNS.n_columns == 5
    assert COLUMNS.own.tolist() == [1, 3, 5, 7, 8]
    layout = layout_of(COLUMNS)
    assert layout.tensors[0].shape == (5, 4)
    assert layout.trunk == WHOLE
    assert layout.n_params == trunk_layout(N_INPUTS, (4, 3), 2).n_params - 4 * 4


def test_a_revision_changes_nothing_of_the_places():
    """Whatever its minimum is, the columns in the vector are those of the plan under which they were counted."""
    later = replace(COLUMNS, counts=replace(COUNTS, least=4, least_when_counted=3))
    assert later.shared is not None
    assert later.shared.tolist() == SHARED
    np.testing.assert_array_equal(later.own, COLUMNS.own)
    assert later.counts.is_sent(PARTNERS).tolist() == [False, True, False, True, False]


@given(parts(), st.integers(1, 40))
def test_the_first_vector_is_that_of_the_whole_trunk_without_the_other_columns(columns: InputColumns, piece: int):
    """Every value of the first whole trunk and of the first rows is where it belongs, whatever the pieces are."""
    whole = trunk_layout(N_INPUTS, (4, 3), 2)
    expected, layout = whole.views(initial_trunk(whole, 5)), layout_of(columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partners.training_data.aligned_arrays._PIECE", piece)
        places = [place for place, _ in initial_pieces(layout, 5, columns.shared)]
        vector = first_vector(columns)
    assert [place.start for place in places] == [0, *(place.stop for place in places[:-1])]
    for name, values in layout.views(vector).items():
        wanted = expected[name][columns.shared] if name == INPUT_WEIGHT else expected[name]
        np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(
        columns.trunk(layout, vector, first_state(columns)), initial_trunk(WHOLE, 5), "nobody has trained"
    )


@given(parts())
def test_only_flagged_columns_of_the_vector_change_by_training(columns: InputColumns):
    """The trunk's other tensors are sent whole; all columns that are not shared, or withheld, stay in the state."""
    layout, state, vector = layout_of(columns), first_state(columns), first_vector(columns)
    trunk = columns.trunk(layout, vector, state).copy()
    trunk += 1  # training
    after = vector.copy()
    kept = columns.take_back(layout, trunk, after, state)
    change = layout.views(after - vector)
    shared = columns.shared
    assert shared is not None
    is_sent = np.isin(shared, columns.flagged)
    np.testing.assert_array_equal(change[INPUT_WEIGHT].any(axis=1), is_sent)
    for name in WHOLE.views(trunk).keys() - {INPUT_WEIGHT}:
        assert change[name].all()
    assert not change["catalogue.weight"].any()
    assert kept.columns is not None
    np.testing.assert_array_equal(kept.columns, WHOLE.views(trunk)[INPUT_WEIGHT][columns.own])
    again = WHOLE.views(columns.trunk(layout, after, kept))[INPUT_WEIGHT]
    stays = np.ones(N_INPUTS, dtype=bool)
    stays[shared[~is_sent]] = np.isin(shared[~is_sent], columns.withheld)  # not held: as others have it
    np.testing.assert_array_equal(again[stays], WHOLE.views(trunk)[INPUT_WEIGHT][stays])


@given(parts(), st.sets(st.sampled_from(PARTNERS), min_size=1))
def test_a_column_travels_only_if_enough_holders_are_surely_on_the_roster(columns: InputColumns, roster: set[str]):
    """Its count minus the absent partners is at least the minimum; else it is zero, and nothing else is."""
    layout, counts = layout_of(columns), columns.counts.counts
    vector = np.ones(layout.n_params, dtype=np.float32)
    columns.hold_back(vector, layout, roster)
    n_absent = len(set(PARTNERS) - roster)
    weight = layout.views(vector)[INPUT_WEIGHT]
    assert [bool(row.all()) for row in weight] == [
        counts[column] - n_absent >= 3 for column in columns.counts.travelling
    ]
    assert int(np.count_nonzero(vector == 0)) == 4 * int(np.count_nonzero(~weight.any(axis=1)))


def test_without_counts_the_trunk_is_the_beginning_of_the_vector():
    """Nothing is copied, held back or kept: as if there were no such thing."""
    columns, layout = InputColumns(), trunk_layout(N_INPUTS, (4, 3), 2)
    vector, state = initial_trunk(layout, 1), fresh_state({}, {}, WHOLE, TRAINING)
    trunk = columns.trunk(layout, vector, state)
    assert np.shares_memory(trunk, vector)
    assert trunk.size == WHOLE.n_params
    assert columns.begin(layout, state) is columns.take_back(layout, trunk, vector, state) is state
    columns.hold_back(vector, layout, ["P1"])
    np.testing.assert_array_equal(vector, initial_trunk(layout, 1))
    assert (columns.shared, columns.n_columns, columns.own.size) == (None, None, 0)


@pytest.mark.parametrize("wrong", [None, np.zeros((4, 4), np.float32), np.zeros((5, 3), np.float32)])
def test_a_state_with_other_columns_is_refused(wrong: np.ndarray | None):
    """None, too few, or of another width: nothing is guessed."""
    state = replace(first_state(COLUMNS), columns=wrong)
    with pytest.raises(StateMismatch, match=r"expected \(5, 4\)"):
        COLUMNS.trunk(layout_of(COLUMNS), first_vector(COLUMNS), state)


@pytest.mark.parametrize("n_columns", [0, 10])
def test_a_vector_has_one_column_at_least_and_no_more_than_the_trunk(n_columns: int):
    """Anything else is no layout."""
    with pytest.raises(TrunkMismatch, match="expected 1 to 9"):
        trunk_layout(N_INPUTS, (4,), n_columns=n_columns)


def test_a_network_needs_the_whole_trunk():
    """The layout of a vector with some of the columns fits no network."""
    with pytest.raises(TrunkMismatch, match="5 of 9 input columns"):
        check_layers(trunk_layout(N_INPUTS, (4, 3), n_columns=5), TrunkSettings(hidden=(4, 3)))
