"""Manifests: accepted only if everything is as expected, each damage with its own error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure.canonical import canonical_json, digest
from secure.errors import (
    BadManifest,
    BadSignature,
    PayloadMismatch,
    SecureError,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRound,
    WrongSender,
)
from secure.keys import Card, PrivateKeys
from secure.messages import (
    MAX_BYTES,
    Expected,
    Manifest,
    PayloadDigest,
    check_payload,
    manifest_digest,
    parse_manifest,
    payload_digest,
    sign_manifest,
    verify_manifest,
)

PLAN, OTHER, TRUNK = digest(b"plan"), digest(b"other"), digest(b"trunk")
TIME = 1_700_000_000
PAYLOAD = PayloadDigest(digest(b"payload"), 7)
ASH, BIRCH = PrivateKeys.generate("ash", "partner"), PrivateKeys.generate("birch", "partner")
HUB = PrivateKeys.generate("hub", "aggregator")
BODIES = {
    "deal": {"group": OTHER},
    "pairing": {"group": OTHER},
    "ready": {"trunk": TRUNK, "preparation": OTHER},
    "roster": {"members": {"ash": OTHER, "birch": OTHER, "cedar": OTHER}, "trunk": TRUNK},
    "update": {"roster": OTHER},
    "sum": {"roster": OTHER, "updates": {"ash": OTHER, "birch": OTHER, "cedar": OTHER}},
    "void": {"roster": OTHER, "missing": ["ash", "birch"]},
}
WITH_PAYLOAD = {"deal", "pairing", "update", "sum"}
BY_HUB = {"roster", "sum", "void"}


def place(kind):
    return (0, 0) if kind in {"deal", "pairing"} else (3, 1)


def signed(kind: str, keys: PrivateKeys | None = None, **change: object) -> bytes:
    round_no, attempt = place(kind)
    fields = {
        "kind": kind,
        "plan": PLAN,
        "round_no": round_no,
        "attempt": attempt,
        "time": TIME,
        "body": BODIES[kind],
        "payload": PAYLOAD if kind in WITH_PAYLOAD else None,
    }
    return sign_manifest(keys or (HUB if kind in BY_HUB else ASH), **(fields | change))


def verify(data: bytes, kind: str = "update", card: Card | None = None, **change: object) -> Manifest:
    round_no, attempt = place(kind)
    expected = {"kind": kind, "plan": PLAN, "round_no": round_no, "attempt": attempt} | change
    return verify_manifest(data, card or (HUB if kind in BY_HUB else ASH).card(), Expected(**expected), "test")


@pytest.mark.parametrize("kind", BODIES)
def test_every_kind_arrives(kind):
    """What one member signs another reads, field for field."""
    manifest = verify(signed(kind), kind)
    assert (manifest.kind, manifest.plan, manifest.body) == (kind, PLAN, BODIES[kind])
    assert (manifest.round, manifest.attempt) == place(kind)
    assert manifest.time == TIME
    assert manifest.payload == (PAYLOAD if kind in WITH_PAYLOAD else None)


def test_same_message_same_bytes():
    """Signing is deterministic: a message made again after a crash is the very same file."""
    assert signed("update") == signed("update")
    assert manifest_digest(signed("update")) == digest(signed("update"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "ready"}, WrongKind),
        ({"plan": OTHER}, WrongPlan),
        ({"round_no": 2}, WrongRound),
        ({"attempt": 0}, WrongAttempt),
        ({"card": BIRCH.card()}, WrongSender),
        ({"card": PrivateKeys.generate("ash", "partner").card()}, BadSignature),
        ({"card": PrivateKeys.generate("ash", "aggregator").card()}, WrongSender),
    ],
)
def test_replays_are_refused(change, error):
    """A rightly signed message in the wrong place has the error of that place."""
    with pytest.raises(error):
        verify(signed("update"), **change)


def test_signature_of_another_kind_does_not_fit():
    """A signature does not move from one manifest to another."""
    one, two = json.loads(signed("update")), json.loads(signed("update", attempt=2))
    with pytest.raises(BadSignature):
        verify(canonical_json(two | {"signature": one["signature"]}), attempt=2)


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"roster": TRUNK}},
        {"payload": {"sha256": TRUNK, "size": 7}},
        {"payload": {"sha256": PAYLOAD.sha256, "size": 8}},
        {"round": 4},
        {"attempt": 2},
        {"time": 0},
        {"plan": OTHER},
        {"kind": "ready", "payload": None, "body": BODIES["ready"]},
    ],
)
def test_unsigned_changes_are_refused(change):
    """Whatever is changed after signing breaks the signature."""
    with pytest.raises(BadSignature):
        verify(canonical_json(json.loads(signed("update")) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "hocket.other"},
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"kind": "hello"},
        {"kind": None},
        {"kind": ["update"]},
        {"plan": PLAN[:-1]},
        {"plan": PLAN.upper()},
        {"plan": 1},
        {"round": -1},
        {"round": True},
        {"round": 3.0},
        {"round": "3"},
        {"round": 1 << 31},
        {"attempt": None},
        {"attempt": -1},
        {"time": None},
        {"time": -1},
        {"time": 1.5},
        {"time": True},
        {"time": 1 << 37},
        {"sender": ""},
        {"sender": "a b"},
        {"sender": 1},
        {"body": None},
        {"body": []},
        {"body": {}},
        {"body": {"roster": 1}},
        {"body": {"roster": OTHER, "more": 1}},
        {"payload": None},
        {"payload": {}},
        {"payload": {"sha256": OTHER}},
        {"payload": {"sha256": OTHER, "size": -1}},
        {"payload": {"sha256": OTHER, "size": 1.0}},
        {"payload": {"sha256": OTHER, "size": True}},
        {"payload": {"sha256": "x", "size": 1}},
        {"signature": "AA"},
        {"signature": 0},
        {"signature": "!" * 88},
        {"extra": 1},
    ],
)
def test_malformed_manifests_are_refused(change):
    """Unknown keys, wrong types and wrong values are BadManifest, before any signature is looked at."""
    with pytest.raises(BadManifest):
        verify(canonical_json(json.loads(signed("update")) | change))


@pytest.mark.parametrize("key", sorted(json.loads(signed("update"))))
def test_missing_keys_are_refused(key):
    """Every key is needed."""
    fields = json.loads(signed("update"))
    del fields[key]
    with pytest.raises(BadManifest):
        verify(canonical_json(fields))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("deal", {"group": "x"}),
        ("ready", {"trunk": TRUNK}),
        ("roster", {"members": {}, "trunk": TRUNK}),
        ("roster", {"members": {"a b": OTHER}, "trunk": TRUNK}),
        ("roster", {"members": ["ash"], "trunk": TRUNK}),
        ("sum", {"roster": OTHER, "updates": {"ash": "x"}}),
        ("void", {"roster": OTHER, "missing": []}),
        ("void", {"roster": OTHER, "missing": ["birch", "ash"]}),
        ("void", {"roster": OTHER, "missing": ["ash", "ash"]}),
        ("void", {"roster": OTHER, "missing": "ash"}),
    ],
)
def test_bodies_are_checked(kind, body):
    """A body that its kind does not allow can be neither signed nor read."""
    with pytest.raises(BadManifest):
        signed(kind, body=body)
    with pytest.raises(BadManifest):
        parse_manifest(canonical_json(json.loads(signed(kind)) | {"body": body}), "test")


@pytest.mark.parametrize("kind", BODIES)
def test_roles(kind):
    """Partners do not send what the aggregator sends, nor the other way round; neither signed nor read."""
    wrong = ASH if kind in BY_HUB else HUB
    with pytest.raises(WrongSender):
        signed(kind, wrong)
    same_name = PrivateKeys.generate(wrong.name, HUB.role if wrong is ASH else ASH.role)
    with pytest.raises(WrongSender):
        verify(signed(kind, same_name), kind, card=wrong.card())


def test_enrolment_has_no_round_and_payloads_stand_where_they_belong():
    """Deal and pairing belong to round 0; a payload is where the kind has one."""
    for kind, change in (
        ("deal", {"round_no": 1}),
        ("pairing", {"attempt": 1}),
        ("ready", {"payload": PAYLOAD}),
        ("sum", {"payload": None}),
    ):
        with pytest.raises(BadManifest):
            signed(kind, **change)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\x00", b"[" * MAX_BYTES, b" " * (MAX_BYTES + 1)])
def test_no_manifest_at_all(data):
    """Anything else is BadManifest."""
    with pytest.raises(BadManifest):
        verify(data)


def test_too_large_is_refused():
    """A roster that does not fit a manifest cannot be signed."""
    members = {f"partner-{i:05}": OTHER for i in range(1000)}
    with pytest.raises(BadManifest):
        signed("roster", body={"members": members, "trunk": TRUNK})


@given(st.integers(0, len(signed("update")) - 1), st.integers(1, 255))
def test_every_flipped_byte_is_refused(position, flip):
    """Whatever byte is changed in whatever way, the manifest is refused with a typed error."""
    data = bytearray(signed("update"))
    data[position] ^= flip
    with pytest.raises(SecureError):
        verify(bytes(data))


@given(st.integers(0, len(signed("update")) - 1))
def test_every_truncation_is_refused(length):
    """No beginning of a manifest is one."""
    with pytest.raises(BadManifest):
        verify(signed("update")[:length])


def test_payloads(tmp_path):
    """A payload is accepted only with its size and digest."""
    path = tmp_path / "payload"
    path.write_bytes(b"payload")
    assert payload_digest(path) == PAYLOAD
    check_payload(path, PAYLOAD, "test")
    for content in (b"payloae", b"payloa", b"payload\n", b""):
        path.write_bytes(content)
        with pytest.raises(PayloadMismatch):
            check_payload(path, PAYLOAD, "test")
    with pytest.raises(PayloadMismatch):
        check_payload(tmp_path / "missing", PAYLOAD, "test")
