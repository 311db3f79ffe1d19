"""What `hocket verify` refuses, by name: deals, pairings, payloads, rosters, sums, voids, rounds and plans."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import BrokenTranscript, Equivocation, ExchangeConflict
from pipeline.plan.plan import read_plan
from secure.encoding.canonical import canonical_json, digest
from secure.errors import (
    BadEnvelope,
    BadManifest,
    BadSignature,
    PayloadMismatch,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
    WrongSender,
)
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import PayloadDigest, sign_manifest
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import (
    ALL,
    DEAL,
    NOW,
    PAIRING,
    READY,
    ROSTER,
    SUM,
    UPDATE,
    VOID,
    at_round,
    body_of,
    digest_of,
    make_void,
    manifest_of,
    outcomes,
    refusal,
    remove,
    run_audit,
    say,
    say_again,
)


def test_a_deal_by_another_than_the_custodian_is_refused(done: Federation):
    """Even with all signatures right."""
    name = MessageName("deal", 0, 0, "P02")
    shutil.copyfile(done.exchange / DEAL.payload, done.exchange / name.payload)
    say(done, name, body_of(done, DEAL), time=NOW)
    refusal(done, ExchangeConflict, name.manifest, "deal by P02", "by P01")


@pytest.mark.parametrize("name", [PAIRING, DEAL])
def test_another_group_is_refused(done: Federation, name: MessageName):
    """Deal and pairings name one group secret."""
    say(done, name, {"group": digest(b"another")})
    refusal(
        done,
        Equivocation,
        "enrol: ",
        "one group secret",
        f"{name.kind} of {name.sender} {digest(b'another')[:12]}",
    )


@pytest.mark.parametrize("name", [PAIRING, DEAL])
def test_rounds_without_a_complete_enrolment_are_refused(done: Federation, name: MessageName):
    """Nobody can have sealed then."""
    remove(done.exchange, name)
    refusal(done, BrokenTranscript, f"enrol: the {name.kind} of {name.sender} missing")


def envelopes(change: Callable[[dict[str, Any]], Any]) -> Callable[[Federation, MessageName], None]:
    """A damage: a payload of envelopes, changed, under its sender's new signature."""

    def damage(federation: Federation, name: MessageName) -> None:
        path = federation.exchange / name.payload
        document = json.loads(path.read_bytes())
        change(document)
        path.write_bytes(canonical_json(document))
        say_again(federation, name)

    return damage


@pytest.mark.parametrize("name", [PAIRING, DEAL])
@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (envelopes(lambda found: found["envelopes"].pop("P03")), BadEnvelope),
        (envelopes(lambda found: found["envelopes"].update(P04="AAAA")), BadEnvelope),
        (envelopes(lambda found: found["envelopes"].update(P03="not base64")), BadEnvelope),
        (envelopes(lambda found: found.update(plan=digest(b"another"))), WrongPlan),
        (envelopes(lambda found: found.update(sender="P03")), WrongSender),
        (envelopes(lambda found: found.update(group=digest(b"another"))), BadEnvelope),
        (envelopes(lambda found: found.update(version=2)), BadEnvelope),
        (envelopes(lambda found: found.update(more=1)), BadEnvelope),
    ],
    ids=["dropped", "added", "text", "plan", "sender", "group", "version", "key"],
)
def test_wrong_envelopes_are_refused(
    done: Federation,
    name: MessageName,
    damage: Callable[[Federation, MessageName], None],
    error: type[Exception],
):
    """Bound to this plan, sender and group, one envelope for each receiver."""
    damage(done, name)
    refusal(done, error, name.payload)


def test_the_payload_of_another_kind_is_refused(done: Federation):
    """The custodian's pairing as its deal."""
    shutil.copyfile(done.exchange / MessageName("pairing", 0, 0, "P01").payload, done.exchange / DEAL.payload)
    say_again(done, DEAL)
    refusal(done, WrongKind, DEAL.payload)


def test_a_pairing_larger_than_any_is_refused(done: Federation):
    """The custodian's deal as its pairing: too large for the plan's partners, so it is not read."""
    pairing = MessageName("pairing", 0, 0, "P01")
    shutil.copyfile(done.exchange / DEAL.payload, done.exchange / pairing.payload)
    say_again(done, pairing)
    refusal(done, PayloadMismatch, pairing.manifest)


