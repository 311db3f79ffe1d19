"""Signed times are claims: impossible ones give a warning with the member's name, and nothing is refused."""

import pytest

from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import DEAL, PAIRING, SUM, UPDATE, at_round, manifest_of, run_audit, sign_later

LAST = at_round(SUM, 2)  # nothing names the digest of its manifest, so it can be signed anew
FIRST_UPDATE = MessageName("update", 1, 1, "P01")


def test_true_times_give_no_warning(finished: Federation):
    """Up to the second in which the last message was signed, and a minute before."""
    assert run_audit(finished, now=max(run_audit(finished).last_trunk.values()) - 60).warnings == ()


@pytest.mark.parametrize(("seconds", "n_warnings"), [(-61, 1), (-60, 0), (0, 0)])
def test_a_time_to_come_is_warned_of(finished: Federation, seconds: int, n_warnings: int):
    """Each member's latest message, if it is signed more than a minute after the auditor's clock."""
    latest = manifest_of(finished, LAST)
    warnings = run_audit(finished, now=latest.time + seconds).warnings
    of_agg = [warning for warning in warnings if "clock of agg" in warning and "sum of agg" in warning]
    assert len(of_agg) == n_warnings


@pytest.mark.parametrize(
    ("name", "seconds", "said"),
    [
        (LAST, -300, "update of P0"),
        (FIRST_UPDATE, 3600, "update of P01"),
        (UPDATE, -3600, "roster of agg"),
        (PAIRING, -3600, "deal of P01"),
        (PAIRING, 3600, "pairing of P02"),
        (DEAL, 3600, "deal of P01"),
        (SUM, 3600, "sum of agg"),
    ],
)  # fmt: skip
def test_times_against_the_order_are_warned_of(done: Federation, name: MessageName, seconds: int, said: str):
    """Both members are named, once, with the difference of their clocks."""
    sign_later(done, name, seconds)
    warnings = run_audit(done).warnings
    assert warnings
    assert all(warning.startswith("the clocks of ") for warning in warnings)
    assert all(name.sender in warning for warning in warnings)
    assert any(said in warning for warning in warnings)
    pairs = [warning.split(" do not agree")[0] for warning in warnings]
    assert len(set(pairs)) == len(pairs)


def test_a_minute_is_no_matter(done: Federation):
    """Clocks are never quite equal."""
    times = [manifest_of(done, MessageName("update", 2, 1, name)).time for name in done.partners]
    sign_later(done, LAST, max(times) - 60 - manifest_of(done, LAST).time)
    assert run_audit(done).warnings == ()


def test_the_worst_of_many_is_told(done: Federation):
    """Two sums before their updates: one line for each pair of members, with the larger difference."""
    sign_later(done, SUM, -100)
    sign_later(done, LAST, -5000)
    warnings = run_audit(done).warnings
    assert [warning.split(":")[0] for warning in warnings] == [
        f"the clocks of {name} and {AGGREGATOR} do not agree" for name in done.partners
    ]
    assert all(f"s after the {LAST.kind} of {AGGREGATOR} in round 2, attempt 1" in warning for warning in warnings)
