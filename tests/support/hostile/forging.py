"""Messages that a member signs with its own key though no hocket would, and messages that others sign for it."""

import json
from collections.abc import Callable
from typing import Any

from secure.encoding.canonical import canonical_json
from secure.encoding.json_fields import to_base64
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.hostile.kinds import Change

OTHER = "5" * 64  # digest of anything
_DOMAIN = b"hocket/manifest/v2\0"  # FORMAT.md, section 5
Fields = dict[str, Any]


def forge(federation: Federation, name: MessageName, edit: Callable[[Fields], object], signer: str = "") -> None:
    """Edit the fields of a posted manifest, and sign them: canonical JSON of whatever they are then.

    signer : whose key signs, by default the sender's
    """
    path = federation.posted(name)
    fields = json.loads(path.read_bytes())
    edit(fields)
    fields.pop("signature", None)
    keys = load_private_keys(federation.home(signer or name.sender).keys)
    signature = to_base64(keys.sign(_DOMAIN + canonical_json(fields)))
    path.write_bytes(canonical_json(fields | {"signature": signature}))


def with_field(key: str, value: object) -> Callable[[Fields], object]:
    """The edit that sets a field of the manifest."""
    return lambda fields: fields.__setitem__(key, value)


def without_field(key: str) -> Callable[[Fields], object]:
    """The edit that removes a field of the manifest."""
    return lambda fields: fields.pop(key)


def with_body(**values: object) -> Callable[[Fields], object]:
    """The edit that sets fields of the body."""
    return lambda fields: fields["body"].update(values)


def without_body(key: str) -> Callable[[Fields], object]:
    """The edit that removes a field of the body."""
    return lambda fields: fields["body"].pop(key)


def signed(name: MessageName, edit: Callable[[Fields], object], signer: str = "") -> Change:
    """The change of a posted message to what its sender, or another, signs in its place."""
    return lambda federation: forge(federation, name, edit, signer)


# what any sender can sign in the place of any of its messages, beside its body
FIELD_EDITS: dict[str, Callable[[Fields], object]] = {
    "with a field more": with_field("note", "x"),
    "without time": without_field("time"),
    "without payload": without_field("payload"),
    "of format 'hocket'": with_field("format", "hocket"),
    "of version 1": with_field("version", 1),
    "of version 3": with_field("version", 3),
    "of version 2.0": with_field("version", 2.0),
    "of version true": lambda fields: fields.update(version=True),
    "of an unknown kind": with_field("kind", "greeting"),
    "of another kind": lambda fields: fields.update(kind="trouble" if fields["kind"] == "alive" else "alive"),
    "with kind as a list": lambda fields: fields.update(kind=[fields["kind"]]),
    "of another plan": with_field("plan", OTHER),
    "of a plan in capitals": lambda fields: fields.update(plan=fields["plan"].upper()),
    "of the next round": lambda fields: fields.update(round=fields["round"] + 1),
    "of round -1": with_field("round", -1),
    "of round 2^31": with_field("round", 1 << 31),
    "of round 1.0": with_field("round", 1.0),
    "of the next attempt": lambda fields: fields.update(attempt=fields["attempt"] + 1),
    "of attempt true": lambda fields: fields.update(attempt=True),
    "in the name of a stranger": with_field("sender", "P09"),
    "in its name in small letters": lambda fields: fields.update(sender=fields["sender"].swapcase()),
    "in a name with a path": with_field("sender", "../P01"),
    "signed at -1": with_field("time", -1),
    "signed at 2^37": with_field("time", 1 << 37),
    "signed at half a second": with_field("time", 0.5),
    "with a body that is a list": with_field("body", []),
    "with an empty body": with_field("body", {}),
    "with a field more in its body": with_body(note="x"),
    "with a payload of size 2^50": with_field("payload", {"sha256": OTHER, "size": 1 << 50}),
    "with a payload of another digest": with_field("payload", {"sha256": OTHER, "size": 5}),
    "with 65,537 bytes": with_body(note="x" * 65_537),
}

OTHER_SIGNER = {"P01": "P02", "P02": "P03", "P03": "P01", "P04": "P01", AGGREGATOR: "P01"}


def signature_as(value: object) -> Callable[[Fields], object]:
    """The edit of an unsigned manifest that gives it this signature."""
    return with_field("signature", value)


def unsigned(name: MessageName, edit: Callable[[Fields], object]) -> Change:
    """The change of a posted message whose signature stays what it was, or is what the edit says."""

    def change(federation: Federation) -> None:
        path = federation.posted(name)
        fields = json.loads(path.read_bytes())
        edit(fields)
        path.write_bytes(canonical_json(fields))

    return change
