"""Members sign for other members what contradicts the round: each run that meets it ends with exit code 4.

What a hostile aggregator, custodian or partner does with its own key, by `partner run` and `aggregator run`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.hostile import changes as c
from tests.support.hostile.forging import OTHER, Fields, signed, with_body, with_field, without_body
from tests.support.hostile.kinds import Bench, Change, Kind, by_name
from tests.support.hostile_members import post
from tests.support.signed_transcripts import body_of, say

pytestmark = pytest.mark.slow

REFUSED, WAITS = ExitCode.SECURITY, ExitCode.NOT_YET
AGGREGATOR_RUN = f"aggregator run --once {AGGREGATOR}/aggregator.toml"
P01, P02 = (f"partner run --once {name}/partner.toml" for name in ("P01", "P02"))
DEAL = MessageName("deal", 0, 0, "P01")
PAIRING = MessageName("pairing", 0, 0, "P03")
READY = MessageName("ready", 1, 1, "P02")
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
UPDATE = MessageName("update", 1, 1, "P02")
SUM = MessageName("sum", 1, 1, AGGREGATOR)
VOID = MessageName("void", 1, 1, AGGREGATOR)
RELEASE = MessageName("release", 1, 1, "P02")
LAST_READY = MessageName("ready", 3, 1, "P02")
NOTHING = "A" * 22 + "=="


def member(field: str, edit: Callable[[dict[str, str]], object]) -> Callable[[Fields], object]:
    """The edit of an object in the body."""
    return lambda fields: edit(fields["body"][field])


# message and how it is signed : stage, command that meets it
BODIES: dict[tuple[MessageName, str], tuple[Callable[[Fields], object], str, str]] = {
    (DEAL, "of another group"): (with_body(group=OTHER), "dealt", P02),
    (DEAL, "of another plan"): (with_field("plan", OTHER), "dealt", P02),
    (DEAL, "of a payload of 1 GiB"): (lambda f: f["payload"].update(size=1 << 30), "dealt", P02),
    (PAIRING, "of another group"): (with_body(group=OTHER), "paired", P02),
    (PAIRING, "of another plan"): (with_field("plan", OTHER), "paired", P02),
    (PAIRING, "of a payload of 16 MiB"): (lambda f: f["payload"].update(size=1 << 24), "paired", P02),
    (READY, "of another trunk"): (with_body(trunk=OTHER), "ready", AGGREGATOR_RUN),
    (READY, "of another preparation"): (with_body(preparation=OTHER), "ready", AGGREGATOR_RUN),
    (READY, "without confirmations"): (without_body("confirmations"), "ready", AGGREGATOR_RUN),
    (READY, "with a field more"): (with_field("note", "x"), "ready", AGGREGATOR_RUN),
    (READY, "of the next attempt"): (with_field("attempt", 2), "ready", AGGREGATOR_RUN),
    (READY, "of the next round"): (with_field("round", 2), "ready", AGGREGATOR_RUN),
    (READY, "of version 1"): (with_field("version", 1), "ready", AGGREGATOR_RUN),
    (ROSTER, "of two"): (member("members", lambda by: [by.pop(n) for n in ("P03", "P04")]), "called", P01),
    (ROSTER, "of nobody"): (with_body(members={}), "called", P01),
    (ROSTER, "with a stranger"): (member("members", lambda by: by.update(P09=OTHER)), "called", P01),
    (ROSTER, "with itself"): (member("members", lambda by: by.update({AGGREGATOR: OTHER})), "called", P01),
    (ROSTER, "with a ready nobody signed"): (member("members", lambda by: by.update(P02=OTHER)), "called", P01),
    (ROSTER, "with another ready of mine"): (member("members", lambda by: by.update(P01=OTHER)), "called", P01),
    (ROSTER, "on another trunk"): (with_body(trunk=OTHER), "called", P01),
    (ROSTER, "of another plan"): (with_field("plan", OTHER), "called", P01),
    (ROSTER, "of the next round"): (with_field("round", 2), "called", P01),
    (UPDATE, "for another roster"): (with_body(roster=OTHER), "sealed", AGGREGATOR_RUN),
    (UPDATE, "of another plan"): (with_field("plan", OTHER), "sealed", AGGREGATOR_RUN),
    (UPDATE, "of the next attempt"): (with_field("attempt", 2), "sealed", AGGREGATOR_RUN),
    (UPDATE, "of a payload of a terabyte"): (lambda f: f["payload"].update(size=1 << 40), "sealed", AGGREGATOR_RUN),
    (UPDATE, "of another payload"): (lambda f: f["payload"].update(sha256=OTHER), "sealed", AGGREGATOR_RUN),
    (UPDATE, "without a commitment"): (without_body("release_commitment"), "sealed", AGGREGATOR_RUN),
    (UPDATE, "for another roster, at a partner"): (with_body(roster=OTHER), "summed", P01),
    (UPDATE, "of another payload, at a partner"): (lambda f: f["payload"].update(sha256=OTHER), "summed", P01),
    (SUM, "of another roster"): (with_body(roster=OTHER), "summed", P01),
    (SUM, "without a member"): (member("updates", lambda by: by.pop("P02")), "summed", P01),
    (SUM, "without this member"): (member("updates", lambda by: by.pop("P01")), "summed", P01),
    (SUM, "with a stranger"): (member("updates", lambda by: by.update(P09=OTHER)), "summed", P01),
    (SUM, "with another update of mine"): (member("updates", lambda by: by.update(P01=OTHER)), "summed", P01),
    (SUM, "with another update of a member"): (member("updates", lambda by: by.update(P02=OTHER)), "summed", P01),
    (SUM, "of a payload of a terabyte"): (lambda f: f["payload"].update(size=1 << 40), "summed", P01),
    (RELEASE, "of another seed"): (with_body(seed="A" * 43 + "="), "released", P01),
    (RELEASE, "for another roster"): (with_body(roster=OTHER), "released", P01),
    (RELEASE, "of a short seed"): (with_body(seed="AAAA"), "released", P01),
    (RELEASE, "of another seed, at the aggregator"): (with_body(seed="A" * 43 + "="), "released", AGGREGATOR_RUN),
    (RELEASE, "for another roster, at the aggregator"): (with_body(roster=OTHER), "released", AGGREGATOR_RUN),
    (LAST_READY, "of another trunk"): (with_body(trunk=OTHER), "closing", P01),
}
SIGNERS = {
    DEAL: ("P03", "dealt", P02),
    PAIRING: ("P01", "paired", P02),
    READY: ("P03", "ready", AGGREGATOR_RUN),
    ROSTER: ("P02", "called", P01),
    UPDATE: ("P03", "sealed", AGGREGATOR_RUN),
    SUM: ("P02", "summed", P01),
    RELEASE: (AGGREGATOR, "released", P01),
    LAST_READY: ("P03", "closing", P01),
}


def bodies() -> list[Kind]:
    """Signed by the sender, against the round."""
    return [
        Kind(f"{name.kind} {how}, round {name.round_no}", signed(name, edit), REFUSED, "", command, stage)
        for (name, how), (edit, stage, command) in BODIES.items()
    ]


def signers() -> list[Kind]:
    """Signed by another member than the file's name says."""
    return [
        Kind(
            f"{name.kind} of round {name.round_no} signed by {signer}",
            signed(name, lambda _: None, signer),
            REFUSED,
            name.manifest,
            command,
            stage,
        )
        for name, (signer, stage, command) in SIGNERS.items()
    ]


