"""`hocket verify`: a true transcript is listed round by round, and each way to damage one is refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from pipeline.audit import Attempt, audit
from pipeline.errors import Equivocation, ExchangeConflict, ExchangeError, ExitCode
from pipeline.exchange import open_exchange
from pipeline.home import MessageName
from pipeline.plan import read_plan
from secure.canonical import digest
from secure.errors import BadManifest, BadSignature, PayloadMismatch, SecureError, WrongPlan, WrongRoster, WrongRound
from secure.keys import load_private_keys
from secure.messages import PayloadDigest, parse_manifest, payload_digest, sign_manifest
from tests.pipeline.federation import AGGREGATOR, Federation

TIME = 1_700_000_000
ALL = ("P01", "P02", "P03")
SUM = MessageName("sum", 1, 1, AGGREGATOR)
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
VOID = MessageName("void", 1, 1, AGGREGATOR)
UPDATE = MessageName("update", 1, 1, "P02")
READY = MessageName("ready", 1, 1, "P02")


def run_audit(federation: Federation) -> list[Attempt]:
    """What an outsider with plan and exchange finds."""
    return audit(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))


def refusal(federation: Federation, error: type[Exception], *said: str) -> None:
    """The audit must refuse with this error and name these."""
    with pytest.raises(error) as caught:
        run_audit(federation)
    assert getattr(caught.value, "exit_code", ExitCode.SECURITY) == ExitCode.SECURITY
    assert isinstance(caught.value, SecureError | Equivocation | ExchangeConflict)
    for part in said:
        assert part in str(caught.value)


def body_of(federation: Federation, name: MessageName) -> dict[str, object]:
    """What a posted message says."""
    return parse_manifest((federation.exchange / name.manifest).read_bytes(), "here").body


def digest_of(federation: Federation, name: MessageName) -> str:
    """Digest of a posted manifest."""
    return digest((federation.exchange / name.manifest).read_bytes())


def say(federation: Federation, name: MessageName, body: dict[str, object], *, plan: str | None = None) -> None:
    """Post a message with its sender's real signature, whatever it says, over the payload that lies there."""
    payload = federation.exchange / name.payload
    data = sign_manifest(
        load_private_keys(federation.home(name.sender).keys),
        kind=name.kind,
        plan=plan or read_plan(federation.plan_file).digest,
        round_no=name.round_no,
        attempt=name.attempt,
        time=TIME,
        body=body,
        payload=payload_digest(payload) if payload.exists() else None,
    )
    (federation.exchange / name.manifest).parent.mkdir(parents=True, exist_ok=True)
    (federation.exchange / name.manifest).write_bytes(data)


# --------------------------------------------------------------------------------------------- true transcripts


def test_a_finished_transcript_lists_every_round(finished: Federation):
    """Each round once, its roster and its sum."""
    assert run_audit(finished) == [Attempt(1, 1, ALL, "sum"), Attempt(2, 1, ALL, "sum")]


def test_the_audit_changes_nothing_and_needs_no_home(done: Federation):
    """Plan and exchange are enough, and stay as they are."""
    for name in (*ALL, AGGREGATOR):
        shutil.rmtree(done.folder / name)
    before = {path: path.read_bytes() for path in done.exchange.rglob("*") if path.is_file()}
    run_audit(done)
    assert {path: path.read_bytes() for path in done.exchange.rglob("*") if path.is_file()} == before


def test_a_transcript_in_an_object_store_is_audited_too(finished: Federation):
    """Any storage that fsspec knows."""
    room = f"memory://{uuid4().hex}"
    fsspec.filesystem("memory").put(f"{finished.exchange}/", f"{room}/", recursive=True)
    assert len(audit(read_plan(finished.plan_file), open_exchange(room))) == 2


def test_an_unfinished_transcript_is_open(done: Federation):
    """What has no outcome yet is said to be open."""
    for path in (SUM.manifest, SUM.payload):
        (done.exchange / path.replace("round-0001", "round-0002")).unlink()
    assert [attempt.outcome for attempt in run_audit(done)] == ["sum", "open"]


def test_a_payload_whose_manifest_is_still_to_come_is_no_damage(done: Federation):
    """Payloads are posted first."""
    last = MessageName("sum", 2, 1, AGGREGATOR)
    (done.exchange / last.manifest).unlink()
    assert [attempt.outcome for attempt in run_audit(done)] == ["sum", "open"]


def test_an_attempt_without_a_roster_is_open(done: Federation):
    """Partners that are ready for a round that was never called."""
    shutil.rmtree(done.exchange / "round-0002" / "attempt-01")
    name = MessageName("ready", 2, 1, "P01")
    say(done, name, body_of(done, MessageName("ready", 1, 1, "P01")))
    assert run_audit(done)[-1] == Attempt(2, 1, (), "open")


def test_an_enrolment_alone_has_no_attempts(done: Federation):
    """Verified, though no round has begun."""
    shutil.rmtree(done.exchange / "round-0001")
    shutil.rmtree(done.exchange / "round-0002")
    assert run_audit(done) == []


