"""The roster: the partners that take part in one attempt of one round."""

from collections.abc import Collection
from dataclasses import dataclass

from secure.encoding.canonical import is_digest
from secure.errors import BadRoster, RosterTooSmall, SumIncomplete

MIN_ROSTER = 3  # with two members, each could compute the other's update from the sum


@dataclass(frozen=True, slots=True)
class Roster:
    """The members whose updates are added in one attempt; all masks and tags are bound to it."""

    plan: str  # plan digest
    round_no: int
    attempt: int
    members: tuple[str, ...]  # names of partners, sorted, each once
    digest: str  # digest of the signed roster manifest

    def __post_init__(self) -> None:
        where = f"roster of round {self.round_no}, attempt {self.attempt}"
        if not is_digest(self.plan) or not is_digest(self.digest):
            raise BadRoster(f"{where}: the plan or roster digest is not 64 hexadecimal characters")
        if not (0 <= self.round_no < 1 << 31 and 0 <= self.attempt < 1 << 31):
            raise BadRoster(f"{where}: round and attempt must be in [0, 2^31)")
        if self.members != tuple(sorted(set(self.members))):
            raise BadRoster(f"{where}: members {self.members} are not sorted and unique")
        if len(self.members) < MIN_ROSTER:
            raise RosterTooSmall(f"{where}: {len(self.members)} members, expected at least {MIN_ROSTER}")


def check_roster(roster: Roster, me: str | None, partners: Collection[str], min_partners: int) -> None:
    """Raise an error for a roster that no partner may seal for or open.

    me           : the partner that seals for it, or None for a member that does not take part
    partners     : all partners of the plan
    min_partners : the plan's minimum
    Raises RosterTooSmall or BadRoster.
    """
    where = f"roster of round {roster.round_no}, attempt {roster.attempt}"
    strangers = sorted(set(roster.members) - set(partners))
    if strangers:
        raise BadRoster(f"{where}: lists {', '.join(strangers)}, expected only partners of the plan")
    needed = max(min_partners, MIN_ROSTER)
    if len(roster.members) < needed:
        raise RosterTooSmall(f"{where}: {len(roster.members)} members, expected at least {needed}")
    if me is not None and me not in roster.members:
        raise BadRoster(f"{where}: does not list {me}, which was asked to take part")


def check_summed(updates: Collection[str], roster: Roster, where: str) -> None:
    """Raise SumIncomplete unless a sum lists updates of exactly the roster's members."""
    if sorted(updates) != list(roster.members):
        raise SumIncomplete(f"{where}: lists {sorted(updates)}, the roster is {list(roster.members)}")
