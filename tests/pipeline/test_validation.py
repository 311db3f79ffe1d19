"""Validation slows no round by much: how often a round ends with scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import Record
from pipeline.validation import SHARE, is_due


def validated(n_rounds: int, every: int, cost_s: float, round_s: float) -> tuple[list[int], list[Record]]:
    """The rounds that end with scores, and all records, where each validation and each round take as long."""
    records: list[Record] = [Record(0, 0.0, {"seconds_prepare": 1e6})]
    found = []
    for round_no in range(1, n_rounds + 1):
        metrics = {"seconds_round": round_s}
        if is_due(round_no, n_rounds, every, records):
            found.append(round_no)
            metrics = {"seconds_round": round_s + cost_s, "seconds_validate": cost_s}
        records.append(Record(round_no, 0.0, metrics))
    return found, records


@given(st.integers(1, 40), st.floats(1e-3, 10), st.floats(1e-3, 100))
def test_validation_takes_its_share_at_most(n_rounds: int, cost_s: float, round_s: float):
    """Two per cent of the rounds' time, beside the first and the last: at whatever cost of either."""
    found, records = validated(n_rounds, 0, cost_s, round_s)
    total_s = sum(record.metrics.get("seconds_round", 0.0) for record in records)
    assert len(found) * cost_s <= SHARE * total_s + 2 * cost_s + 1e-9
    assert {1, n_rounds} <= set(found)


@given(st.integers(1, 40), st.floats(1, 100))
def test_what_costs_nothing_to_speak_of_is_done_every_round(n_rounds: int, round_s: float):
    """A hundredth of a round is less than the share."""
    found, _ = validated(n_rounds, 0, round_s / 100, round_s)
    assert found == list(range(1, n_rounds + 1))


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (50, [7])])
def test_an_interval_is_kept_whatever_it_costs(every: int, expected: list[int]):
    """And the last round is scored."""
    assert validated(7, every, 1000.0, 1.0)[0] == expected


def test_dear_validation_comes_in_even_intervals():
    """A validation of a tenth of a round: every fifth or so."""
    assert validated(20, 0, 1.0, 10.0)[0] == [1, 6, 11, 16, 20]
