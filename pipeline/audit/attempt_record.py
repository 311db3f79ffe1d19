"""The record of one attempt at a round, made after checking that its messages fit together."""

from dataclasses import dataclass, field
from itertools import chain

from pipeline.errors import BrokenTranscript, Equivocation
from pipeline.exchange.transcript import Message, Transcript
from pipeline.plan.plan import Plan
from secure.errors import WrongRoster
from secure.sealing.release import released_seed

KINDS = ("ready", "roster", "update", "sum", "release", "void")


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt; times are seconds since 1970 by the senders' clocks."""

    round_no: int
    attempt: int
    outcome: str  # "sum", "void" or "open"
    roster: tuple[str, ...] = ()  # its members; empty before the roster is posted
    left_out: tuple[str, ...] = ()  # partners that are not on the roster
    missing: tuple[str, ...] = ()  # of a void: partners whose update did not come, according to the aggregator
    signed: dict[str, dict[str, int]] = field(default_factory=dict)  # times of signing, by kind and sender
    update_bytes: dict[str, int] = field(default_factory=dict)  # sizes, by sender
    sum_bytes: int | None = None
    n_params: int | None = None  # length of the sealed vectors; None: not known
    gone: tuple[str, ...] = ()  # partners whose update was deleted from the exchange; only its manifest is there
    unreleased: tuple[str, ...] = ()  # of a sum: members that have not released yet, so nobody can open it
    left_out_ready: tuple[str, ...] = ()  # left out although their `ready` was signed before the roster, by the clocks
    digests: dict[str, str] = field(default_factory=dict)  # of the manifests of roster and sum, by kind
    recomputed: bool = False  # the updates were added again and gave exactly the bytes of the sum


def read_attempt(round_attempt: tuple[int, int], transcript: Transcript, plan: Plan, place: str) -> AttemptRecord:
    """Check that roster, updates, sum or void of one attempt fit together.

    place : path or URL of the attempt's folder, for messages
    Raises BrokenTranscript, Equivocation or secure.errors.WrongRoster.
    """
    messages = {kind: transcript.of(kind, *round_attempt) for kind in KINDS}
    signed = {kind: {name: m.manifest.time for name, m in sent.items()} for kind, sent in messages.items() if sent}
    if not messages["roster"]:
        if any(messages[kind] for kind in ("update", "sum", "release", "void")):
            raise BrokenTranscript(f"{place}: found updates, a sum, releases or a void, but no roster")
        return AttemptRecord(*round_attempt, "open", signed=signed)
    members = _check_roster(messages, plan, place)
    outcome, missing = _outcome(messages, members, place)
    _check_releases(messages, outcome, place)
    called = next(iter(messages["roster"].values())).manifest.time
    left_out = tuple(name for name in plan.partner_names if name not in members)
    return AttemptRecord(
        *round_attempt,
        outcome,
        roster=members,
        left_out=left_out,
        left_out_ready=tuple(name for name in left_out if signed.get("ready", {}).get(name, called + 1) <= called),
        unreleased=tuple(name for name in members if outcome == "sum" and name not in messages["release"]),
        missing=missing,
        signed=signed,
        update_bytes={name: message.n_bytes for name, message in messages["update"].items()},
        sum_bytes=next((message.n_bytes for message in messages["sum"].values()), None),
        digests={kind: message.digest for kind in ("roster", "sum") for message in messages[kind].values()},
    )


def _check_roster(messages: dict[str, dict[str, Message]], plan: Plan, place: str) -> tuple[str, ...]:
    """Check that enough members are ready as the roster lists them, and that all later messages are for this roster."""
    (roster,) = messages["roster"].values()
    members = roster.manifest.named_digests("members")
    wrong = [
        name
        for name, value in members.items()
        if name not in messages["ready"] or messages["ready"][name].digest != value
    ]
    if wrong or len(members) < plan.min_roster(roster.manifest.round):
        raise WrongRoster(
            f"{place}: the roster's members {sorted(members)} are too few or not ready as listed: {wrong}"
        )
    ready = [messages["ready"][name].manifest for name in members]
    if {manifest.text("trunk") for manifest in ready} != {roster.manifest.text("trunk")}:
        raise Equivocation(f"{place}: the roster's trunk is not the trunk in its members' ready messages")
    if len({manifest.text("preparation") for manifest in ready}) > 1:
        what = "prepare compounds, or counted holders," if plan.has_counts else "prepare compounds"
        raise Equivocation(f"{place}: the roster's members {what} differently")
    for message in chain.from_iterable(messages[kind].values() for kind in KINDS[2:]):
        kind, sender = message.name.kind, message.name.sender
        found = message.manifest.text("roster")
        if found != roster.digest and kind == "release":
            raise Equivocation(f"{place}: {sender} has released for roster {found}, this attempt's is {roster.digest}")
        if found != roster.digest or (kind in ("update", "release") and sender not in members):
            raise WrongRoster(f"{place}: the {kind} of {sender} is for another roster")
    return tuple(sorted(members))


def _check_releases(messages: dict[str, dict[str, Message]], outcome: str, place: str) -> None:
    """Check that members have released only for a sum, and each the seed to which its update commits."""
    (roster,) = messages["roster"].values()
    if messages["release"] and outcome == "void":
        names = ", ".join(messages["release"])
        error = Equivocation(f"{place}: a void, but {names} has released, expected releases for a sum only")
        error.add_note(f"ask {names} for the aggregator's signed sum: with the void it is proof against the aggregator")
        raise error
    for name, release in messages["release"].items():
        update = messages["update"].get(name)
        if update is None or outcome != "sum":
            raise BrokenTranscript(f"{place}: found the release of {name}, but no {'sum' if update else 'update'}")
        where = f"{place}: {release}"
        released_seed(release.manifest, update.manifest, roster.manifest.as_roster(roster.digest), where)


def _outcome(
    messages: dict[str, dict[str, Message]], members: tuple[str, ...], place: str
) -> tuple[str, tuple[str, ...]]:
    """The attempt's outcome, and the partners whose updates a void lists as missing."""
    if messages["sum"] and messages["void"]:
        raise Equivocation(f"{place}: the attempt has both a sum and a void")
    posted = {name: m.manifest.payload.sha256 for name, m in messages["update"].items() if m.manifest.payload}
    for total in messages["sum"].values():
        listed = total.manifest.named_digests("updates")
        wrong = [n for n in sorted({*members, *listed}) if n not in listed or listed[n] != posted.get(n)]
        if wrong:
            raise Equivocation(f"{place}: the sum does not list exactly the roster's updates as posted: {wrong}")
        return "sum", ()
    for void in messages["void"].values():
        missing = tuple(void.manifest.names("missing"))
        if not set(missing) <= set(members):
            raise Equivocation(
                f"{place}: the void lists {', '.join(missing)} as missing, the roster is {', '.join(members)}"
            )
        return "void", missing
    return "open", ()
