"""Manifests: the signed messages between members; each commits to at most one payload file by its digest."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from secure.encoding.canonical import canonical_json, digest, is_digest
from secure.encoding.json_fields import expect_keys, from_base64, is_name, parse_document, to_base64
from secure.encoding.roster import Roster
from secure.errors import (
    BadManifest,
    PayloadMismatch,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRound,
    WrongSender,
)
from secure.keys.keys import SIGNATURE_BYTES, Card, PrivateKeys
from secure.messages.message_schemas import BODIES, OUTSIDE_ROUNDS, WITH_PAYLOAD, check_body, sender_roles

FORMAT = "hocket.manifest"
MAX_BYTES = 64 << 10
_MAX_ROUND = 1 << 31
_MAX_PAYLOAD = 1 << 50
VERSION = 2  # 1 had no release
_DOMAIN = b"hocket/manifest/v2\0"
_MAX_TIME = 1 << 37  # the year 6325: every accepted time can be shown as a date
_KEYS = {"format", "version", "kind", "plan", "round", "attempt", "sender", "time", "body", "payload", "signature"}
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class PayloadDigest:
    """Digest and size of the file that a manifest commits to."""

    sha256: str  # 64 hexadecimal characters
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a message file, checked for types and ranges; its signature is checked by verify_manifest."""

    kind: str  # deal, pairing, handover, ready, roster, update, sum, release, void, alive or trouble
    plan: str  # plan digest
    round: int  # 0 for deal, pairing, handover, alive and trouble
    attempt: int
    sender: str
    time: int  # of signing, seconds since 1970 by the sender's clock: a claim that the protocol does not rely on
    body: dict[str, object]
    payload: PayloadDigest | None
    signature: bytes

    def __post_init__(self) -> None:
        where = f"{self.kind} of {self.sender}"
        if self.kind not in BODIES:
            raise BadManifest(f"{where}: kind, expected one of {', '.join(BODIES)}")
        check_body(self.kind, self.body, where)
        if not is_digest(self.plan) or not is_name(self.sender):
            raise BadManifest(f"{where}: plan is not a digest, or sender not a name")
        if not _is_count(self.round, _MAX_ROUND) or not _is_count(self.attempt, _MAX_ROUND):
            raise BadManifest(f"{where}: round and attempt, expected whole numbers from 0")
        if not _is_count(self.time, _MAX_TIME):
            raise BadManifest(f"{where}: time, expected whole seconds since 1970")
        if self.kind in OUTSIDE_ROUNDS and (self.round, self.attempt) != (0, 0):
            raise BadManifest(f"{where}: round {self.round}, attempt {self.attempt}, expected 0, 0 for its kind")
        if (self.payload is not None) != (self.kind in WITH_PAYLOAD):
            raise BadManifest(f"{where}: has {'a' if self.payload else 'no'} payload, expected the opposite")

    def count(self, key: str) -> int:
        """A whole number of the body, which was checked to be one."""
        return cast(int, self.body[key])

    def text(self, key: str) -> str:
        """A text field of the body, which was checked to be one."""
        return cast(str, self.body[key])

    def names(self, key: str) -> list[str]:
        """A field of the body that lists members, which was checked to do so."""
        return cast(list[str], self.body[key])

    def named_digests(self, key: str) -> dict[str, str]:
        """A field of the body that maps members' names to digests, which was checked to do so."""
        return cast(dict[str, str], self.body[key])

    def as_roster(self, digest: str) -> Roster:
        """The roster that this manifest calls; all masks and tags are bound to the digest of its file."""
        members = tuple(sorted(self.named_digests("members")))
        return Roster(self.plan, self.round, self.attempt, members, digest)

    def unsigned(self) -> dict[str, object]:
        """Return the fields under the signature."""
        payload = self.payload and {"sha256": self.payload.sha256, "size": self.payload.size}
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "plan": self.plan,
            "round": self.round,
            "attempt": self.attempt,
            "sender": self.sender,
            "time": self.time,
            "body": self.body,
            "payload": payload,
        }


@dataclass(frozen=True, slots=True)
class Expected:
    """The kind, plan, round and attempt that a reader expects of a message."""

    kind: str
    plan: str
    round_no: int
    attempt: int


def sign_manifest(
    keys: PrivateKeys,
    *,
    kind: str,
    plan: str,
    round_no: int,
    attempt: int,
    time: int,
    body: dict[str, object],
    payload: PayloadDigest | None = None,
) -> bytes:
    """Return the bytes of a signed manifest; raises BadManifest or WrongSender if no reader would accept it.

    time : whole seconds since 1970 by the sender's clock; it is signed, but proves nothing
    """
    unsigned = Manifest(kind, plan, round_no, attempt, keys.name, time, body, payload, b"").unsigned()
    if keys.role not in (roles := sender_roles(kind)):
        raise WrongSender(f"{keys.name} is an {keys.role}: a {kind} is sent by a {' or '.join(roles)}")
    signature = keys.sign(_DOMAIN + canonical_json(unsigned))
    data = canonical_json(unsigned | {"signature": to_base64(signature)})
    if len(data) > MAX_BYTES:
        raise BadManifest(f"{kind} of {keys.name}: {len(data)} bytes, expected at most {MAX_BYTES}")
    return data


