"""The transcript of a federation: all messages on the exchange, each one verified."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ExchangeConflict, ExchangeError
from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan, round_name
from secure.keys.keys import Card
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import BODIES, OUTSIDE_ROUNDS, SIGNS, WITH_PAYLOAD, sender_roles
from secure.messages.messages import Expected, Manifest, manifest_digest, verify_manifest

_PATH = re.compile(
    r"(?:enrol|signs|round-(?P<round>\d{4})/attempt-(?P<attempt>\d{2,}))/(?P<kind>[a-z]+)\.(?P<sender>[\w-]+)\.(?P<suffix>\w+)",
    re.ASCII,
)
REVISION = re.compile(r"revision-\d{2}/", re.ASCII)


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message."""

    name: MessageName
    manifest: Manifest
    digest: str  # of the manifest's file
    has_payload: bool  # on the exchange; its content is not checked

    @property
    def n_bytes(self) -> int:
        """Size of the payload, 0 if the kind has none."""
        return self.manifest.payload.size if self.manifest.payload else 0

    def __str__(self) -> str:
        """As shown to users."""
        place = f" in {round_name(self.name.round_no, self.name.attempt)}" if self.name.attempt else ""
        return f"{self.name.kind} of {self.name.sender}{place}"


class Transcript:
    """All messages, by kind, round and attempt; signs, which prove nothing of the course, are apart."""

    def __init__(self, messages: Mapping[MessageName, Message], unfinished: tuple[str, ...]) -> None:
        ordered = [messages[name] for name in sorted(messages, key=_in_order)]
        self.messages = tuple(message for message in ordered if message.name.kind not in SIGNS)
        self.signs = tuple(message for message in ordered if message.name.kind in SIGNS)
        self.unfinished = unfinished  # payloads without a manifest: paths
        self._by_place: dict[tuple[str, int, int], dict[str, Message]] = {}
        for name in (message.name for message in self.messages):
            place = (name.kind, name.round_no, name.attempt)
            self._by_place.setdefault(place, {})[name.sender] = messages[name]

    @property
    def n_files(self) -> int:
        """Files on the exchange."""
        n_payloads = sum(message.has_payload for message in self.messages)
        return len(self.messages) + len(self.signs) + n_payloads + len(self.unfinished)

    @property
    def attempts(self) -> list[tuple[int, int]]:
        """(round, attempt) of all attempts that have a message, in order."""
        return sorted({(round_no, attempt) for _, round_no, attempt in self._by_place} - {(0, 0)})

    def of(self, kind: str, round_no: int = 0, attempt: int = 0) -> dict[str, Message]:
        """Messages of one kind in one round and attempt, by sender; enrolment is round 0, attempt 0."""
        return self._by_place.get((kind, round_no, attempt), {})


def read_transcript(plan: Plan, exchange: Exchange) -> Transcript:
    """Read and verify every manifest: its path, its signature, and that its sender may send this kind.

    Raises secure.errors.SecureError or ExchangeConflict, naming the file; ExchangeError if there is no message.
    """
    paths = [path for path in exchange.list_files() if not REVISION.match(path)]  # each plan has its own transcript
    names = {message_of(path, exchange): path for path in paths}
    if not names:
        raise ExchangeError(f"{exchange.url}: holds no message of a federation; is this the right exchange?")
    for (name, _), path in names.items():
        check_sender(name, plan.cards, exchange.where(path))
    messages = {
        name: read_message(name, plan, exchange, has_payload=(name, False) in names)
        for name in (name for name, is_manifest in names if is_manifest)
    }
    unfinished = (path for (name, is_manifest), path in names.items() if not is_manifest and name not in messages)
    return Transcript(messages, tuple(sorted(unfinished)))


def read_message(name: MessageName, plan: Plan, exchange: Exchange, *, has_payload: bool) -> Message:
    """Read one message and verify its manifest. Raises secure.errors.SecureError, naming the file."""
    data = exchange.read(name.manifest) or b""
    expected = Expected(kind=name.kind, plan=plan.digest, round_no=name.round_no, attempt=name.attempt)
    manifest = verify_manifest(data, plan.cards[name.sender], expected, exchange.where(name.manifest))
    return Message(name, manifest, manifest_digest(data), has_payload)


def message_of(path: str, exchange: Exchange) -> tuple[MessageName, bool]:
    """The message of a file, and whether the file is its manifest. Raises ExchangeConflict for any other file."""
    match = _PATH.fullmatch(path)
    if match and match["kind"] in BODIES:
        name = MessageName(match["kind"], int(match["round"] or 0), int(match["attempt"] or 0), match["sender"])
        allowed = (name.manifest, name.payload) if name.kind in WITH_PAYLOAD else (name.manifest,)
        if path in allowed and (name.kind in OUTSIDE_ROUNDS) == (name.attempt == 0):
            return name, path == name.manifest
    raise ExchangeConflict(f"{exchange.where(path)}: is no message of a federation; nothing else belongs here")


def check_sender(name: MessageName, cards: Mapping[str, Card], where: str) -> None:
    """Raise ExchangeConflict for a sender that is not a member, or whose role does not send this kind."""
    card = cards.get(name.sender)
    if card is None:
        raise ExchangeConflict(f"{where}: {name.sender} is not a member of the plan")
    if card.role not in (roles := sender_roles(name.kind)):
        raise ExchangeConflict(f"{where}: a {name.kind} is sent by a {' or '.join(roles)}, not by {name.sender}")


def _in_order(name: MessageName) -> tuple[int, int, str, str]:
    return name.round_no, name.attempt, name.kind, name.sender
