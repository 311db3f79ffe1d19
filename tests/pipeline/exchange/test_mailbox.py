"""Signed messages between two members over a real exchange: what is accepted, kept and refused."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Equivocation, ExchangeConflict, ExitCode, NotYet
from pipeline.exchange.mailbox import Mailbox, check_payload_size
from pipeline.exchange.storage import open_exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan, read_plan
from secure.errors import (
    BadManifest,
    BadRoster,
    BadSignature,
    PayloadMismatch,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRound,
    WrongSender,
)
from secure.files import write_atomically
from secure.keys.group import secret_bytes
from secure.keys.keys import PrivateKeys, load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest, PayloadDigest, parse_manifest, payload_digest, sign_manifest
from tests.support.federation import Federation

NOW = 1_700_000_000
READY = MessageName("ready", 1, 1, "P01")
UPDATE = MessageName("update", 1, 1, "P01")


def digest_of(text: str) -> str:
    """Any digest."""
    return hashlib.sha256(text.encode()).hexdigest()


BODY: dict[str, object] = {"trunk": digest_of("trunk"), "preparation": digest_of("preparation")}
BODY["confirmations"] = {"P02": "A" * 22 + "=="}
UPDATE_BODY: dict[str, object] = {"roster": digest_of("roster"), "release_commitment": digest_of("seed")}


@pytest.fixture(scope="module")
def plan(enrolled: Federation) -> Plan:
    """The small federation's plan."""
    return read_plan(enrolled.plan_file)


@pytest.fixture(scope="module")
def keys(enrolled: Federation) -> dict[str, PrivateKeys]:
    """Everybody's private keys."""
    return {name: load_private_keys(enrolled.home(name).keys) for name in ("P01", "P02", "P03", "agg")}


@pytest.fixture
def post_office(plan: Plan, keys: dict[str, PrivateKeys], tmp_path: Path) -> dict[str, Mailbox]:
    """Every member's mailbox, with empty homes and one exchange."""
    url, clock = f"file://{tmp_path}/exchange", lambda: NOW + 0.9
    return {name: Mailbox(plan, keys[name], Home(tmp_path / name), open_exchange(url), clock) for name in keys}


@pytest.fixture
def sender(post_office: dict[str, Mailbox]) -> Mailbox:
    """P01's mailbox."""
    return post_office["P01"]


@pytest.fixture
def reader(post_office: dict[str, Mailbox]) -> Mailbox:
    """The aggregator's mailbox."""
    return post_office["agg"]


def restarted(mailbox: Mailbox) -> Mailbox:
    """The same member in a new process."""
    return Mailbox(mailbox.plan, mailbox.keys, mailbox.home, mailbox.exchange, lambda: NOW + 3600.0)


def exchanged(mailbox: Mailbox, path: str) -> Path:
    """A file of the exchange."""
    return Path(mailbox.exchange.where(path))


def post_update(sender: Mailbox, content: bytes = b"sealed") -> None:
    """Post an update with a payload."""
    write_atomically(sender.home.outbox(UPDATE.payload), content)
    sender.post(UPDATE, UPDATE_BODY)


def inbox(mailbox: Mailbox) -> list[Path]:
    """All files of the inbox."""
    return sorted(path for path in mailbox.home.inbox("").rglob("*") if path.is_file())


# ---------------------------------------------------------------------------------------------------- post, receive


def test_what_is_posted_is_received(sender: Mailbox, reader: Mailbox):
    """Body, sender, round and attempt are received as posted."""
    sender.post(READY, BODY)
    found = reader.expect(READY)
    assert (found.body, found.sender, found.round, found.attempt) == (BODY, "P01", 1, 1)
    assert found.text("trunk") == BODY["trunk"]
    assert reader.digest_of(READY) == sender.digest_of(READY)
    assert found == sender.own(READY)
    assert found.time == NOW


def test_what_has_not_come_is_none_or_not_yet(reader: Mailbox):
    """A missing message is NotYet, with the name of its sender."""
    assert reader.receive(READY) is None
    with pytest.raises(NotYet, match=r"ready of P01 .*round 1, attempt 1") as caught:
        reader.expect(READY)
    assert caught.value.exit_code == ExitCode.NOT_YET
    with pytest.raises(NotYet, match=r"deal of P01$"):
        reader.expect(MessageName("deal", 0, 0, "P01"))


