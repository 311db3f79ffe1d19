"""`hocket verify`: anybody, without any secret, checks the whole transcript of a federation.

All signatures, payload digests, rosters, the lists of the sums, and the order; what the sums contain stays sealed.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Equivocation, ExchangeConflict, ExchangeError
from pipeline.exchange import Exchange
from pipeline.home import MessageName
from pipeline.mail import named_digests, text
from pipeline.plan import Plan
from secure.bodies import BODIES, ENROLMENT, WITH_PAYLOAD, sender_role
from secure.errors import PayloadMismatch, WrongRoster
from secure.keys import Card
from secure.messages import Expected, Manifest, check_payload, manifest_digest, verify_manifest

_PATH = re.compile(
    r"(?:enrol|round-(?P<round>\d{4})/attempt-(?P<attempt>\d{2,}))/(?P<kind>[a-z]+)\.(?P<sender>[\w-]+)\.(?P<suffix>\w+)"
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the transcript says of one attempt at a round."""

    round_no: int
    attempt: int
    roster: tuple[str, ...]
    outcome: str  # "sum", "void" or "open"


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message and the digest of its manifest."""

    manifest: Manifest
    digest: str


def audit(plan: Plan, exchange: Exchange) -> list[Attempt]:
    """Check every file of the exchange; the attempts in order.

    Raises secure.errors.SecureError, Equivocation or ExchangeConflict, naming the first file that is not as it must
    be; ExchangeError where there is nothing to check.
    """
    names = {_message_of(path, exchange): path for path in exchange.list_files()}
    if not names:
        raise ExchangeError(f"{exchange.url}: holds no message of a federation, is this the right place?")
    cards, plan_digest = plan.cards, plan.digest
    for (name, _), path in names.items():
        _check_sender(name, cards, exchange.where(path))
    # a payload alone is a message that is still being posted
    messages = {name: _verified(name, cards, plan_digest, exchange) for name, is_manifest in names if is_manifest}
    attempts: dict[tuple[int, int], dict[str, dict[str, Message]]] = defaultdict(lambda: defaultdict(dict))
    for name, message in messages.items():
        if name.round_no:
            attempts[name.round_no, name.attempt][name.kind][name.sender] = message
    found = [_check_attempt(at, attempts[at], plan, exchange) for at in sorted(attempts)]
    _check_order(found, exchange)
    return found


def _message_of(path: str, exchange: Exchange) -> tuple[MessageName, bool]:
    """The message a file belongs to, and whether it is the manifest."""
    match = _PATH.fullmatch(path)
    if match and match["kind"] in BODIES:
        name = MessageName(match["kind"], int(match["round"] or 0), int(match["attempt"] or 0), match["sender"])
        allowed = (name.manifest, name.payload) if name.kind in WITH_PAYLOAD else (name.manifest,)
        if path in allowed and (name.kind in ENROLMENT) == (name.round_no == 0):
            return name, path == name.manifest
    raise ExchangeConflict(f"{exchange.where(path)}: is no message of a federation; nothing else belongs here")


def _check_sender(name: MessageName, cards: Mapping[str, Card], where: str) -> None:
    card = cards.get(name.sender)
    if card is None:
        raise ExchangeConflict(f"{where}: {name.sender} is not a member of the plan")
    if card.role != sender_role(name.kind):
        raise ExchangeConflict(f"{where}: a {name.kind} is sent by a {sender_role(name.kind)}, not by {name.sender}")


def _verified(name: MessageName, cards: Mapping[str, Card], plan_digest: str, exchange: Exchange) -> Message:
    where = exchange.where(name.manifest)
    data = exchange.read(name.manifest) or b""
    expected = Expected(kind=name.kind, plan=plan_digest, round_no=name.round_no, attempt=name.attempt)
    manifest = verify_manifest(data, cards[name.sender], expected, where)
    if manifest.payload is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "payload"
            if not exchange.fetch(name.payload, copy):
                raise PayloadMismatch(f"{exchange.where(name.payload)}: is missing, its manifest is there")
            check_payload(copy, manifest.payload, exchange.where(name.payload))
    return Message(manifest, manifest_digest(data))


def _check_attempt(
    at: tuple[int, int], kinds: dict[str, dict[str, Message]], plan: Plan, exchange: Exchange
) -> Attempt:
    """Roster, updates, sum or void of one attempt must fit together."""
    place = exchange.where(MessageName("roster", *at, plan.aggregator_name).folder)
    rosters = list(kinds["roster"].values())
    if not rosters:
        if kinds["update"] or kinds["sum"] or kinds["void"]:
            raise Equivocation(f"{place}: has updates, a sum or a void but no roster")
        return Attempt(*at, (), "open")
    roster = rosters[0]
    members = _check_roster(roster.manifest, kinds["ready"], plan, place)
    for message in (*kinds["update"].values(), *kinds["sum"].values(), *kinds["void"].values()):
        if text(message.manifest, "roster") != roster.digest or (
            message.manifest.kind == "update" and message.manifest.sender not in members
        ):
            raise WrongRoster(
                f"{place}: the {message.manifest.kind} of {message.manifest.sender} is for another roster"
            )
    if kinds["sum"] and kinds["void"]:
        raise Equivocation(f"{place}: the attempt has both a sum and a void")
    for message in kinds["sum"].values():
        _check_sum(message.manifest, kinds["update"], set(members), place)
    return Attempt(*at, tuple(sorted(members)), "sum" if kinds["sum"] else "void" if kinds["void"] else "open")


def _check_roster(roster: Manifest, readies: dict[str, Message], plan: Plan, place: str) -> dict[str, str]:
    """The roster's members, each ready as listed, enough of them, and all from the trunk it names."""
    members = named_digests(roster, "members")
    ready = {name: message.digest for name, message in readies.items()}
    wrong = [name for name, value in members.items() if ready.get(name) != value]
    if wrong or len(members) < plan.rounds.min_partners:
        raise WrongRoster(
            f"{place}: the roster's members {sorted(members)} are too few or not ready as listed: {wrong}"
        )
    trunks = {text(readies[name].manifest, "trunk") for name in members}
    if trunks != {text(roster, "trunk")}:
        raise Equivocation(f"{place}: the roster's trunk is not the one its members said they hold")
    return members


def _check_sum(total: Manifest, updates: dict[str, Message], members: set[str], place: str) -> None:
    posted = {name: message.manifest.payload.sha256 for name, message in updates.items() if message.manifest.payload}
    listed = named_digests(total, "updates")
    if set(listed) != members or listed != posted:
        raise Equivocation(f"{place}: the sum does not list exactly the roster's updates as they were posted")


def _check_order(attempts: list[Attempt], exchange: Exchange) -> None:
    """Rounds follow one another by a sum, attempts by a void."""
    expected = (1, 1)
    for found in attempts:
        if (found.round_no, found.attempt) != expected:
            raise Equivocation(
                f"{exchange.url}: round {found.round_no}, attempt {found.attempt} follows out of order; "
                f"expected round {expected[0]}, attempt {expected[1]}"
            )
        expected = {
            "sum": (found.round_no + 1, 1),
            "void": (found.round_no, found.attempt + 1),
            "open": (0, 0),  # nothing may follow
        }[found.outcome]
