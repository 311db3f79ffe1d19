"""Columns, reconstruction, incoming trunks and canaries: what they find where something was planted, and where not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from partners.audit.canaries import Canary, TooManyCanaries, canary_rows, draw_canaries, left_out_rows
from partners.audit.columns import column_table
from partners.audit.incoming import jumps, measure_trunk
from partners.audit.reconstruction import reconstruct
from partners.training.training import train_round
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_columns_are_counted_exactly(seed: int):
    """Against dense arithmetic, with and without the counts of holders."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((30, 50)) < rng.random(50) ** 3).astype(np.float32)
    holders = rng.integers(0, 6, 50)
    table, n_own = column_table(sparse.csr_matrix(dense), holders.tolist(), fewest=3), dense.sum(axis=0)
    assert sum(part.n_columns for part in table.classes) == 50
    for part in table.classes:
        chosen = (n_own >= part.first) & (n_own <= (part.last if part.last is not None else 99))
        assert part.n_columns == chosen.sum()
        assert part.n_compounds == (0 if part.first == 0 else dense[:, chosen].any(axis=1).sum())
    alone = (n_own > 0) & (holders > 0) & (holders < 3)
    assert (table.n_alone, table.n_exposed) == (alone.sum(), dense[:, alone].any(axis=1).sum())
    assert column_table(sparse.csr_matrix(dense)).n_alone is None


def test_compounds_with_bits_of_their_own_are_recovered_from_the_trained_trunk():
    """Four compounds get five bits that no other sets; the others are not found."""
    data, (layout, first, trunk_settings) = small_set(), small_trunk(12)
    x = data.x.tolil()
    x[:, 60:80] = 0
    owners = data.training_rows[:4]
    for i, row in enumerate(owners):
        x[row, 60 + 5 * i : 65 + 5 * i] = 1
    planted = type(data)(x=x.tocsr(), y=data.y, folding=data.folding, training_weight=data.training_weight)
    change = train_round(planted, first, None, layout, trunk_settings, TRAINING, 0, 40).trunk_change
    found = reconstruct(layout.views(change)["trunk.0.weight"], planted.x[planted.training_rows])
    assert (found.n_groups, found.n_recovered, found.n_bits) == (4, 4, 20)
    unplanted = train_round(data, first, None, layout, trunk_settings, TRAINING, 0, 40).trunk_change
    assert reconstruct(layout.views(unplanted)["trunk.0.weight"], data.x[data.training_rows]).n_recovered == 0
    assert reconstruct(np.zeros((96, 12), np.float32), data.x).n_changed == 0


def test_a_trunk_that_was_trained_is_not_warned_of_and_a_trap_is():
    """Huge weights on one unit, biases that isolate single compounds, a layer that is larger as a whole."""
    data, (layout, first, trunk_settings) = small_set(), small_trunk(24, 12)
    x, trunks = data.x[data.training_rows], [first]
    for round_no in range(5):
        trained = train_round(data, trunks[-1], None, layout, trunk_settings, TRAINING, round_no, 20)
        trunks.append(trunks[-1] + trained.trunk_change)
    looks = [measure_trunk(i + 1, trunk, layout, trunk_settings, x) for i, trunk in enumerate(trunks)]
    assert [jumps(looks[:i], look) for i, look in enumerate(looks)] == [[]] * 6

    def warned(change: object, before: int = 5) -> list[str]:
        trap = trunks[-1].copy()
        change(layout.views(trap))  # type: ignore[operator]
        return jumps(looks[:before], measure_trunk(7, trap, layout, trunk_settings, x))

    def one_unit(views: dict[str, np.ndarray]) -> None:
        views["trunk.0.weight"][:, 3] *= 100

    def one_bias(views: dict[str, np.ndarray]) -> None:
        views["trunk.1.bias"][2] = -50

    def isolating(views: dict[str, np.ndarray]) -> None:
        sums = np.sort(x @ views["trunk.0.weight"], axis=0)
        views["trunk.0.bias"][:] = -(sums[-1] + sums[-2]) / 2  # only the largest is left

    assert {text.split(":")[0] for text in warned(one_unit)} == {"layer 1, largest unit", "layer 1, weights"}
    assert {text.split(":")[0] for text in warned(one_bias)} == {"layer 2, largest bias"}
    assert "layer 1, units of one compound" in {text.split(":")[0] for text in warned(isolating)}
    assert warned(one_unit, before=1)  # the plan's first trunk alone is history enough
    assert warned(lambda views: views["trunk.1.weight"].__imul__(30))


def test_canaries_are_a_secret_random_half():
    """Equal seeds, equal canaries; half are left out; who has another seed knows nothing."""
    data = small_set(n_compounds=400)
    canaries = draw_canaries(data, 100, b"a")
    assert canaries == draw_canaries(data, 100, b"a")
    assert canaries != draw_canaries(data, 100, b"b")
    assert 30 < sum(canary.is_member for canary in canaries) < 70
    rows, is_member = canary_rows(data, canaries)
    assert len(set(rows)) == 100
    assert set(rows) <= set(data.training_rows)
    assert set(left_out_rows(data.x, canaries)) == set(rows[~is_member])
    with pytest.raises(TooManyCanaries, match="found 300"):
        draw_canaries(data, 300, b"a")


def test_all_compounds_with_the_fingerprint_of_a_canary_are_left_out():
    """A twin in the training would make it a member."""
    data = small_set()
    canaries = [Canary(canary.fingerprint, is_member=False) for canary in draw_canaries(data, 30, b"a")]
    rows = left_out_rows(data.x, canaries)
    twins = sparse.vstack([data.x, data.x[rows[:5]]]).tocsr()
    assert rows.size == 30
    assert np.array_equal(left_out_rows(twins, canaries), [*rows, *range(120, 125)])
    assert left_out_rows(data.x, []).size == 0
    assert canary_rows(data, [Canary("00" * 16, is_member=True)])[0].size == 0