def test_a_void_attempt_is_followed_by_another(done: Federation):
    """Attempt 1 of round 2 void, attempt 2 open."""
    roster = MessageName("roster", 2, 1, AGGREGATOR)
    for kind in ("sum", "update"):
        for path in (done.exchange / roster.folder).glob(f"{kind}.*"):
            path.unlink()
    say(done, MessageName("void", 2, 1, AGGREGATOR), {"roster": digest_of(done, roster), "missing": ["P02"]})
    say(done, MessageName("ready", 2, 2, "P01"), body_of(done, MessageName("ready", 2, 1, "P01")))
    assert [(at.round_no, at.attempt, at.outcome) for at in run_audit(done)] == [
        (1, 1, "sum"),
        (2, 1, "void"),
        (2, 2, "open"),
    ]


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_nothing_to_check_is_not_passed(finished: Federation, tmp_path: Path, place: str):
    """A mistyped folder must not look like a sound transcript."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExchangeError, match=f"{place}: holds no message"):
        audit(read_plan(finished.plan_file), open_exchange(f"file://{tmp_path}/{place}"))


# -------------------------------------------------------------------------------------------------------- damages


@pytest.mark.parametrize("name", [UPDATE, SUM, MessageName("deal", 0, 0, "P01"), MessageName("pairing", 0, 0, "P03")])
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
    refusal(done, Equivocation, SUM.folder, "does not list exactly")


def test_an_update_posted_again_with_another_content_is_refused(done: Federation):
    """A partner that signs a second update after the sum."""
    path = done.exchange / UPDATE.payload
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    say(done, UPDATE, body_of(done, UPDATE))
    refusal(done, Equivocation, UPDATE.folder, "does not list exactly")


def test_a_lost_update_is_refused(done: Federation):
    """The sum lists what is not there."""
    (done.exchange / UPDATE.manifest).unlink()
    refusal(done, Equivocation, UPDATE.folder)


def test_two_outcomes_are_refused(done: Federation):
    """An attempt ends with a sum or with a void."""
    say(done, VOID, {"roster": digest_of(done, ROSTER), "missing": ["P02"]})
    refusal(done, Equivocation, VOID.folder, "both a sum and a void")


def test_a_gap_in_the_rounds_is_refused(done: Federation):
    """Round 2 without round 1."""
    shutil.rmtree(done.exchange / "round-0001")
    refusal(done, Equivocation, "round 2, attempt 1", "expected round 1, attempt 1")


def test_a_second_attempt_after_a_sum_is_refused(done: Federation):
    """Only a void is followed by another attempt."""
    say(done, MessageName("ready", 1, 2, "P01"), body_of(done, MessageName("ready", 1, 1, "P01")))
    refusal(done, Equivocation, "round 1, attempt 2", "expected round 2, attempt 1")


def test_a_round_after_an_open_one_is_refused(done: Federation):
    """Nothing may follow what has no outcome."""
    for path in (SUM.manifest, SUM.payload):
        (done.exchange / path).unlink()
    refusal(done, Equivocation, "round 2, attempt 1")


def test_a_missing_roster_is_refused(done: Federation):
    """Updates for a roster that nobody can show."""
    (done.exchange / ROSTER.manifest).unlink()
    refusal(done, Equivocation, ROSTER.folder, "no roster")


def test_a_roster_of_another_ready_is_refused(done: Federation):
    """The roster lists the digest of each member's ready as it was posted."""
    body = body_of(done, ROSTER)
    say(done, ROSTER, body | {"members": dict(body["members"]) | {"P02": digest(b"another")}})
    refusal(done, WrongRoster, ROSTER.folder, "P02")


def test_a_ready_signed_anew_is_refused(done: Federation):
    """A partner cannot change what it said either."""
    say(done, READY, body_of(done, READY) | {"trunk": digest(b"another")})
    refusal(done, WrongRoster, READY.folder, "P02")


def test_too_small_a_roster_is_refused(done: Federation):
    """Fewer members than the plan's minimum, though genuinely signed."""
    body = body_of(done, ROSTER)
    say(done, ROSTER, body | {"members": {name: body["members"][name] for name in ("P01", "P02")}})
    refusal(done, WrongRoster, ROSTER.folder, "too few")


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
    manifest = parse_manifest((done.exchange / READY.manifest).read_bytes(), "here")
    done_by = load_private_keys(done.home("P03").keys)
    data = sign_manifest(
        done_by, kind="ready", plan=manifest.plan, round_no=1, attempt=1, time=TIME, body=manifest.body, payload=None
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
        kind="update",
        plan=read_plan(done.plan_file).digest,
        round_no=1,
        attempt=1,
        time=TIME,
        body=body_of(done, UPDATE),
        payload=PayloadDigest(digest(b"another"), 7),
    )
    (done.exchange / UPDATE.manifest).write_bytes(data)
    refusal(done, PayloadMismatch, UPDATE.payload)
