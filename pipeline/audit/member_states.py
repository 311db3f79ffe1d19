"""The state of a federation and of its members, as `hocket status` shows it."""

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.audit.clock_skew import TOLERANCE_S
from pipeline.exchange.signs import FINISHED, SILENT_S, Sign
from pipeline.plan.plan import COUNTING_ROUND

ENROLMENT = (0, 0)  # round and attempt


class RoundPlace(NamedTuple):
    """An attempt at a round; (0, 0) is the enrolment."""

    round_no: int
    attempt: int

    def __str__(self) -> str:
        """Round and attempt as shown to people, for example 6.1."""
        if self == ENROLMENT:
            return "enrolment"
        return f"counting.{self.attempt}" if self.round_no == COUNTING_ROUND else f"{self.round_no}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member's state, from its newest message and the aggregator's.

    Partners: absent, enrolled, ready (has trained), rostered (seals its update), sealed (has posted its update), left
    out (of the roster), summed (releases, opens the sum, then trains), released, void (seals for the next roster).
    The aggregator: absent, waiting (for ready messages), rostered (waits for updates), summed, void.
    """

    name: str
    role: str
    state: str
    place: RoundPlace
    since: int | None = None  # seconds since 1970, by the signer's clock
    n_bytes: int | None = None  # of that message's payload
    note: str = ""
    sign: Sign | None = None  # its newest sign of life or trouble

    @property
    def trouble(self) -> Sign | None:
        """The error with which its last run ended, None if that run goes on or has left no sign."""
        return self.sign if self.sign is not None and self.sign.exit_code is not None else None

    @property
    def is_over(self) -> bool:
        """Whether its run has left the last sign of life, at its end."""
        return self.sign is not None and self.sign.step == FINISHED

    def is_ahead(self, now: float) -> bool:
        """Whether its sign has a time that is yet to come, so that nobody can see how long the member is silent."""
        return self.sign is not None and self.sign.time > now + TOLERANCE_S


class Deadline(NamedTuple):
    """What happens at some time if nothing is posted until then."""

    time: int  # seconds since 1970; about, for it counts from when the aggregator received a message
    then: str


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a federation."""

    place: RoundPlace
    n_summed: int  # rounds of training, since the plan's first
    is_finished: bool
    awaited: tuple[str, ...]  # members whose message the next step needs
    members: tuple[MemberState, ...]
    refused: tuple[str, ...]  # invalid messages, each with the reason
    awaited_since: int | None = None  # when the last message that the next step needs before theirs was signed
    deadline: Deadline | None = None
    unreleased: tuple[str, ...] = ()  # members of a sum whose release is awaited
    unconfirmed: tuple[str, ...] = ()  # after the end: partners that have not signed their last trunk yet

    def late(self, now: float) -> dict[str, int]:
        """Members that have given no sign of life for SILENT_S though their run should work or wait, and since when.

        A member that has never given one is late if it is awaited. Those in trouble are not listed, nor those whose
        clock is ahead: their silence counts from now.
        now : seconds since 1970; the result too
        """
        last = {member.name: self._last_sign(member) for member in self.members if not member.trouble}
        return {name: time for name, time in last.items() if time is not None and now - time > SILENT_S}

    def _last_sign(self, member: MemberState) -> int | None:
        if member.sign is None:
            return self.awaited_since if member.name in self.awaited else None
        return None if member.is_over else member.sign.time
