"""A partner that posts something wrong is refused by name before anything is added, and can be repaired."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from secure.ciphertexts.parameters import SealSettings, seal_parameters
from secure.errors import (
    BadContainer,
    BadManifest,
    BadSignature,
    ParameterMismatch,
    PayloadMismatch,
    SecureError,
    WrongAttempt,
    WrongPlan,
    WrongRoster,
    WrongRound,
    WrongSender,
)
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import PayloadDigest, parse_manifest, sign_manifest
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.hostile_members import OTHER, post
from tests.support.signed_transcripts import body_of, rewrite, say

UPDATE = MessageName("update", 1, 1, "P01")
SUM = MessageName("sum", 1, 1, AGGREGATOR)

Damage = Callable[[Federation], None]


@pytest.fixture
def federation(sealed: Federation, tmp_path: Path) -> Federation:
    """All updates of round 1 are posted, none is added."""
    return sealed.moved(tmp_path / "federation")


def payload_changed(change: Callable[[bytes], bytes]) -> Damage:
    """Another payload than the manifest says."""

    def damage(federation: Federation) -> None:
        path = federation.payload(UPDATE)
        path.write_bytes(change(path.read_bytes()))

    return damage


def endless(federation: Federation) -> None:
    """A sparse file, which costs its sender nothing but would fill the receiver's disk."""
    with federation.payload(UPDATE).open("r+b") as file:
        file.truncate(1 << 40)
    manifest = parse_manifest(federation.posted(UPDATE).read_bytes(), "here")
    keys = load_private_keys(federation.home("P01").keys)
    size = PayloadDigest(manifest.payload.sha256, 1 << 40)
    said = {"kind": "update", "plan": manifest.plan, "round_no": 1, "attempt": 1, "time": manifest.time}
    federation.posted(UPDATE).write_bytes(sign_manifest(keys, **said, body=manifest.body, payload=size))


def signed_payload(change: Callable[[bytes], bytes]) -> Damage:
    """A wrong payload with a genuine signature over it."""

    def damage(federation: Federation) -> None:
        wrong = federation.folder / "wrong"
        wrong.write_bytes(change(federation.payload(UPDATE).read_bytes()))
        post(federation, UPDATE, body_of(federation, UPDATE), wrong)

    return damage


def header_with(**changes: object) -> Damage:
    """The right ciphertexts under a wrong header, genuinely signed."""

    def damage(federation: Federation) -> None:
        rewrite(federation, UPDATE, lambda header: dataclasses.replace(header, **changes))
        say(federation, UPDATE, body_of(federation, UPDATE))

    return damage


def of_another_roster(federation: Federation) -> None:
    """A manifest that says itself that it is for another roster."""
    say(federation, UPDATE, body_of(federation, UPDATE) | {"roster": OTHER})


def of_another_plan(federation: Federation) -> None:
    """A manifest of another plan."""
    say(federation, UPDATE, body_of(federation, UPDATE), plan=OTHER)


def of_another_partner(federation: Federation) -> None:
    """P03's sealed update, signed by P01 as its own."""
    theirs = federation.payload(dataclasses.replace(UPDATE, sender="P03"))
    post(federation, UPDATE, body_of(federation, UPDATE), theirs)


def with_other_parameters(federation: Federation) -> None:
    """Sealed with 8 bits where the plan says 16."""
    other = seal_parameters(SealSettings(bits=8)).to_dict()
    header_with(parameters=other)(federation)


def signed_by_another(federation: Federation) -> None:
    """P03's name replaced by P01's in P03's manifest."""
    theirs = federation.posted(dataclasses.replace(UPDATE, sender="P03")).read_bytes()
    federation.posted(UPDATE).write_bytes(theirs.replace(b'"sender":"P03"', b'"sender":"P01"'))


def cut_manifest(federation: Federation) -> None:
    """Half of a manifest."""
    path = federation.posted(UPDATE)
    path.write_bytes(path.read_bytes()[:100])


CASES: dict[str, tuple[Damage, type[SecureError]]] = {
    "payload changed": (payload_changed(lambda data: data[:-20] + b"?" + data[-19:]), PayloadMismatch),
    "payload truncated": (payload_changed(lambda data: data[:-20]), PayloadMismatch),
    "payload extended": (payload_changed(lambda data: data + b"?"), PayloadMismatch),
    "payload of a terabyte": (endless, PayloadMismatch),
    "signed truncated container": (signed_payload(lambda data: data[: len(data) // 2]), BadContainer),
    "signed container without its end": (signed_payload(lambda data: data[:-8]), BadContainer),
    "signed rubbish": (signed_payload(lambda _: b"no container at all"), BadContainer),
    "container for another roster": (header_with(roster=OTHER), WrongRoster),
    "container for another plan": (header_with(plan=OTHER), WrongPlan),
    "container of another round": (header_with(round_no=2), WrongRound),
    "container of another attempt": (header_with(attempt=2), WrongAttempt),
    "container of another partner": (of_another_partner, WrongSender),
    "container of another trunk": (header_with(n_params=5), BadContainer),
    "container with other parameters": (with_other_parameters, ParameterMismatch),
    "manifest for another roster": (of_another_roster, WrongRoster),
    "manifest for another plan": (of_another_plan, WrongPlan),
    "manifest signed by another": (signed_by_another, BadSignature),
    "damaged manifest": (cut_manifest, BadManifest),
}


@pytest.mark.parametrize(("damage", "error"), CASES.values(), ids=CASES)
def test_a_wrong_update_is_refused_before_adding(federation: Federation, damage: Damage, error: type[SecureError]):
    """The aggregator stops, names the partner's file, posts no sum; with the right file there it goes on."""
    right = [(path, path.read_bytes()) for path in (federation.posted(UPDATE), federation.payload(UPDATE))]
    damage(federation)
    for _ in range(2):  # started again before anything was repaired, it refuses again
        with pytest.raises(error) as caught:
            step(federation.aggregator())
        assert "update.P01." in str(caught.value)
        assert "start this run" in caught.value.__notes__[-1]
        assert not federation.payload(SUM).exists()
        assert not federation.home(AGGREGATOR).outbox(SUM.payload).exists()
    for path, data in right:
        path.write_bytes(data)
    step(federation.aggregator())
    assert federation.posted(SUM).exists()
    until_waiting(federation, federation.partners)
    assert len(federation.trunks(1)) == 1