def verify_manifest(data: bytes, card: Card, expected: Expected, where: str) -> Manifest:
    """Return the manifest in `data` if it is signed by `card` and equals `expected`.

    Raises BadManifest, WrongSender, BadSignature, WrongKind, WrongPlan, WrongRound, WrongAttempt, in this order.
    """
    manifest = parse_manifest(data, where)
    if manifest.sender != card.name:
        raise WrongSender(f"{where}: from {manifest.sender}, expected {card.name}")
    if card.role not in sender_roles(manifest.kind):
        raise WrongSender(f"{where}: a {manifest.kind} from {card.name}, who is an {card.role}")
    card.verify(manifest.signature, _DOMAIN + canonical_json(manifest.unsigned()), where)
    if manifest.kind != expected.kind:
        raise WrongKind(f"{where}: a {manifest.kind}, expected a {expected.kind}")
    if manifest.plan != expected.plan:
        raise WrongPlan(f"{where}: made for plan {manifest.plan[:12]}, expected {expected.plan[:12]}")
    if manifest.round != expected.round_no:
        raise WrongRound(f"{where}: round {manifest.round}, expected {expected.round_no}")
    if manifest.attempt != expected.attempt:
        raise WrongAttempt(f"{where}: attempt {manifest.attempt}, expected {expected.attempt}")
    return manifest


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest WITHOUT verifying its signature, to show it; raises BadManifest."""
    if len(data) > MAX_BYTES:
        raise BadManifest(f"{where}: {len(data)} bytes, expected at most {MAX_BYTES}")
    fields = parse_document(data, _KEYS, where, BadManifest)
    if fields["format"] != FORMAT or type(fields["version"]) is not int or fields["version"] != VERSION:
        raise _not_a_manifest(fields, where)
    if not isinstance(fields["kind"], str) or fields["kind"] not in BODIES:
        raise BadManifest(f"{where}: kind, expected one of {', '.join(BODIES)}")
    try:
        return Manifest(
            kind=fields["kind"],
            plan=_text(fields["plan"]),
            round=_count(fields["round"], f"{where}: round"),
            attempt=_count(fields["attempt"], f"{where}: attempt"),
            sender=_text(fields["sender"]),
            time=_count(fields["time"], f"{where}: time", _MAX_TIME),
            body=check_body(fields["kind"], fields["body"], where),
            payload=_payload(fields["payload"], where),
            signature=from_base64(fields["signature"], SIGNATURE_BYTES, f"{where}: signature", BadManifest),
        )
    except BadManifest as error:
        raise BadManifest(str(error) if where in str(error) else f"{where}: {error}") from None


def manifest_digest(data: bytes) -> str:
    """Return the SHA-256 of a manifest file, by which a roster lists ready messages and an update names its roster."""
    return digest(data)


def utc(time: int) -> str:
    """Return the time of a manifest as a date, ISO 8601."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def payload_digest(path: Path) -> PayloadDigest:
    """Return digest and size of a file, read once."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_READ):
            sha256.update(part)
            size += len(part)
    return PayloadDigest(sha256.hexdigest(), size)


def check_payload(path: Path, expected: PayloadDigest, where: str) -> None:
    """Raise PayloadMismatch unless the file is the one a manifest commits to."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PayloadMismatch(f"{where}: {path.name} cannot be read ({error.strerror})") from error
    if size != expected.size:
        raise PayloadMismatch(f"{where}: {path.name} has {size} bytes, expected {expected.size}")
    actual = payload_digest(path)
    if actual != expected:
        raise PayloadMismatch(f"{where}: {path.name} has digest {actual.sha256[:12]}, expected {expected.sha256[:12]}")


def _not_a_manifest(fields: Mapping[str, object], where: str) -> BadManifest:
    """The error for another format or version; of the version before the release with what to do."""
    if (fields["format"], fields["version"]) != (FORMAT, 1):
        return BadManifest(f"{where}: not a manifest, version {VERSION}")
    error = BadManifest(f"{where}: a manifest of version 1, expected version {VERSION}: an earlier hocket wrote it")
    error.add_note("rounds of that version have no release, and nothing here can go on from them:")
    error.add_note("finish with that version, or start a new federation: new federation.id, homes and exchange")
    return error


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""  # refused by Manifest


def _count(value: object, where: str, below: int = _MAX_ROUND) -> int:
    if not _is_count(value, below) or not isinstance(value, int):
        raise BadManifest(f"{where}: expected a whole number from 0, below {below}")
    return value


def _is_count(value: object, below: int) -> bool:
    return type(value) is int and 0 <= value < below


def _payload(value: object, where: str) -> PayloadDigest | None:
    if value is None:
        return None
    fields = expect_keys(value, {"sha256", "size"}, f"{where}: payload", BadManifest)
    sha256, size = fields["sha256"], fields["size"]
    if not is_digest(sha256) or not isinstance(size, int) or not _is_count(size, _MAX_PAYLOAD):
        raise BadManifest(f"{where}: payload is not a digest and a size")
    return PayloadDigest(str(sha256), size)
