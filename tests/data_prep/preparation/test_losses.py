"""How much of T1 is left out: the share, the assays that are lost whole, and when that is too much."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import TooMuchLeftOut
from data_prep.preparation.losses import Losses, expect_few, losses_of
from data_prep.settings import Activities, OwnTables
from data_prep.tables.tables import REJECTED_COLUMNS

LEAST = Activities().training_min_active + Activities().training_min_inactive


def lost(n_rejected: dict[str, int], n_accepted: dict[str, int], accept: frozenset[str] = frozenset()) -> Losses:
    rows = [("T1", i, a, "c", "out_of_range") for a, n in n_rejected.items() for i in range(n)]
    rejected = pl.DataFrame([*rows, ("T2", 1, None, "c", "empty")], schema=REJECTED_COLUMNS, orient="row")
    accepted = pl.DataFrame(
        {"input_assay_id": [a for a, n in n_accepted.items() for _ in range(n)]}, {"input_assay_id": pl.String}
    )
    own = OwnTables(accept=accept)
    return losses_of(accepted, rejected, len(rows) + accepted.height, Activities(), own)


@given(n_rejected=st.integers(0, 300), n_rows=st.integers(1, 300), most=st.floats(0, 0.999))
def test_the_share_decides(n_rejected, n_rows, most):
    """More than the share is too much, exactly the share is not; without rows nothing is."""
    losses = Losses(n_rows + n_rejected, {"out_of_range": n_rejected})
    too_much = n_rejected > most * (n_rows + n_rejected)
    assert bool(losses.problems(OwnTables(most_rejected=most))) == too_much
    assert losses.problems(OwnTables()) == []
    assert losses.share == pytest.approx(n_rejected / (n_rows + n_rejected), abs=5e-5)
    assert Losses(0, {}).problems(OwnTables(most_rejected=0)) == []


def test_an_assay_is_lost_if_it_could_have_been_a_task():
    """All its rows are rejected, as many as a task needs labels; rows of other tables do not count."""
    losses = lost({"a": LEAST, "b": LEAST - 1, "c": LEAST, "d": LEAST}, {"c": 1}, frozenset({"d"}))
    assert losses.lost_assays == ("a",)
    assert losses.reasons == {"out_of_range": 4 * LEAST - 1}


def test_the_error_says_what_to_do():
    """Counts by reason, the first assays, and the settings that allow it; without a limit nothing is raised."""
    losses = lost({f"a{i}": LEAST for i in range(7)}, {"b": 10_000})
    expect_few(losses, OwnTables())
    with pytest.raises(TooMuchLeftOut, match=r"7 assays \(a0, a1, a2, a3, a4, \.\.\.\)") as caught:
        expect_few(losses, OwnTables(most_rejected=0.1))
    assert "rows" not in str(caught.value)
    notes = caught.value.__notes__
    for setting in ("standard_unit", "accept", "most_rejected"):
        assert any(setting in note for note in notes), setting


def test_advice_follows_the_reasons():
    """The most frequent reason comes first, and the unit is asked for only if values were hardly possible."""
    advice = Losses(100, {"unknown_compound": 5, "not_a_number": 9, "rejected_assay": 20}).advice()
    assert [sum(word in note for note in advice[:1]) for word in ("standard_value", "standard_qualifier")] == [1, 1]
    assert "input_compound_id" in advice[1]
    assert not any("unit" in note or "accept" in note for note in advice)
    assert (
        Losses(100, {"out_of_range": 1, "implausible_assay": 90}).advice()[0]
        == Losses(9, {"mixed_units": 9}).advice()[0]
    )
