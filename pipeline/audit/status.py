"""`hocket status`: where a federation and its members stand, from signed messages alone; no payload is read.

Only the aggregator's word moves a federation on, so the round is that of its last roster, sum or void. A message that
is not as it must be is shown as such and otherwise treated as if it were not there. Whether the messages fit together
in all else, and the payloads, is what `hocket verify` checks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import ExchangeConflict
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import REVISION, Message, check_sender, message_of, read_message
from pipeline.plan.plan import PRESENCE, Plan
from secure.errors import SecureError
from secure.messages.message_name import MessageName

_ENROLMENT = (0, 0)
_OUTCOMES = ("sum", "void")


class RoundPlace(NamedTuple):
    """An attempt at a round; (0, 0) is the enrolment."""

    round_no: int
    attempt: int

    def __str__(self) -> str:
        """As a person would name it."""
        if self == _ENROLMENT:
            return "enrolment"
        return f"presence.{self.attempt}" if self.round_no == PRESENCE else f"{self.round_no}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class MemberState:
    """What a member's newest message says, and the aggregator's about it.

    Partners: absent, enrolled, ready (trained), rostered (called, seals), sealed (delivered), left out (of the roster),
    summed (its update is in the sum; opens it, then trains), void (the attempt is; trains anew).
    The aggregator: absent, waiting (for who is not ready), rostered (waits for updates), summed, void.
    """

    name: str
    role: str
    state: str
    place: RoundPlace
    since: int | None = None  # seconds since 1970, by the clock of who signed
    n_bytes: int | None = None  # of the payload that came with it
    note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a federation stands."""

    place: RoundPlace
    n_summed: int  # rounds of training, since the plan's first
    is_finished: bool
    awaited: tuple[str, ...]  # whose message the next step needs
    members: tuple[MemberState, ...]
    refused: tuple[str, ...]  # messages that were not believed, each with the reason


class StatusReader:
    """Reads an exchange again and again; a message that was verified is not read again."""

    def __init__(self, plan: Plan, exchange: Exchange) -> None:
        self.plan, self.exchange = plan, exchange.below(plan.folder)
        self._verified: dict[MessageName, Message] = {}

    def look(self) -> Status:
        """What the exchange holds now. Raises ExchangeError where it cannot be read."""
        seen = _Seen(self)
        before, place = self._places(seen)
        states = _States(self.plan, seen, before, place)
        is_finished = place == before and place.round_no == self.plan.rounds.n_rounds
        return Status(
            place=place if states.is_enrolled else RoundPlace(*_ENROLMENT),
            n_summed=max(0, (place.round_no if is_finished else place.round_no - 1) - self.plan.first_round + 1),
            is_finished=is_finished,
            awaited=() if is_finished else tuple(states.awaited()),
            members=tuple(states.all()),
            refused=tuple(seen.refused),
        )

    def _places(self, seen: "_Seen") -> tuple[RoundPlace | None, RoundPlace]:
        """The attempt that ended last, if any, and the one that is under way; both are the last one at the end."""
        first = RoundPlace(self.plan.starts_with, 1)
        for place in seen.places:
            if seen.sent_by_aggregator("sum", place):
                if place.round_no >= self.plan.rounds.n_rounds:
                    return place, place
                return place, RoundPlace(place.round_no + 1, 1)
            if seen.sent_by_aggregator("void", place):
                return place, RoundPlace(place.round_no, place.attempt + 1)
            if seen.sent_by_aggregator("roster", place):
                return seen.place_before(place), place
        return None, first

    def read(self, name: MessageName, *, has_payload: bool) -> Message:
        """A verified message. Raises secure.errors.SecureError."""
        if name not in self._verified:
            self._verified[name] = read_message(name, self.plan, self.exchange, has_payload=has_payload)
        return self._verified[name]

    def listed(self, refused: list[str]) -> dict[MessageName, set[bool]]:
        """Messages of which there are files, by sender and place; True: the manifest, False: the payload."""
        found: dict[MessageName, set[bool]] = {}
        for path in self.exchange.list_files():
            if REVISION.match(path):
                continue
            try:
                name, is_manifest = message_of(path, self.exchange)
                check_sender(name, self.plan.cards, self.exchange.where(path))
            except ExchangeConflict as error:
                refused.append(str(error))
            else:
                found.setdefault(name, set()).add(is_manifest)
        return found


