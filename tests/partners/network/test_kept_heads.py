"""Heads after a change of a partner's tables: each task keeps its own, a new one begins as any head does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import StateMismatch
from partners.network.kept_heads import keep_heads
from partners.network.state import (
    DEVIATION,
    HEAD_BIAS,
    HEAD_WEIGHT,
    MEAN,
    HeadSizes,
    PartnerState,
    check_state,
    fresh_state,
    initial_heads,
)
from partners.network.trunk import trunk_layout
from partners.settings import Training
from partners.training_data.task_keys import TaskKeys

LAYOUT = trunk_layout(8, (4,))
NAMES = st.lists(st.sampled_from("ABCDEFGH"), unique=True, min_size=1, max_size=6)
REGRESSION = "regression.weight"


def state_of(keys: TaskKeys, seed: int) -> PartnerState:
    """A state with heads drawn from a seed, and means and deviations that differ from task to task."""
    sizes = HeadSizes((len(keys.classification),), (len(keys.regression),))
    rng = np.random.default_rng(seed)
    means = rng.random((2, len(keys.regression))).astype(np.float32)
    return fresh_state(initial_heads(LAYOUT, sizes, rng), {MEAN: means[0], DEVIATION: means[1] + 1}, LAYOUT, Training())


@given(NAMES, NAMES, NAMES, NAMES)
def test_each_task_keeps_its_head(before: list[str], now: list[str], values: list[str], later: list[str]) -> None:
    """In whatever order and however many; new tasks have the fresh heads; the optimiser begins anew."""
    old, new = TaskKeys(tuple(before), tuple(values)), TaskKeys(tuple(now), tuple(later))
    state, fresh = replace(state_of(old, 1), n_steps=7), state_of(new, 2)
    expected = fresh.copied()
    kept = keep_heads(state, old, new, fresh)
    check_state(kept, LAYOUT, HeadSizes((len(now),), (len(later),)))
    for name, first, following in ((HEAD_WEIGHT, before, now), (HEAD_BIAS, before, now), (REGRESSION, values, later)):
        for row, key in enumerate(following):
            source = state.heads[name][first.index(key)] if key in first else expected.heads[name][row]
            if old != new:
                np.testing.assert_array_equal(kept.heads[name][row], source)
    assert kept.n_steps == (7 if old == new else 0)
    for row, key in enumerate(later):
        for part in (MEAN, DEVIATION):
            source = (
                state.normalisation[part][values.index(key)] if key in values else expected.normalisation[part][row]
            )
            assert kept.normalisation[part][row] == source


def test_heads_of_another_width_are_refused() -> None:
    """Extra layers are a setting, and stay what they were."""
    old, new = TaskKeys(("A",)), TaskKeys(("A", "B"))
    state = state_of(old, 1)
    wider = replace(state, heads={HEAD_WEIGHT: np.zeros((1, 5), np.float32), HEAD_BIAS: state.heads[HEAD_BIAS]})
    with pytest.raises(StateMismatch, match=r"classification\.weight"):
        check_state(keep_heads(wider, old, new, state_of(new, 2)), LAYOUT, HeadSizes((2,)))


def test_how_many_tasks_are_new() -> None:
    """Of both kinds."""
    before, now = TaskKeys(("A", "B"), ("A",)), TaskKeys(("B", "C", "D"), ("A", "E"))
    assert (now.n_not_in(before), before.n_not_in(now), now.n_tasks) == (3, 1, 5)