@pytest.mark.parametrize("name", [SUM, DEAL, PAIRING])
def test_a_missing_payload_is_refused(done: Federation, name: MessageName):
    """A manifest without its payload is a lost message."""
    (done.exchange / name.payload).unlink()
    refusal(done, PayloadMismatch, name.payload, "missing")


@pytest.mark.parametrize("name", [UPDATE, SUM, MessageName("deal", 0, 0, "P01")])
def test_a_changed_payload_is_refused(done: Federation, name: MessageName):
    """By its size or by its digest."""
    path = done.exchange / name.payload
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    refusal(done, PayloadMismatch, name.payload)


@pytest.mark.parametrize(
    "path",
    [
        "README.txt",
        "enrol/notes.json",
        "enrol/update.P01.arrow",
        "enrol/ready.P01.json",
        "round-0001/attempt-01/copy.P01.json",
        "round-0001/attempt-01/deal.P01.envelopes",
        "round-0001/attempt-01/ready.P01.envelopes",
        "round-0001/attempt-01/update.P01.arrow.bak",
        "round-0001/attempt-01/update.P04.arrow",
        "round-0001/attempt-01/sum.P01.arrow",
        "round-0001/attempt-01/update.agg.json",
        "round-0001/attempt-01/update.P04.json",
        "round-0001/roster.agg.json",
        "round-0000/attempt-00/deal.P01.json",
    ],
)
def test_a_stranger_is_refused(done: Federation, path: str):
    """No file belongs here but the messages of the plan's members, each of its own role, in their places."""
    (done.exchange / path).parent.mkdir(parents=True, exist_ok=True)
    (done.exchange / path).write_bytes(b"{}")
    refusal(done, ExchangeConflict, path)


def listing(change: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[Federation], None]:
    """A damage: the aggregator signs a sum with another list of updates."""

    def damage(federation: Federation) -> None:
        body = body_of(federation, SUM)
        say(federation, SUM, body | {"updates": change(dict(body["updates"]))})

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        listing(lambda listed: listed | {"P02": digest(b"another")}),
        listing(lambda listed: listed | {"P02": listed["P03"]}),
        listing(lambda listed: {name: value for name, value in listed.items() if name != "P02"}),
        listing(lambda listed: listed | {"P04": digest(b"another")}),
    ],
    ids=["wrong", "doubled", "dropped", "added"],
)
def test_a_sum_that_lists_other_updates_is_refused(done: Federation, damage: Callable[[Federation], None]):
    """Even with the aggregator's genuine signature."""
    damage(done)
    refusal(done, Equivocation, SUM.folder, "not list exactly")


@pytest.mark.parametrize("deleted", [["P02"], ["P01", "P02", "P03"]])
def test_deleted_updates_are_noted_not_refused(done: Federation, deleted: list[str]):
    """Somebody made room: the sum of that round cannot be added again, and the trail says so."""
    for name in deleted:
        (done.exchange / MessageName("update", 1, 1, name).payload).unlink()
    trail = run_audit(done)
    first, second = trail.attempts
    assert (first.recomputed, first.gone, second.recomputed) == (False, tuple(deleted), True)
    assert (trail.n_sums, trail.n_recomputed) == (2, 1)
    (note,) = trail.notes
    assert re.match(rf"round 1, attempt 1: .*update of {', '.join(deleted)} is gone\b", note)


def test_an_update_posted_again_with_another_content_is_refused(done: Federation):
    """A partner that signs a second update after the sum."""
    path = done.exchange / UPDATE.payload
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    say(done, UPDATE, body_of(done, UPDATE))
    refusal(done, Equivocation, UPDATE.folder, "not list exactly")


def test_a_lost_update_is_refused(done: Federation):
    """The sum lists what is not there."""
    (done.exchange / UPDATE.manifest).unlink()
    refusal(done, Equivocation, UPDATE.folder)


def test_two_outcomes_are_refused(done: Federation):
    """An attempt ends with a sum or with a void."""
    say(done, VOID, {"roster": digest_of(done, ROSTER), "missing": ["P02"]})
    refusal(done, Equivocation, VOID.folder, "both a sum", "void")


def test_a_gap_in_the_rounds_is_refused(done: Federation):
    """Round 2 without round 1."""
    shutil.rmtree(done.exchange / "round-0001")
    refusal(done, BrokenTranscript, "round 2, attempt 1", "expected round 1, attempt 1")


def test_a_second_attempt_after_a_sum_is_refused(done: Federation):
    """Only a void is followed by another attempt."""
    say(done, MessageName("ready", 1, 2, "P01"), body_of(done, MessageName("ready", 1, 1, "P01")))
    refusal(done, BrokenTranscript, "round 1, attempt 2", "expected round 2, attempt 1")


