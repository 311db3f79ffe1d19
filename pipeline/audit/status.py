"""`hocket status`: the state of a federation and its members, from signed messages alone; no payload is read.

The aggregator's messages decide the round: it is that of the last roster, sum or void. An invalid message is shown as
such and otherwise ignored. `hocket verify` checks the payloads, and whether the messages fit together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import ExchangeConflict
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import REVISION, Message, check_sender, message_of, read_message
from pipeline.plan.plan import CATALOGUE_ROUND, Plan
from secure.errors import SecureError
from secure.messages.message_name import MessageName

_ENROLMENT = (0, 0)
_OUTCOMES = ("sum", "void")


class RoundPlace(NamedTuple):
    """An attempt at a round; (0, 0) is the enrolment."""

    round_no: int
    attempt: int

    def __str__(self) -> str:
        """Round and attempt as shown to people, for example 6.1."""
        if self == _ENROLMENT:
            return "enrolment"
        return f"catalogue.{self.attempt}" if self.round_no == CATALOGUE_ROUND else f"{self.round_no}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member's state, from its newest message and the aggregator's.

    Partners: absent, enrolled, ready (has trained), rostered (seals its update), sealed (has posted its update), left
    out (of the roster), summed (opens the sum, then trains), void (trains the round again).
    The aggregator: absent, waiting (for ready messages), rostered (waits for updates), summed, void.
    """

    name: str
    role: str
    state: str
    place: RoundPlace
    since: int | None = None  # seconds since 1970, by the signer's clock
    n_bytes: int | None = None  # of that message's payload
    note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a federation."""

    place: RoundPlace
    n_summed: int  # rounds of training, since the plan's first
    is_finished: bool
    awaited: tuple[str, ...]  # members whose message the next step needs
    members: tuple[MemberState, ...]
    refused: tuple[str, ...]  # invalid messages, each with the reason


class StatusReader:
    """Reads the state from an exchange, repeatedly; a verified message is not read again."""

    def __init__(self, plan: Plan, exchange: Exchange) -> None:
        self.plan, self.exchange = plan, exchange.below(plan.folder)
        self._verified: dict[MessageName, Message] = {}

    def read_status(self) -> Status:
        """Return the current state. Raises ExchangeError if the exchange cannot be read."""
        snapshot = _Snapshot(self)
        before, place = self._places(snapshot)
        states = _MemberStates(self.plan, snapshot, before, place)
        is_finished = place == before and place.round_no == self.plan.rounds.n_rounds
        return Status(
            place=place if states.is_enrolled else RoundPlace(*_ENROLMENT),
            n_summed=max(0, (place.round_no if is_finished else place.round_no - 1) - self.plan.first_round + 1),
            is_finished=is_finished,
            awaited=() if is_finished else tuple(states.awaited()),
            members=tuple(states.all()),
            refused=tuple(snapshot.refused),
        )

    def _places(self, snapshot: "_Snapshot") -> tuple[RoundPlace | None, RoundPlace]:
        """The attempt that ended last, if any, and the current one; both are the last one after the end."""
        first = RoundPlace(self.plan.starts_with, 1)
        for place in snapshot.places:
            if snapshot.sent_by_aggregator("sum", place):
                if place.round_no >= self.plan.rounds.n_rounds:
                    return place, place
                return place, RoundPlace(place.round_no + 1, 1)
            if snapshot.sent_by_aggregator("void", place):
                return place, RoundPlace(place.round_no, place.attempt + 1)
            if snapshot.sent_by_aggregator("roster", place):
                return snapshot.place_before(place), place
        return None, first

    def read(self, name: MessageName, *, has_payload: bool) -> Message:
        """Return a verified message. Raises secure.errors.SecureError."""
        if name not in self._verified:
            self._verified[name] = read_message(name, self.plan, self.exchange, has_payload=has_payload)
        return self._verified[name]

    def listed(self, refused: list[str]) -> dict[MessageName, set[bool]]:
        """Messages with a file in the exchange; the set has True for a manifest, False for a payload."""
        files: dict[MessageName, set[bool]] = {}
        for path in self.exchange.list_files():
            if REVISION.match(path):
                continue
            try:
                name, is_manifest = message_of(path, self.exchange)
                check_sender(name, self.plan.cards, self.exchange.where(path))
            except ExchangeConflict as error:
                refused.append(str(error))
            else:
                files.setdefault(name, set()).add(is_manifest)
        return files


class _Snapshot:
    """The messages in the exchange at one moment, verified when they are first used."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self.refused: list[str] = []
        self._files = reader.listed(self.refused)
        attempts = {RoundPlace(name.round_no, name.attempt) for name in self._files if name.attempt}
        self.places = sorted(attempts, reverse=True)

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
        """The last attempt before this one that has ended, if any."""
        for earlier in self.places:
            if earlier < place and any(self.sent_by_aggregator(kind, earlier) for kind in _OUTCOMES):
                return earlier
        return None


