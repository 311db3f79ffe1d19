"""What a transcript says of one attempt at a round, once its messages are found to fit together."""

from dataclasses import dataclass, field
from itertools import chain

from pipeline.errors import BrokenTranscript, Equivocation
from pipeline.exchange.transcript import Message, Transcript
from pipeline.plan.plan import Plan
from secure.errors import WrongRoster

KINDS = ("ready", "roster", "update", "sum", "void")


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt; times are seconds since 1970 by the senders' clocks."""

    round_no: int
    attempt: int
    outcome: str  # "sum", "void" or "open"
    roster: tuple[str, ...] = ()  # who was called; nobody before the call
    left_out: tuple[str, ...] = ()  # partners who were not
    missing: tuple[str, ...] = ()  # of a void: whose update the aggregator says did not come
    signed: dict[str, dict[str, int]] = field(default_factory=dict)  # times of signing, by kind and sender
    update_bytes: dict[str, int] = field(default_factory=dict)  # sizes, by sender
    sum_bytes: int | None = None
    gone: tuple[str, ...] = ()  # whose update is no longer on the exchange, only its manifest
    recomputed: bool = False  # the updates were added again, and gave the very bytes of the sum


def read_attempt(at: tuple[int, int], transcript: Transcript, plan: Plan, place: str) -> AttemptRecord:
    """Check that roster, updates, sum or void of one attempt fit together.

    place : folder of the attempt, as a person would name it
    Raises BrokenTranscript, Equivocation or secure.errors.WrongRoster.
    """
    found = {kind: transcript.of(kind, *at) for kind in KINDS}
    signed = {kind: {name: m.manifest.time for name, m in sent.items()} for kind, sent in found.items() if sent}
    if not found["roster"]:
        if found["update"] or found["sum"] or found["void"]:
            raise BrokenTranscript(f"{place}: has updates, a sum or a void but no roster")
        return AttemptRecord(*at, "open", signed=signed)
    members = _check_roster(found, plan, place)
    outcome, missing = _outcome(found, members, place)
    return AttemptRecord(
        *at,
        outcome,
        roster=members,
        left_out=tuple(name for name in plan.partner_names if name not in members),
        missing=missing,
        signed=signed,
        update_bytes={name: message.n_bytes for name, message in found["update"].items()},
        sum_bytes=next((message.n_bytes for message in found["sum"].values()), None),
    )


def _check_roster(found: dict[str, dict[str, Message]], plan: Plan, place: str) -> tuple[str, ...]:
    """Each member ready as listed, enough of them, all alike, and every later message for this roster."""
    (roster,) = found["roster"].values()
    members = roster.manifest.named_digests("members")
    wrong = [
        name for name, value in members.items() if name not in found["ready"] or found["ready"][name].digest != value
    ]
    if wrong or len(members) < plan.min_roster(roster.manifest.round):
        raise WrongRoster(
            f"{place}: the roster's members {sorted(members)} are too few or not ready as listed: {wrong}"
        )
    ready = [found["ready"][name].manifest for name in members]
    if {manifest.text("trunk") for manifest in ready} != {roster.manifest.text("trunk")}:
        raise Equivocation(f"{place}: the roster's trunk is not the one its members said they hold")
    if len({manifest.text("preparation") for manifest in ready}) > 1:
        raise Equivocation(f"{place}: the roster's members do not prepare compounds alike")
    for message in chain(found["update"].values(), found["sum"].values(), found["void"].values()):
        sender, is_update = message.name.sender, message.name.kind == "update"
        if message.manifest.text("roster") != roster.digest or (is_update and sender not in members):
            raise WrongRoster(f"{place}: the {message.name.kind} of {sender} is for another roster")
    return tuple(sorted(members))


def _outcome(found: dict[str, dict[str, Message]], members: tuple[str, ...], place: str) -> tuple[str, tuple[str, ...]]:
    """How the attempt ended, and whose updates are said to be missing."""
    if found["sum"] and found["void"]:
        raise Equivocation(f"{place}: the attempt has both a sum and a void")
    posted = {name: m.manifest.payload.sha256 for name, m in found["update"].items() if m.manifest.payload}
    for total in found["sum"].values():
        listed = total.manifest.named_digests("updates")
        wrong = [n for n in sorted({*members, *listed}) if n not in listed or listed[n] != posted.get(n)]
        if wrong:
            raise Equivocation(f"{place}: the sum does not list exactly the roster's updates as posted: {wrong}")
        return "sum", ()
    for void in found["void"].values():
        missing = tuple(void.manifest.names("missing"))
        if not set(missing) <= set(members):
            raise Equivocation(f"{place}: the void misses {', '.join(missing)}, the roster is {', '.join(members)}")
        return "void", missing
    return "open", ()