def test_a_round_after_an_open_one_is_refused(done: Federation):
    """Nothing may follow an attempt without outcome."""
    for name in ALL:
        remove(done.exchange, MessageName("release", 1, 1, name))
    remove(done.exchange, SUM)
    refusal(done, BrokenTranscript, "round 2, attempt 1")


def test_a_round_after_one_without_all_releases_is_refused(done: Federation):
    """Nobody could have opened its sum."""
    remove(done.exchange, MessageName("release", 1, 1, "P02"))
    refusal(done, BrokenTranscript, "round 1, attempt 1 lacks the release of P02")


def test_more_rounds_than_the_plan_has_are_refused(done: Federation):
    """Round 4 of 2, and a roster in the closing round."""
    say(done, at_round(ROSTER, 3), body_of(done, at_round(ROSTER, 2)), time=NOW)
    refusal(done, WrongRoster, "round-0003")
    remove(done.exchange, at_round(ROSTER, 3))
    say(done, at_round(READY, 4), body_of(done, at_round(READY, 2)), time=NOW)
    refusal(done, BrokenTranscript, "round 4, attempt 1 is out of order")


def test_more_attempts_than_the_plan_allows_are_refused(done: Federation):
    """No partner takes part in attempt 6 of 5, and no honest aggregator declares the fifth void."""
    make_void(done, 2, "P02")
    for attempt in range(2, 6):
        for name in ALL:
            ready = MessageName("ready", 2, 1, name)
            say(done, replace(ready, attempt=attempt), body_of(done, ready), time=NOW)
        digests = {name: digest_of(done, MessageName("ready", 2, attempt, name)) for name in ALL}
        roster = at_round(ROSTER, 2, attempt)
        say(done, roster, body_of(done, at_round(ROSTER, 2)) | {"members": digests}, time=NOW)
        void = {"roster": digest_of(done, roster), "missing": ["P02"]}
        say(done, at_round(VOID, 2, attempt), void, time=NOW)
    assert outcomes(done)[-1] == (2, 5, "void")
    say(done, MessageName("ready", 2, 6, "P01"), body_of(done, MessageName("ready", 2, 1, "P01")), time=NOW)
    refusal(done, BrokenTranscript, "round 2 ", "attempt 6, ", " 5")


@pytest.mark.parametrize("missing", [["P04"], ["P02", "P04"], [AGGREGATOR]])
def test_a_void_that_misses_a_stranger_is_refused(done: Federation, missing: list[str]):
    """Only members of the roster can be missing."""
    make_void(done, 2, *missing)
    refusal(done, Equivocation, at_round(VOID, 2).folder, "as missing, ", missing[-1])


def test_a_void_for_another_roster_is_refused(done: Federation):
    """As every message after the roster."""
    make_void(done, 2, "P02")
    say(done, at_round(VOID, 2), body_of(done, at_round(VOID, 2)) | {"roster": digest(b"another")})
    refusal(done, WrongRoster, VOID.kind, AGGREGATOR)


def test_a_missing_roster_is_refused(done: Federation):
    """Updates for a roster that nobody can show."""
    (done.exchange / ROSTER.manifest).unlink()
    refusal(done, BrokenTranscript, ROSTER.folder, "no roster")


def test_a_roster_of_another_ready_is_refused(done: Federation):
    """The roster lists the digest of each member's ready as it was posted."""
    body = body_of(done, ROSTER)
    say(done, ROSTER, body | {"members": dict(body["members"]) | {"P02": digest(b"another")}})
    refusal(done, WrongRoster, ROSTER.folder, "P02")


def test_a_ready_signed_anew_is_refused(done: Federation):
    """A partner cannot replace its ready message either."""
    say(done, READY, body_of(done, READY) | {"trunk": digest(b"another")})
    refusal(done, WrongRoster, READY.folder, "P02")


def test_too_small_a_roster_is_refused(done: Federation):
    """Fewer members than the plan's minimum, though genuinely signed."""
    body = body_of(done, ROSTER)
    say(done, ROSTER, body | {"members": {name: body["members"][name] for name in ("P01", "P02")}})
    refusal(done, WrongRoster, ROSTER.folder, "too few")