def test_posting_again_sends_the_same_bytes(sender: Mailbox):
    """A member restarted an hour later posts the same bytes, time included."""
    sender.post(READY, BODY)
    before = exchanged(sender, READY.manifest).read_bytes()
    again = restarted(sender)
    again.post(READY, dict(reversed(BODY.items())))
    assert exchanged(sender, READY.manifest).read_bytes() == before


def test_reposting_restores_a_deleted_message(sender: Mailbox, reader: Mailbox):
    """After a restart a member posts its signed message and payload again."""
    assert not sender.repost(UPDATE)
    post_update(sender)
    for path in (UPDATE.manifest, UPDATE.payload):
        exchanged(sender, path).unlink()
    assert restarted(sender).repost(UPDATE)
    assert reader.fetch_payload(UPDATE, reader.expect(UPDATE)).read_bytes() == b"sealed"


def test_the_payload_is_there_before_the_manifest(sender: Mailbox, monkeypatch: pytest.MonkeyPatch):
    """The manifest is posted after the payload."""
    sent: list[str] = []
    monkeypatch.setattr(sender.exchange, "send", lambda _source, path: sent.append(path))
    post_update(sender)
    assert sent == [UPDATE.payload, UPDATE.manifest]


def test_a_message_is_accepted_at_the_time_it_was_seen(sender: Mailbox, reader: Mailbox):
    """Deadlines count from the received copy, after restarts too."""
    sender.post(READY, BODY)
    reader.receive(READY)
    first = reader.accepted_at(READY)
    reader.receive(READY)
    assert reader.accepted_at(READY) == first == reader.home.inbox(READY.manifest).stat().st_mtime


# ------------------------------------------------------------------------------------------------------ two words


def test_the_first_version_accepted_is_the_only_one(sender: Mailbox, reader: Mailbox, keys: dict[str, PrivateKeys]):
    """A sender that replaces its message in the exchange changes nothing for those who read it before."""
    sender.post(READY, BODY)
    first = reader.expect(READY)
    other = BODY | {"trunk": digest_of("another")}
    forged = signed_message(keys["P01"], sender.plan.digest, READY, other)
    exchanged(sender, READY.manifest).write_bytes(forged)
    assert reader.expect(READY) == first
    exchanged(sender, READY.manifest).unlink()
    assert reader.expect(READY) == first


def test_a_member_never_signs_two_bodies(sender: Mailbox):
    """A home restored from a backup must not sign a second version of a message."""
    sender.post(READY, BODY)
    with pytest.raises(Equivocation, match=r"ready\.P01\.json") as caught:
        sender.post(READY, BODY | {"trunk": digest_of("another")})
    assert caught.value.exit_code == ExitCode.SECURITY
    assert sender.own(READY).body == BODY


def test_a_changed_posted_manifest_is_a_conflict_for_its_sender(sender: Mailbox):
    """The sender is told when it posts again after a restart."""
    sender.post(READY, BODY)
    exchanged(sender, READY.manifest).write_bytes(b"{}")
    with pytest.raises(ExchangeConflict, match=READY.manifest):
        restarted(sender).post(READY, BODY)


def test_a_changed_copy_in_the_inbox_is_refused(sender: Mailbox, reader: Mailbox):
    """The kept copy is verified again each time."""
    sender.post(READY, BODY)
    reader.expect(READY)
    kept = reader.home.inbox(READY.manifest)
    kept.write_bytes(kept.read_bytes().replace(b'"round":1', b'"round":2'))
    with pytest.raises(BadSignature, match=str(kept)):
        reader.receive(READY)


# ----------------------------------------------------------------------------------------------- wrong in each way


