"""Rosters that a partner must refuse."""

import pytest

from secure.encoding.canonical import digest
from secure.encoding.roster import Roster, check_roster
from secure.errors import BadRoster, RosterTooSmall

PLAN, DIGEST = digest(b"plan"), digest(b"roster")
FIVE = ("a", "b", "c", "d", "e")


def roster(*members: str) -> Roster:
    return Roster(PLAN, 1, 0, members, DIGEST)


def test_good_rosters_pass():
    """A roster of all or enough partners that includes this partner is accepted."""
    check_roster(roster(*FIVE), "a", FIVE, 5)
    check_roster(roster("a", "b", "d"), "d", FIVE, 3)
    check_roster(roster("a", "b", "d"), None, FIVE, 0)


def test_small_rosters_are_refused():
    """A roster with fewer members than the plan's minimum, or than three, is refused."""
    with pytest.raises(RosterTooSmall):
        check_roster(roster("a", "b", "c"), "a", FIVE, 4)
    for members in (("a", "b"), ("a",), ()):
        with pytest.raises(RosterTooSmall):
            roster(*members)


def test_strangers_and_absence_are_refused():
    """A roster with a name that is not in the plan, or without this partner, is refused."""
    with pytest.raises(BadRoster, match="lists x"):
        check_roster(roster("a", "b", "x"), "a", FIVE, 3)
    with pytest.raises(BadRoster, match="not list e"):
        check_roster(roster("a", "b", "c"), "e", FIVE, 3)


@pytest.mark.parametrize("members", [("b", "a", "c"), ("a", "a", "b"), ("a", "b", "c", "c")])
def test_unsorted_or_doubled_names_are_refused(members):
    """The members of a roster must be sorted and unique."""
    with pytest.raises(BadRoster):
        roster(*members)


@pytest.mark.parametrize("change", [{"plan": "x"}, {"digest": ""}, {"round_no": -1}, {"attempt": 1 << 31}])
def test_malformed_fields_are_refused(change):
    """A roster with a malformed digest, or a round or attempt out of range, is refused."""
    fields = {"plan": PLAN, "round_no": 1, "attempt": 0, "members": ("a", "b", "c"), "digest": DIGEST}
    with pytest.raises(BadRoster):
        Roster(**(fields | change))