def signed_payload(name: MessageName, change: Callable[[Path], None]) -> Change:
    """A wrong payload under a right signature of its sender."""

    def post_changed(federation: Federation) -> None:
        change(federation.payload(name))
        say(federation, name, body_of(federation, name))

    return post_changed


def of_another(name: MessageName, other: MessageName) -> Change:
    """The payload of another message under this one's name, rightly signed."""
    return lambda federation: post(federation, name, body_of(federation, name), federation.payload(other))


def payloads() -> list[Kind]:
    """Rightly signed payloads that are not what the kind says."""
    changes: dict[str, Callable[[Path], None]] = {
        "empty": c.emptied,
        "cut in half": c.halved,
        "with a byte more": c.grown,
        "with another first byte": c.flipped(0.0),
        "with another byte in the middle": c.flipped(0.5),
        "with another last byte": c.flipped(1.0),
        "nested 100,000 deep": c.holding("[" * 100_000),
        "a text": c.holding("no payload at all"),
    }
    places = {DEAL: ("dealt", P02), PAIRING: ("paired", P02), UPDATE: ("sealed", AGGREGATOR_RUN), SUM: ("summed", P01)}
    in_the_middle = "with another byte in the middle"
    # of an envelope, which only its receiver opens, or of a ciphertext, where nobody sees it before the sum's tag
    unseen = {(DEAL, in_the_middle), (PAIRING, in_the_middle), (UPDATE, in_the_middle)}
    kinds = [
        Kind(f"{name.kind} signed over a payload {how}", signed_payload(name, change), REFUSED, "", command, stage)
        for name, (stage, command) in places.items()
        for how, change in changes.items()
        if (name, how) not in unseen
    ]
    update, others = MessageName("update", 1, 1, "P03"), {"sealed": AGGREGATOR_RUN}
    kinds += [
        Kind(
            "update of another partner as its own", of_another(UPDATE, update), REFUSED, "", others["sealed"], "sealed"
        ),
        Kind("an update as the sum", of_another(SUM, update), REFUSED, "", P01, "summed"),
        Kind("the deal as a pairing", of_another(PAIRING, DEAL), REFUSED, "", P02, "paired"),
    ]
    return kinds


