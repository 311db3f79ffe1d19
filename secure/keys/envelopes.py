"""A file with a secret for each of several partners, each in an HPKE envelope that only that partner can open.

HPKE (RFC 9180), base mode, with the hybrid KEM ML-KEM-768 + X25519, HKDF-SHA256 and AES-256-GCM. Plan, purpose, sender,
receiver and (for a deal) the group digest are bound through the info string. The sender is proved by the
signed manifest, which holds the digest of the file.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from secure.encoding.canonical import canonical_json, is_digest
from secure.encoding.json_fields import from_base64, is_name, parse_document, to_base64
from secure.errors import BadEnvelope, WrongKind, WrongPlan, WrongSender
from secure.keys.keys import Card, PrivateKeys

MAX_BYTES = 16 << 20
_KEYS = {"format", "version", "plan", "sender", "group", "envelopes"}
HPKE_BYTES = 1088 + 32 + 16  # ML-KEM ciphertext, ephemeral X25519 key, tag
_REST, _PER_RECEIVER = 1024, 64  # bytes for what surrounds the envelopes, and one of them
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Binding:
    """The purpose, plan, sender and group that an envelope is bound to; opening it with any other value fails."""

    purpose: str  # "hocket.deal" or "hocket.pairing"
    plan: str  # plan digest
    sender: str
    group: str | None  # digest of the dealt group secret

    def info(self, receiver: str) -> bytes:
        """Return the HPKE info string for one receiver."""
        fields = {"plan": self.plan, "sender": self.sender, "group": self.group, "receiver": receiver}
        return canonical_json([self.purpose, 1, fields])


def most_envelope_bytes(n_receivers: int, secret_bytes: int) -> int:
    """The most bytes that a payload for so many receivers of a secret of this size can have."""
    return _REST + n_receivers * (_PER_RECEIVER + 4 * -(-(secret_bytes + HPKE_BYTES) // 3))


def seal_envelopes(binding: Binding, secrets: Mapping[str, bytes], cards: Mapping[str, Card]) -> bytes:
    """Return the bytes of the payload: each secret in an envelope for the card of the same name."""
    if not is_digest(binding.plan):
        raise WrongPlan("the plan digest is not 64 hexadecimal characters")
    envelopes = {
        name: to_base64(SUITE.encrypt(secret, cards[name].agreement_key(), binding.info(name)))
        for name, secret in secrets.items()
    }
    return canonical_json(
        {
            "format": binding.purpose,
            "version": 1,
            "plan": binding.plan,
            "sender": binding.sender,
            "group": binding.group,
            "envelopes": envelopes,
        }
    )


def parse_envelopes(payload: bytes, where: str) -> tuple[Binding, dict[str, str]]:
    """Return the binding that a payload claims, and its envelopes as base64; raises BadEnvelope. Proves nothing."""
    if len(payload) > MAX_BYTES:
        raise BadEnvelope(f"{where}: {len(payload)} bytes, expected at most {MAX_BYTES}")
    document = parse_document(payload, _KEYS, where, BadEnvelope)
    purpose, plan, sender, group, envelopes = (document[k] for k in ("format", "plan", "sender", "group", "envelopes"))
    if purpose not in ("hocket.deal", "hocket.pairing") or type(document["version"]) is not int:
        raise BadEnvelope(f"{where}: not a deal or pairing")
    if document["version"] != 1:
        raise BadEnvelope(f"{where}: version {document['version']}, expected 1")
    if not is_digest(plan) or not is_name(sender) or not (is_digest(group) or group is None):
        raise BadEnvelope(f"{where}: plan, sender or group is not as expected")
    if (group is None) != (purpose == "hocket.pairing"):
        raise BadEnvelope(f"{where}: a {purpose} with{'out' if group is None else ''} a group, expected the opposite")
    if not isinstance(envelopes, dict) or not all(is_name(k) and isinstance(v, str) for k, v in envelopes.items()):
        raise BadEnvelope(f"{where}: envelopes is not an object of names and base64 text")
    return Binding(str(purpose), str(plan), str(sender), None if group is None else str(group)), dict(envelopes)


def check_envelopes(payload: bytes, expected: Binding, receivers: Collection[str], where: str) -> None:
    """Check without a key that a payload has the expected binding and one envelope for each receiver and no other.

    Raises BadEnvelope, WrongKind, WrongPlan, WrongSender. Only a receiver can check the secrets inside.
    """
    claimed, envelopes = parse_envelopes(payload, where)
    _check_binding(claimed, expected, where)
    if claimed.group != expected.group:
        raise BadEnvelope(f"{where}: for group {str(claimed.group)[:12]}, expected {str(expected.group)[:12]}")
    if set(envelopes) != set(receivers):
        raise BadEnvelope(f"{where}: envelopes for {sorted(envelopes)}, expected {sorted(receivers)}")
    for name, sealed in envelopes.items():
        from_base64(sealed, None, f"{where}: envelope for {name}", BadEnvelope)


def open_envelope(payload: bytes, expected: Binding, me: PrivateKeys) -> bytes:
    """Return the secret for `me`. The group digest is taken from the payload, and bound, so the caller must check it.

    Raises WrongKind, WrongPlan, WrongSender, or BadEnvelope if there is no envelope for `me` or it was made for
    another key or purpose.
    """
    where = f"{expected.purpose} of {expected.sender}"
    claimed, envelopes = parse_envelopes(payload, where)
    _check_binding(claimed, expected, where)
    if me.name not in envelopes:
        raise BadEnvelope(f"{where}: no envelope for {me.name}, found {', '.join(sorted(envelopes))}")
    sealed = from_base64(envelopes[me.name], None, f"{where}: envelope for {me.name}", BadEnvelope)
    try:
        return SUITE.decrypt(sealed, me.agreement_key(), claimed.info(me.name))
    except (InvalidTag, ValueError) as error:
        refused = BadEnvelope(f"{where}: the envelope for {me.name} was made for another key or purpose, or is damaged")
        refused.add_note("check that the card in the plan belongs to these private keys")
        raise refused from error


def _check_binding(claimed: Binding, expected: Binding, where: str) -> None:
    if claimed.purpose != expected.purpose:
        raise WrongKind(f"{where}: found a {claimed.purpose}")
    if claimed.plan != expected.plan:
        raise WrongPlan(f"{where}: made for plan {claimed.plan[:12]}, expected {expected.plan[:12]}")
    if claimed.sender != expected.sender:
        raise WrongSender(f"{where}: made by {claimed.sender}, expected {expected.sender}")