def call(federation: Federation, round_no: int, attempt: int, trunk: str, **odd: dict[str, str]) -> None:
    """All partners say ready and the aggregator calls them; `odd` by partner: what it says otherwise."""
    preparation, members, confirmed = digest(b"preparation"), {}, {"P09": "A" * 22 + "=="}
    for name in ALL:
        ready = MessageName("ready", round_no, attempt, name)
        say(
            federation,
            ready,
            {"trunk": trunk, "preparation": preparation, "confirmations": confirmed} | odd.get(name, {}),
            time=NOW,
        )
        members[name] = digest_of(federation, ready)
    say(federation, at_round(ROSTER, round_no, attempt), {"members": members, "trunk": trunk}, time=NOW)


def test_a_first_round_that_does_not_start_from_the_plans_trunk_is_refused(done: Federation):
    """The first trunk follows from the plan alone: all members together cannot choose another."""
    for round_no in (1, 2, 3):
        shutil.rmtree(done.exchange / f"round-000{round_no}")
    call(done, 1, 1, digest(b"another"))
    refusal(done, Equivocation, ROSTER.manifest, f"starts from trunk {digest(b'another')[:12]}")


@pytest.mark.parametrize(
    ("trunk", "odd", "said"),
    [
        (digest(b"another"), {}, "starts from trunk"),
        (None, {"P02": {"preparation": digest(b"another")}}, "prepare compounds differently"),
        (None, {"P03": {"trunk": digest(b"another")}}, "the roster's trunk"),
    ],
    ids=["all-elsewhere", "preparation", "one-elsewhere"],
)
def test_members_that_do_not_belong_together_are_refused(
    done: Federation, trunk: str | None, odd: dict[str, dict[str, str]], said: str
):
    """All attempts at a round start from one trunk, and a roster's members are alike."""
    make_void(done, 2, "P02")
    before = str(body_of(done, at_round(ROSTER, 2))["trunk"])
    call(done, 2, 2, trunk or before, **odd)
    refusal(done, Equivocation, at_round(ROSTER, 2, 2).folder, said)
    call(done, 2, 2, before)
    assert outcomes(done)[-1] == (2, 2, "open")


@pytest.mark.parametrize("name", [UPDATE, SUM])
def test_a_message_for_another_roster_is_refused(done: Federation, name: MessageName):
    """Updates and sums are bound to the one roster."""
    say(done, name, body_of(done, name) | {"roster": digest(b"another")})
    refusal(done, WrongRoster, name.folder, name.kind, name.sender)


def test_another_plan_is_refused(done: Federation):
    """A message of another federation among these."""
    say(done, READY, body_of(done, READY), plan=digest(b"another plan"))
    refusal(done, WrongPlan, READY.manifest)


def test_a_changed_plan_fits_no_message(done: Federation):
    """One setting changed after the fact."""
    done.plan_file.write_text(done.plan_file.read_text().replace("local_steps = 4", "local_steps = 5"))
    refusal(done, WrongPlan)


def test_a_forged_signature_is_refused(done: Federation):
    """P03's signature under P02's ready."""
    manifest = manifest_of(done, READY)
    done_by = load_private_keys(done.home("P03").keys)
    data = sign_manifest(
        done_by, kind="ready", plan=manifest.plan, round_no=1, attempt=1, time=1, body=manifest.body, payload=None
    )
    (done.exchange / READY.manifest).write_bytes(data.replace(b'"sender":"P03"', b'"sender":"P02"'))
    refusal(done, BadSignature, READY.manifest)


def test_an_old_message_in_a_new_place_is_refused(done: Federation):
    """Round 1's ready as that of round 2."""
    later = MessageName("ready", 2, 1, "P02")
    shutil.copyfile(done.exchange / READY.manifest, done.exchange / later.manifest)
    refusal(done, WrongRound, later.manifest)


def test_an_empty_manifest_is_refused(done: Federation):
    """A file of no bytes is no message."""
    (done.exchange / READY.manifest).write_bytes(b"")
    refusal(done, BadManifest, READY.manifest)


def test_a_payload_digest_of_another_size_is_refused(done: Federation):
    """A signature over a payload that is not there."""
    data = sign_manifest(
        load_private_keys(done.home("P02").keys),
        kind="pairing",
        plan=read_plan(done.plan_file).digest,
        round_no=0,
        attempt=0,
        time=1,
        body=body_of(done, PAIRING),
        payload=PayloadDigest(digest(b"another"), 7),
    )
    (done.exchange / PAIRING.manifest).write_bytes(data)
    refusal(done, PayloadMismatch, PAIRING.payload)
