"""`hocket status`: the state of a federation and its members, from signed messages alone; no payload is read.

The aggregator's messages decide the round: it is that of the last roster, sum or void. An invalid message is shown as
such and otherwise ignored. `hocket verify` checks the payloads, and whether the messages fit together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pipeline.audit.member_states import ENROLMENT, Deadline, MemberState, RoundPlace, Status
from pipeline.errors import ExchangeConflict, ExchangeError
from pipeline.exchange.begun import advice, nothing_here
from pipeline.exchange.signs import Sign, sign_name
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import REVISION, Message, check_sender, message_of, read_message
from pipeline.plan.plan import Plan
from pipeline.runtime.printable import printable
from secure.errors import SecureError
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import SIGNS
from secure.sealing.release import released_seed

_OUTCOMES = ("sum", "void")
_NO_DATE = 1 << 37  # seconds since 1970 from which on no message can be signed


class StatusReader:
    """Reads the state from an exchange, repeatedly; a verified message is not read again."""

    def __init__(self, plan: Plan, exchange: Exchange) -> None:
        self.plan, self.exchange = plan, exchange.below(plan.folder)
        self._verified: dict[MessageName, Message] = {}

    def read_status(self) -> Status:
        """Return the current state.

        Raises ExchangeError if the exchange cannot be read or has no message of this plan.
        """
        snapshot = _Snapshot(self)
        if not snapshot.has_message():
            raise self._nothing_here(snapshot.refused)
        before, place = self._places(snapshot)
        states = _MemberStates(self.plan, snapshot, before, place)
        is_finished = place == before and place.round_no == self.plan.rounds.n_rounds
        return Status(
            place=place if states.is_enrolled else RoundPlace(*ENROLMENT),
            n_summed=max(0, (place.round_no if is_finished else place.round_no - 1) - self.plan.first_round + 1),
            is_finished=is_finished,
            awaited=() if is_finished else tuple(states.awaited()),
            awaited_since=None if is_finished else states.awaited_since(),
            deadline=None if is_finished else states.deadline(),
            members=tuple(states.all()),
            refused=(*snapshot.refused, *snapshot.released_twice(), *(states.other_trunks() if is_finished else ())),
            unreleased=tuple(states.unreleased()),
            unconfirmed=tuple(states.unconfirmed()) if is_finished else (),
        )

    def _nothing_here(self, refused: Sequence[str]) -> ExchangeError:
        others = f", but {len(refused)} other file(s), such as {refused[0]}" if refused else ""
        error = ExchangeError(f"{nothing_here(self.plan, self.exchange)}{others}")
        error.add_note(advice(self.plan))
        return error

    def _places(self, snapshot: "_Snapshot") -> tuple[RoundPlace | None, RoundPlace]:
        """The attempt that ended last, if any, and the current one; both are the last one after the end."""
        first = RoundPlace(self.plan.starts_with, 1)
        for place in snapshot.places:
            if total := snapshot.sent_by_aggregator("sum", place):
                if snapshot.unreleased(total, place):
                    return snapshot.place_before(place), place
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

    def read_again(self, name: MessageName) -> Message:
        """Return a verified message without a payload as it is now. Raises secure.errors.SecureError."""
        return read_message(name, self.plan, self.exchange, has_payload=False)

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
                refused.append(printable(str(error)))  # a file can have any name
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
        return self._checked(partial(self._reader.read, name, has_payload=False in files))

    def _checked(self, read: Callable[[], Message]) -> Message | None:
        try:
            return read()
        except SecureError as error:
            if str(error) not in self.refused:
                self.refused.append(str(error))
            return None

    def has_message(self) -> bool:
        """Whether the exchange has a valid message of this plan."""
        return any(
            self.message(name.kind, RoundPlace(name.round_no, name.attempt), name.sender) for name in self._files
        )

    def sign(self, sender: str) -> Sign | None:
        """A member's newest valid sign, read again each time because the sender replaces it."""
        names = [name for name in (sign_name(kind, sender) for kind in sorted(SIGNS)) if name in self._files]
        messages = (self._checked(partial(self._reader.read_again, name)) for name in names)
        signs = [Sign.of(message.manifest) for message in messages if message is not None]
        return max(signs, key=lambda sign: sign.time, default=None)

    def sent_by_aggregator(self, kind: str, place: RoundPlace) -> Message | None:
        return self.message(kind, place, self._reader.plan.aggregator_name)

    def unreleased(self, total: Message, place: RoundPlace) -> list[str]:
        """Members of a sum that have not released yet."""
        members = sorted(total.manifest.named_digests("updates"))
        return [name for name in members if self.release(place, name) is None]

    def release(self, place: RoundPlace, sender: str) -> Message | None:
        """A partner's release, if its seed is the one to which its update commits; else it is refused, and shown."""
        release, update = (self.message(kind, place, sender) for kind in ("release", "update"))
        roster = self.sent_by_aggregator("roster", place)
        if release is None or update is None or roster is None:
            return release
        return self._checked(partial(_with_right_seed, release, update, roster))

    def released_twice(self) -> Iterator[str]:
        """A line for each partner that has released for two rosters of one round: it or the aggregator did wrong."""
        by_round: dict[tuple[int, str], list[RoundPlace]] = {}
        for name in sorted(self._files, key=lambda name: (name.round_no, name.attempt)):
            if name.kind == "release":
                by_round.setdefault((name.round_no, name.sender), []).append(RoundPlace(name.round_no, name.attempt))
        for (round_no, sender), places in by_round.items():
            messages = [self.message("release", place, sender) for place in places] if len(places) > 1 else []
            rosters = [message.manifest.text("roster") for message in messages if message is not None]
            if len(rosters) > 1:
                yield f"{sender} has released twice in round {round_no}, for the rosters {' and '.join(rosters)}"

    def has_payload(self, message: Message) -> bool:
        return False in self._files[message.name]

    def place_before(self, place: RoundPlace) -> RoundPlace | None:
        """The last attempt before this one that has ended, if any."""
        for earlier in self.places:
            if earlier < place and any(self.sent_by_aggregator(kind, earlier) for kind in _OUTCOMES):
                return earlier
        return None