def signed_message(
    keys: PrivateKeys, plan: str, name: MessageName, body: dict[str, object], payload: Path | None = None
) -> bytes:
    """A correctly signed message with any body."""
    return sign_manifest(
        keys,
        kind=name.kind,
        plan=plan,
        round_no=name.round_no,
        attempt=name.attempt,
        time=NOW,
        body=body,
        payload=payload_digest(payload) if payload else None,
    )


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (replace(READY, round_no=2), WrongRound),
        (replace(READY, attempt=2), WrongAttempt),
        (replace(READY, round_no=2, attempt=2), WrongRound),
    ],
)
def test_a_message_of_another_time_is_refused(
    sender: Mailbox, reader: Mailbox, keys: dict[str, PrivateKeys], said: MessageName, error: type[Exception]
):
    """An old message at the path of a new one is refused."""
    place = exchanged(reader, READY.manifest)
    write_atomically(place, signed_message(keys["P01"], sender.plan.digest, said, BODY))
    refuses_to_read(reader, READY, error)


def refuses_to_read(reader: Mailbox, name: MessageName, error: type[Exception]) -> None:
    """The error names the file and nothing is kept."""
    with pytest.raises(error) as caught:
        reader.receive(name)
    assert str(exchanged(reader, name.manifest)) in str(caught.value)
    assert inbox(reader) == []


def test_another_members_message_is_refused(sender: Mailbox, reader: Mailbox, keys: dict[str, PrivateKeys]):
    """P02's genuine message under P01's name."""
    other = replace(READY, sender="P02")
    write_atomically(exchanged(reader, READY.manifest), signed_message(keys["P02"], sender.plan.digest, other, BODY))
    refuses_to_read(reader, READY, WrongSender)


def test_a_strangers_message_in_a_members_name_is_refused(sender: Mailbox, reader: Mailbox):
    """A name without that member's signature is refused."""
    stranger = PrivateKeys.generate("P01", "partner")
    write_atomically(exchanged(reader, READY.manifest), signed_message(stranger, sender.plan.digest, READY, BODY))
    refuses_to_read(reader, READY, BadSignature)


def test_a_message_of_another_federation_is_refused(reader: Mailbox, keys: dict[str, PrivateKeys]):
    """The same members, the same keys, another plan."""
    write_atomically(exchanged(reader, READY.manifest), signed_message(keys["P01"], digest_of("plan"), READY, BODY))
    refuses_to_read(reader, READY, WrongPlan)