class _MemberStates:
    """The members' states in the current attempt, or in the one before."""

    def __init__(self, plan: Plan, snapshot: _Snapshot, before: RoundPlace | None, place: RoundPlace) -> None:
        self._plan, self._snapshot, self._before, self._place = plan, snapshot, before, place
        self._paired = self._of_partners("pairing", RoundPlace(*_ENROLMENT))
        self._ready = self._of_partners("ready", place)
        self._updates = self._of_partners("update", place)
        self._roster = snapshot.sent_by_aggregator("roster", place)

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
        """Members whose message is needed for the next step."""
        partners = self._plan.partner_names
        if not self.is_enrolled:
            yield from (name for name in partners if name not in self._paired)
            return
        needed = (
            partners if self._roster is None else [name for name in partners if name in self._members(self._roster)]
        )
        posted = self._ready if self._roster is None else self._updates
        missing = [name for name in needed if name not in posted]
        yield from missing or [self._plan.aggregator_name]

    def _of_partners(self, kind: str, place: RoundPlace) -> Mapping[str, Message]:
        messages = ((name, self._snapshot.message(kind, place, name)) for name in self._plan.partner_names)
        return {name: message for name, message in messages if message is not None}

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
            message = self._snapshot.sent_by_aggregator(kind, place) if place else None
            if message is not None and place is not None:
                return self._state(name, state, place, message)
        state = "waiting" if self._ready else "absent"
        return MemberState(name, "aggregator", state, self._place if self._ready else RoundPlace(*_ENROLMENT))

    def _partner(self, name: str) -> MemberState:
        place = self._place
        total = self._snapshot.sent_by_aggregator("sum", place)
        if total is not None and name in total.manifest.named_digests("updates"):  # the last round's
            return self._state(name, "summed", place, total)
        if name in self._updates:
            return self._sealed(name, self._updates[name])
        if self._roster is not None:
            state = "rostered" if name in self._members(self._roster) else "left out"
            return self._state(name, state, place, self._roster)
        if name in self._ready:
            opened = self._before and self._snapshot.sent_by_aggregator("sum", self._before)
            note = f"opened the sum of {self._before}" if opened else ""
            return self._state(name, "ready", place, self._ready[name], note)
        return self._state_before(name)

    def _sealed(self, name: str, update: Message) -> MemberState:
        if self._roster is None or update.manifest.text("roster") != self._roster.digest:
            return self._state(name, "sealed", self._place, update, "for another roster than this attempt's")
        note = "" if self._snapshot.has_payload(update) else "its sealed file is not in the exchange yet"
        return self._state(name, "sealed", self._place, update, note)

    def _state_before(self, name: str) -> MemberState:
        """The state of a partner that has posted nothing in the current attempt."""
        before = self._before
        if before is not None and (total := self._snapshot.sent_by_aggregator("sum", before)):
            if name in total.manifest.named_digests("updates"):
                return self._state(name, "summed", before, total)
            return self._state(name, "left out", before, total)
        if before is not None and (void := self._snapshot.sent_by_aggregator("void", before)):
            note = "the aggregator did not get its update in time" if name in void.manifest.names("missing") else ""
            return self._state(name, "void", before, void, note)
        if name in self._paired:
            return self._state(name, "enrolled", RoundPlace(*_ENROLMENT), self._paired[name])
        return MemberState(name, "partner", "absent", RoundPlace(*_ENROLMENT))

    def _state(self, name: str, state: str, place: RoundPlace, message: Message, note: str = "") -> MemberState:
        role = "aggregator" if name == self._plan.aggregator_name else "partner"
        own = message.name.sender == name
        n_bytes = message.n_bytes if own and message.manifest.payload else None
        return MemberState(name, role, state, place, message.manifest.time, n_bytes, note)