def _with_right_seed(release: Message, update: Message, roster: Message) -> Message:
    """The release; raises secure.errors.SecureError for another roster or seed."""
    released_seed(release.manifest, update.manifest, roster.manifest.as_roster(roster.digest), str(release))
    return release


def _deadline(time: float, then: str) -> Deadline | None:
    """The deadline at a time, None if it is later than any date: a plan may have no end of deadlines."""
    return Deadline(int(time), then) if time < _NO_DATE else None


class _MemberStates:
    """The members' states in the current attempt, or in the one before."""

    def __init__(self, plan: Plan, snapshot: _Snapshot, before: RoundPlace | None, place: RoundPlace) -> None:
        self._plan, self._snapshot, self._before, self._place = plan, snapshot, before, place
        self._paired = self._of_partners("pairing", RoundPlace(*ENROLMENT))
        self._ready = self._of_partners("ready", place)
        self._updates = self._of_partners("update", place)
        self._roster = snapshot.sent_by_aggregator("roster", place)
        self._total = snapshot.sent_by_aggregator("sum", place)
        released = {name: snapshot.release(place, name) for name in plan.partner_names}
        self._releases = {name: message for name, message in released.items() if message is not None}
        self._last = self._of_partners("ready", RoundPlace(plan.rounds.n_rounds + 1, 1))

    @property
    def is_enrolled(self) -> bool:
        return (
            len(self._paired) == len(self._plan.partner_names) or self._roster is not None or self._before is not None
        )

    def all(self) -> Iterator[MemberState]:
        for member in (self._aggregator(), *map(self._partner, self._plan.partner_names)):
            yield replace(member, sign=self._snapshot.sign(member.name))

    def unreleased(self) -> list[str]:
        """Members of the sum at this place whose release is awaited."""
        return [] if self._total is None else self._snapshot.unreleased(self._total, self._place)

    def unconfirmed(self) -> list[str]:
        """Partners that have not signed their last trunk."""
        return [name for name in self._plan.partner_names if name not in self._last]

    def other_trunks(self) -> Iterator[str]:
        """A line if partners have signed different last trunks."""
        trunks = {name: message.manifest.text("trunk")[:12] for name, message in self._last.items()}
        if len(set(trunks.values())) > 1:
            listed = ", ".join(f"{name} {trunk}" for name, trunk in trunks.items())
            yield f"partners end with different trunks: {listed}"

    def awaited(self) -> Iterator[str]:
        """Members whose message is needed for the next step."""
        partners = self._plan.partner_names
        if not self.is_enrolled:
            yield from (name for name in partners if name not in self._paired)
        else:
            yield from self._missing() or [self._plan.aggregator_name]

    def awaited_since(self) -> int | None:
        """When the last message before the awaited ones was signed, seconds since 1970; None if there is none."""
        if not self.is_enrolled:
            deal = self._snapshot.message("deal", RoundPlace(*ENROLMENT), self._plan.federation.custodian)
            return None if deal is None else deal.manifest.time
        if self._total is not None:
            return self._total.manifest.time
        if not self._missing():
            return max((message.manifest.time for message in self._posted.values()), default=None)
        begin = self._roster or self._outcome_before()
        if begin is None:
            return max((message.manifest.time for message in self._paired.values()), default=None)
        return begin.manifest.time

    def deadline(self) -> Deadline | None:
        """The next deadline and what happens then; None if the awaited partners have no deadline."""
        rounds, missing = self._plan.rounds, ", ".join(self._missing())
        if not self.is_enrolled or not missing or self._total is not None:
            return None
        if self._roster is not None:
            time = self._roster.manifest.time + rounds.update_deadline_s
            is_last = self._place.attempt >= rounds.max_attempts
            then = "the aggregator ends, for it is the last attempt" if is_last else "the attempt is void"
            return _deadline(time, f"{then} if the update of {missing} is missing")
        least = self._plan.min_roster(self._place.round_no)
        if not self._ready or least == len(self._plan.partner_names):
            return None
        first = min(message.manifest.time for message in self._ready.values())
        then = f"the round goes on without {missing} if at least {least} partners are ready"
        return _deadline(first + rounds.ready_deadline_s, then)

    @property
    def _posted(self) -> Mapping[str, Message]:
        """What the partners have posted of what the aggregator needs now."""
        return self._ready if self._roster is None else self._updates

    def _missing(self) -> list[str]:
        if self._total is not None:
            return self.unreleased()
        partners = self._plan.partner_names
        needed = partners if self._roster is None else self._members(self._roster)
        return [name for name in partners if name in needed and name not in self._posted]

    def _outcome_before(self) -> Message | None:
        before = self._before
        if before is None:
            return None
        return next(filter(None, (self._snapshot.sent_by_aggregator(kind, before) for kind in _OUTCOMES)), None)

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
        return MemberState(name, "aggregator", state, self._place if self._ready else RoundPlace(*ENROLMENT))

    def _partner(self, name: str) -> MemberState:
        place = self._place
        total = self._total
        if total is not None and name in total.manifest.named_digests("updates"):
            return self._summed(name, total)
        if name in self._updates:
            return self._sealed(name, self._updates[name])
        if self._roster is not None:
            return self._called(name, self._roster)
        if name in self._ready:
            opened = self._before and self._snapshot.sent_by_aggregator("sum", self._before)
            note = f"opened the sum of {self._before}" if opened else ""
            return self._state(name, "ready", place, self._ready[name], note)
        return self._state_before(name)

    def _called(self, name: str, roster: Message) -> MemberState:
        if name in self._members(roster):
            return self._state(name, "rostered", self._place, roster)
        ready = self._ready.get(name)
        was_ready = ready is not None and ready.manifest.time <= roster.manifest.time
        note = "its ready was signed before the roster: ask the aggregator" if was_ready else ""
        return self._state(name, "left out", self._place, roster, note)

    def _summed(self, name: str, total: Message) -> MemberState:
        """The state of a member of the sum, before all have released, or after the last round."""
        if name not in self._releases:
            return self._state(name, "summed", self._place, total, "has not released yet")
        if self.unreleased():
            return self._state(name, "released", self._place, self._releases[name])
        note = "" if name in self._last else "has not signed its last trunk yet"
        return self._state(name, "summed", self._place, total, note)

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
            return self._state(name, "enrolled", RoundPlace(*ENROLMENT), self._paired[name])
        return MemberState(name, "partner", "absent", RoundPlace(*ENROLMENT))

    def _state(self, name: str, state: str, place: RoundPlace, message: Message, note: str = "") -> MemberState:
        role = "aggregator" if name == self._plan.aggregator_name else "partner"
        own = message.name.sender == name
        n_bytes = message.n_bytes if own and message.manifest.payload else None
        return MemberState(name, role, state, place, message.manifest.time, n_bytes, note)
