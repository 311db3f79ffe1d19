"""Manifests: accepted only with the expected content; each damage raises its own error."""

import json

import pytest

from secure.encoding.canonical import canonical_json, digest
from secure.errors import (
    BadManifest,
    PayloadMismatch,
    WrongSender,
)
from secure.keys.keys import Card, PrivateKeys
from secure.messages.messages import (
    Expected,
    Manifest,
    PayloadDigest,
    check_payload,
    manifest_digest,
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
    "handover": {"state": OTHER},
    "ready": {"trunk": TRUNK, "preparation": OTHER, "confirmations": {"birch": "A" * 22 + "=="}},
    "roster": {"members": {"ash": OTHER, "birch": OTHER, "cedar": OTHER}, "trunk": TRUNK},
    "update": {"roster": OTHER, "release_commitment": OTHER},
    "release": {"roster": OTHER, "seed": "A" * 43 + "="},
    "sum": {"roster": OTHER, "updates": {"ash": OTHER, "birch": OTHER, "cedar": OTHER}},
    "void": {"roster": OTHER, "missing": ["ash", "birch"]},
    "alive": {"round": 3, "attempt": 1, "step": "training"},
    "trouble": {"round": 0, "attempt": 0, "step": "preparation", "exit_code": 3},
}
WITH_PAYLOAD = {"deal", "pairing", "handover", "update", "sum"}
BY_HUB = {"roster", "sum", "void"}
SIGNS = {"alive", "trouble"}


def place(kind):
    return (0, 0) if kind in {"deal", "pairing", "handover", *SIGNS} else (3, 1)


def signed_manifest(kind: str, keys: PrivateKeys | None = None, **change: object) -> bytes:
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
    """A manifest that one member signs is read by another with all fields equal."""
    manifest = verify(signed_manifest(kind), kind)
    assert (manifest.kind, manifest.plan, manifest.body) == (kind, PLAN, BODIES[kind])
    assert (manifest.round, manifest.attempt) == place(kind)
    assert manifest.time == TIME
    assert manifest.payload == (PAYLOAD if kind in WITH_PAYLOAD else None)


def test_same_message_same_bytes():
    """Signing is deterministic: a message that is signed again after a crash has the same bytes."""
    assert signed_manifest("update") == signed_manifest("update")
    assert manifest_digest(signed_manifest("update")) == digest(signed_manifest("update"))


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
        ("alive", {"round": 1, "attempt": 1}),
        ("alive", {"round": 1, "attempt": 1, "step": "assay CHEMBL25"}),
        ("alive", {"round": -1, "attempt": 1, "step": "training"}),
        ("alive", {"round": 1, "attempt": 1, "step": "training", "reason": "disk"}),
        ("trouble", {"round": 1, "attempt": 1, "step": "training"}),
        ("trouble", {"round": 1, "attempt": 1, "step": "training", "exit_code": 0}),
        ("trouble", {"round": 1, "attempt": 1, "step": "training", "exit_code": True}),
    ],
)
def test_bodies_are_checked(kind, body):
    """A body that its kind does not allow is not signed."""
    with pytest.raises(BadManifest):
        signed_manifest(kind, body=body)


@pytest.mark.parametrize("kind", sorted(SIGNS))
def test_every_member_leaves_signs(kind):
    """A sign of life or trouble is signed and read from partners and the aggregator alike."""
    for keys in (ASH, HUB):
        assert verify(signed_manifest(kind, keys), kind, card=keys.card()).sender == keys.name


@pytest.mark.parametrize("kind", sorted(set(BODIES) - SIGNS))
def test_roles(kind):
    """A kind of message from a member of the wrong role is neither signed nor read."""
    wrong = ASH if kind in BY_HUB else HUB
    with pytest.raises(WrongSender):
        signed_manifest(kind, wrong)
    same_name = PrivateKeys.generate(wrong.name, HUB.role if wrong is ASH else ASH.role)
    with pytest.raises(WrongSender):
        verify(signed_manifest(kind, same_name), kind, card=wrong.card())


def test_enrolment_has_no_round_and_payloads_stand_where_they_belong():
    """A deal or pairing with a round, a missing payload and a superfluous payload are not signed."""
    for kind, change in (
        ("deal", {"round_no": 1}),
        ("pairing", {"attempt": 1}),
        ("alive", {"attempt": 1}),
        ("trouble", {"round_no": 1}),
        ("ready", {"payload": PAYLOAD}),
        ("sum", {"payload": None}),
    ):
        with pytest.raises(BadManifest):
            signed_manifest(kind, **change)


def test_too_large_is_refused():
    """A roster that exceeds the size of a manifest cannot be signed."""
    members = {f"partner-{i:05}": OTHER for i in range(1000)}
    with pytest.raises(BadManifest):
        signed_manifest("roster", body={"members": members, "trunk": TRUNK})


def test_payloads(tmp_path):
    """A payload is accepted with its size and digest; a missing one is refused."""
    path = tmp_path / "payload"
    path.write_bytes(b"payload")
    assert payload_digest(path) == PAYLOAD
    check_payload(path, PAYLOAD, "test")
    with pytest.raises(PayloadMismatch):
        check_payload(tmp_path / "missing", PAYLOAD, "test")


def test_a_message_of_the_version_before_the_release_says_what_to_do():
    """BadManifest, whose note tells that an earlier hocket wrote it and that nothing can go on from it."""
    fields = json.loads(signed_manifest("update")) | {"version": 1}
    with pytest.raises(BadManifest, match="version 1, expected version 2") as caught:
        verify(canonical_json(fields))
    assert "federation.id" in "".join(caught.value.__notes__)