def replayed(source: MessageName, target: MessageName) -> Change:
    """A message of another round in the place of a message, payload included."""

    def replay(federation: Federation) -> None:
        for place in ("posted", "payload"):
            path = getattr(federation, place)(source)
            if path.exists():
                getattr(federation, place)(target).write_bytes(path.read_bytes())

    return replay


def void_after_sum(federation: Federation) -> None:
    """The aggregator declares void what it has added."""
    say(federation, VOID, {"roster": body_of(federation, SUM)["roster"], "missing": ["P02"]}, time=1_800_000_000)


def next_roster(federation: Federation) -> None:
    """The aggregator calls another roster after the sum."""
    body = body_of(federation, ROSTER)
    later = MessageName("roster", 1, 2, AGGREGATOR)
    say(federation, later, body, time=1_800_000_000)


def left_out(federation: Federation) -> None:
    """The aggregator leaves out a partner that was ready in time: allowed, and warned of."""
    signed(ROSTER, lambda f: [f["body"]["members"].pop("P01"), f.update(time=f["time"] + 60)])(federation)


def second(name: MessageName) -> MessageName:
    """The same message of round 2."""
    return MessageName(name.kind, 2, 1, name.sender)


WHOLE = [
    Kind("the sum of round 1 in round 2", replayed(SUM, second(SUM)), REFUSED, "sum.agg", P01, "later"),
    Kind(
        "an update of round 1 in round 2",
        replayed(UPDATE, second(UPDATE)),
        REFUSED,
        "update.P02",
        AGGREGATOR_RUN,
        "later",
    ),
    Kind("the roster of round 1 in round 2", replayed(ROSTER, second(ROSTER)), WAITS, "", P01, "later"),
    Kind("a void beside the sum", void_after_sum, REFUSED, "void", P01, "summed"),
    Kind("a void after a release", void_after_sum, REFUSED, "void", P01, "released"),
    Kind("another roster after the sum", next_roster, REFUSED, "attempt-02", P01, "summed"),
    Kind("a roster without a partner that was ready", left_out, WAITS, "ask the aggregator", P01, "called"),
]
TABLE = by_name(bodies(), signers(), payloads(), WHOLE)


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_member_refuses_a_hostile_word(bench: Bench, kind: Kind):
    """The run ends with exit code 4; with 6 for what the aggregator may do, or what is kept in the home already."""
    bench.check(kind, kind.stage, kind.command)