def test_another_kind_of_message_is_refused(
    sender: Mailbox, reader: Mailbox, keys: dict[str, PrivateKeys], tmp_path: Path
):
    """An update is no ready."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"sealed")
    data = signed_message(keys["P01"], sender.plan.digest, UPDATE, UPDATE_BODY, payload)
    write_atomically(exchanged(reader, READY.manifest), data)
    refuses_to_read(reader, READY, WrongKind)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b"[" * 100_000, b" " * (1 << 21)])
def test_what_is_no_manifest_is_refused(reader: Mailbox, data: bytes):
    """Empty, tiny, binary, deep or large: one error, no crash."""
    write_atomically(exchanged(reader, READY.manifest), data)
    refuses_to_read(reader, READY, BadManifest)


def test_a_partner_signs_no_roster(sender: Mailbox):
    """A partner cannot sign a message that only the aggregator sends."""
    roster = {"members": {name: digest_of(name) for name in ("P01", "P02", "P03")}, "trunk": digest_of("trunk")}
    with pytest.raises(WrongSender):
        sender.post(MessageName("roster", 1, 1, "P01"), roster)
    assert not sender.has(MessageName("roster", 1, 1, "P01"))


# -------------------------------------------------------------------------------------------------------- payloads


def test_a_payload_is_fetched_once_and_kept(sender: Mailbox, reader: Mailbox):
    """A received payload is checked once; later changes of the exchange do not matter."""
    post_update(sender)
    manifest = reader.expect(UPDATE)
    kept = reader.fetch_payload(UPDATE, manifest)
    assert kept == reader.home.inbox(UPDATE.payload)
    exchanged(sender, UPDATE.payload).write_bytes(b"other")
    assert reader.fetch_payload(UPDATE, manifest).read_bytes() == b"sealed"


def test_a_missing_payload_is_awaited(sender: Mailbox, reader: Mailbox):
    """NotYet, because some storages show a manifest before its payload."""
    post_update(sender)
    exchanged(sender, UPDATE.payload).unlink()
    with pytest.raises(NotYet, match=r"payload .*update of P01"):
        reader.fetch_payload(UPDATE, reader.expect(UPDATE))
    assert inbox(reader) == [reader.home.inbox(UPDATE.manifest)]
    restarted(sender).repost(UPDATE)
    assert reader.fetch_payload(UPDATE, reader.expect(UPDATE)).read_bytes() == b"sealed"


@pytest.mark.parametrize("content", [b"", b"seale", b"sealed!", b"Sealed"])
def test_a_changed_payload_is_refused(sender: Mailbox, reader: Mailbox, content: bytes):
    """The error names the file on the exchange and nothing is kept; the right payload is accepted later."""
    post_update(sender)
    exchanged(sender, UPDATE.payload).write_bytes(content)
    with pytest.raises(PayloadMismatch) as caught:
        reader.fetch_payload(UPDATE, reader.expect(UPDATE))
    assert str(exchanged(sender, UPDATE.payload)) in str(caught.value)
    assert inbox(reader) == [reader.home.inbox(UPDATE.manifest)]
    exchanged(sender, UPDATE.payload).write_bytes(b"sealed")
    assert reader.fetch_payload(UPDATE, reader.expect(UPDATE)).read_bytes() == b"sealed"


def test_a_note_without_payload_has_none_to_fetch(sender: Mailbox, reader: Mailbox):
    """Asking for it is a bug, not a wait."""
    sender.post(READY, BODY)
    with pytest.raises(ValueError, match="no payload"):
        reader.fetch_payload(READY, reader.expect(READY))


# ---------------------------------------------------------------------------------------------------------- rosters


def test_a_roster_is_bound_to_its_manifest(post_office: dict[str, Mailbox]):
    """A roster's members are sorted; its digest is that of the signed file."""
    aggregator, partner = post_office["agg"], post_office["P02"]
    name = MessageName("roster", 2, 3, "agg")
    members = {member: digest_of(member) for member in ("P03", "P01", "P02")}
    aggregator.post(name, {"members": members, "trunk": digest_of("trunk")})
    manifest = partner.expect(name)
    roster = manifest.as_roster(partner.digest_of(name))
    assert roster == aggregator.own(name).as_roster(aggregator.digest_of(name))
    assert (roster.members, roster.round_no, roster.attempt) == (("P01", "P02", "P03"), 2, 3)
    assert manifest.named_digests("members") == members


def test_a_roster_of_two_is_none(post_office: dict[str, Mailbox]):
    """A correctly signed roster with wrong members is refused."""
    name = MessageName("roster", 1, 1, "agg")
    members = {member: digest_of(member) for member in ("P01", "P02")}
    post_office["agg"].post(name, {"members": members, "trunk": digest_of("trunk")})
    with pytest.raises(BadRoster):
        post_office["P01"].expect(name).as_roster(post_office["P01"].digest_of(name))


@pytest.mark.parametrize(("kind", "most"), [("deal", 300_000), ("pairing", 8_000)])
def test_a_payload_of_envelopes_is_limited_by_the_plan(enrolled: Federation, plan: Plan, kind: str, most: int):
    """What a deal or a pairing can hold follows from the partners; one byte more is refused before it is fetched."""
    body: dict[str, object] = {"group": digest_of("group")}
    keys = load_private_keys(enrolled.home("P01").keys)

    def announcing(n_bytes: int) -> Manifest:
        payload = PayloadDigest(digest_of("payload"), n_bytes)
        data = sign_manifest(
            keys, kind=kind, plan=plan.digest, round_no=0, attempt=0, time=NOW, body=body, payload=payload
        )
        return parse_manifest(data, "test")

    n_secret = secret_bytes(plan.seal_parameters(1)) if kind == "deal" else 32
    limit = 1024 + 3 * (64 + 4 * -(-(n_secret + 1136) // 3))
    assert limit < most
    check_payload_size(plan, announcing(limit), "here")
    with pytest.raises(PayloadMismatch, match=f"{limit + 1} bytes"):
        check_payload_size(plan, announcing(limit + 1), "here")