class _Seen:
    """One look: messages are verified when they are asked for."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self.refused: list[str] = []
        self._files = reader.listed(self.refused)
        ended = {RoundPlace(name.round_no, name.attempt) for name in self._files if name.attempt}
        self.places = sorted(ended, reverse=True)

    def message(self, kind: str, place: RoundPlace, sender: str) -> Message | None:
        name = MessageName(kind, *place, sender)
        files = self._files.get(name, set())
        if True not in files:
            return None
        try:
            return self._reader.read(name, has_payload=False in files)
        except SecureError as error:
            if str(error) not in self.refused:
                self.refused.append(str(error))
            return None

    def sent_by_aggregator(self, kind: str, place: RoundPlace) -> Message | None:
        return self.message(kind, place, self._reader.plan.aggregator_name)

    def has_payload(self, message: Message) -> bool:
        return False in self._files[message.name]

    def place_before(self, place: RoundPlace) -> RoundPlace | None:
        """The attempt that ended last before this one."""
        earlier = (found for found in self.places if found < place)
        return next(
            (found for found in earlier if any(self.sent_by_aggregator(kind, found) for kind in _OUTCOMES)), None
        )


class _States:
    """The members' states in the attempt under way, or what became of them in the one before."""

    def __init__(self, plan: Plan, seen: _Seen, before: RoundPlace | None, place: RoundPlace) -> None:
        self._plan, self._seen, self._before, self._place = plan, seen, before, place
        self._paired = self._of_partners("pairing", RoundPlace(*_ENROLMENT))
        self._ready = self._of_partners("ready", place)
        self._updates = self._of_partners("update", place)
        self._roster = seen.sent_by_aggregator("roster", place)

    @property
    def is_enrolled(self) -> bool:
        return (
            len(self._paired) == len(self._plan.partner_names) or self._roster is not None or self._before is not None
        )

    def all(self) -> Iterator[MemberState]:
        yield self._aggregator()
        for name in self._plan.partner_names:
            yield self._partner(name)

    def awaited(self) -> Iterator[str]:
        """Whose message is needed for the next step."""
        partners = self._plan.partner_names
        if not self.is_enrolled:
            yield from (name for name in partners if name not in self._paired)
            return
        needed = (
            partners if self._roster is None else [name for name in partners if name in self._members(self._roster)]
        )
        come = self._ready if self._roster is None else self._updates
        lacking = [name for name in needed if name not in come]
        yield from lacking or [self._plan.aggregator_name]

    def _of_partners(self, kind: str, place: RoundPlace) -> Mapping[str, Message]:
        found = ((name, self._seen.message(kind, place, name)) for name in self._plan.partner_names)
        return {name: message for name, message in found if message is not None}

    def _members(self, roster: Message) -> Mapping[str, str]:
        return roster.manifest.named_digests("members")

    def _aggregator(self) -> MemberState:
        name = self._plan.aggregator_name
        for kind, state, place in (
            ("sum", "summed", self._place),
            ("roster", "rostered", self._place),
            ("void", "void", self._before),
            ("sum", "summed", self._before),
        ):
            message = self._seen.sent_by_aggregator(kind, place) if place else None
            if message is not None and place is not None:
                return self._state(name, state, place, message)
        state = "waiting" if self._ready else "absent"
        return MemberState(name, "aggregator", state, self._place if self._ready else RoundPlace(*_ENROLMENT))

    def _partner(self, name: str) -> MemberState:
        here = self._place
        total = self._seen.sent_by_aggregator("sum", here)
        if total is not None and name in total.manifest.named_digests("updates"):  # the last round's
            return self._state(name, "summed", here, total)
        if name in self._updates:
            return self._sealed(name, self._updates[name])
        if self._roster is not None:
            state = "rostered" if name in self._members(self._roster) else "left out"
            return self._state(name, state, here, self._roster)
        if name in self._ready:
            opened = self._before and self._seen.sent_by_aggregator("sum", self._before)
            note = f"opened the sum of {self._before}" if opened else ""
            return self._state(name, "ready", here, self._ready[name], note)
        return self._after_the_last(name)

    def _sealed(self, name: str, update: Message) -> MemberState:
        if self._roster is None or update.manifest.text("roster") != self._roster.digest:
            return self._state(name, "sealed", self._place, update, "for a roster that is not this attempt's")
        note = "" if self._seen.has_payload(update) else "the sealed file itself is not there yet"
        return self._state(name, "sealed", self._place, update, note)

    def _after_the_last(self, name: str) -> MemberState:
        """Of a partner that has said nothing in the attempt under way."""
        before = self._before
        if before is not None and (total := self._seen.sent_by_aggregator("sum", before)):
            if name in total.manifest.named_digests("updates"):
                return self._state(name, "summed", before, total)
            return self._state(name, "left out", before, total)
        if before is not None and (void := self._seen.sent_by_aggregator("void", before)):
            note = "the aggregator missed its update" if name in void.manifest.names("missing") else ""
            return self._state(name, "void", before, void, note)
        if name in self._paired:
            return self._state(name, "enrolled", RoundPlace(*_ENROLMENT), self._paired[name])
        return MemberState(name, "partner", "absent", RoundPlace(*_ENROLMENT))

    def _state(self, name: str, state: str, place: RoundPlace, message: Message, note: str = "") -> MemberState:
        role = "aggregator" if name == self._plan.aggregator_name else "partner"
        own = message.name.sender == name
        n_bytes = message.n_bytes if own and message.manifest.payload else None
        return MemberState(name, role, state, place, message.manifest.time, n_bytes, note)
