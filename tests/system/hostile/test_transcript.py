"""An auditor meets each kind of message in each wrong form: `hocket verify` refuses the transcript and names the file.

Whoever can write to the exchange can do the first two tables, each sender the third, with its own key.
"""

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR
from tests.support.hostile import changes as c
from tests.support.hostile.forging import (
    FIELD_EDITS,
    OTHER_SIGNER,
    signature_as,
    signed,
    unsigned,
    with_field,
    without_field,
)
from tests.support.hostile.kinds import Bench, Kind, by_name
from tests.support.hostile.names import (
    ALIVE,
    DEAL,
    LAST_READY,
    PAIRING,
    READY,
    RELEASE,
    ROSTER,
    SUM,
    TROUBLE,
    UPDATE,
    VOID,
)

pytestmark = pytest.mark.slow

VERIFY = "verify --quick plan.toml exchange"
REFUSED, HARMLESS = ExitCode.SECURITY, ExitCode.DONE
MESSAGES = {
    "deal": DEAL,
    "pairing": PAIRING,
    "ready": READY,
    "roster": ROSTER,
    "update": UPDATE,
    "sum": SUM,
    "release": RELEASE,
    "void": VOID,
    "last ready": LAST_READY,
    "sign of life": ALIVE,
    "sign of trouble": TROUBLE,
}
WITH_PAYLOAD = {"deal": DEAL, "pairing": PAIRING, "update": UPDATE, "sum": SUM}
# what may be missing: signs and last trunks prove nothing, and updates may be deleted to make room
SOME = ("cut in half", "flipped in the middle", "flipped at its end", "1 GiB long", "a named pipe", "a link elsewhere")
MAY_BE_MISSING = {"last ready", "sign of life", "sign of trouble"}


def stage_of(name: MessageName) -> str:
    """The stage that has the message."""
    return "voided" if name == VOID else "finished"


def manifests() -> list[Kind]:
    """Each manifest, each change of its file, made by an outsider."""
    kinds = []
    for about, name in MESSAGES.items():
        for how in c.FILE_CHANGES if name in (READY, SUM) else SOME:
            # in an empty folder there is no file: then the message is missing
            named, change = name.folder if how == "a folder" else name.manifest, c.FILE_CHANGES[how]
            kinds.append(Kind(f"{about}: {how}", c.manifest(name, change), REFUSED, named, stage=stage_of(name)))
        code = HARMLESS if about in MAY_BE_MISSING else REFUSED
        kinds.append(Kind(f"{about}: missing", c.manifest(name, c.missing), code, stage=stage_of(name)))
    return kinds


def texts() -> list[Kind]:
    """JSON that no reader may take, in the place of a partner's and of the aggregator's message and of a sign."""
    return [
        Kind(f"{about}: {how}", c.manifest(name, change), REFUSED, name.manifest)
        for about, name in (("ready", READY),)
        for how, change in c.TEXT_CHANGES.items()
    ]


def payloads() -> list[Kind]:
    """Each payload, each change of its file, and another's payload in its place."""
    others = {
        "deal": PAIRING,
        "pairing": MessageName("pairing", 0, 0, "P03"),
        "sum": MessageName("sum", 2, 1, AGGREGATOR),
    }
    others["update"] = MessageName("update", 1, 1, "P03")
    kinds = [
        Kind(f"payload of {about}: {how}", c.payload(name, change), REFUSED, name.payload)
        for about, name in WITH_PAYLOAD.items()
        for how, change in ({how: c.FILE_CHANGES[how] for how in SOME} | {"a byte longer": c.grown}).items()
    ]
    for about, name in WITH_PAYLOAD.items():
        code = HARMLESS if about == "update" else REFUSED
        kinds.append(Kind(f"payload of {about}: missing", c.payload(name, c.missing), code, name.payload * (code > 0)))
        swap = c.copied(f"exchange/{others[about].payload}", f"exchange/{name.payload}")
        kinds.append(Kind(f"payload of {about}: that of another message", swap, REFUSED, name.payload))
    return kinds


def fields() -> list[Kind]:
    """What the sender signs though no reader may take it; each kind of message, each field of every manifest."""
    kinds = [
        Kind(f"{about}: {how}", signed(name, edit), REFUSED, name.manifest)
        for about, name in (("release", RELEASE),)
        for how, edit in FIELD_EDITS.items()
    ]
    kinds += [
        Kind(
            f"{about}: signed by another",
            signed(name, lambda _: None, OTHER_SIGNER[name.sender]),
            REFUSED,
            name.manifest,
            stage=stage_of(name),
        )
        for about, name in MESSAGES.items()
    ]
    return kinds


def signatures() -> list[Kind]:
    """A right manifest under a signature that is none."""
    edits = {
        "no signature": without_field("signature"),
        "signature null": signature_as(None),
        "an empty signature": signature_as(""),
        "a signature of zeros": signature_as("A" * 86 + "=="),
        "a signature in hexadecimal": signature_as("ab" * 64),
        "a signature with white space": lambda fields: fields.update(signature=fields["signature"] + "\n"),
        "a signature of 10,000 characters": signature_as("A" * 10_000),
        "a later time under the signature": lambda fields: fields.update(time=fields["time"] + 1),
        "no payload under the signature": with_field("payload", None),
    }
    return [Kind(f"update: {how}", unsigned(UPDATE, edit), REFUSED, UPDATE.manifest) for how, edit in edits.items()]


TABLE = by_name(manifests(), texts(), payloads(), fields(), signatures())


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_wrong_message_is_refused(bench: Bench, kind: Kind):
    """`verify` ends with exit code 4 and names the file; what may be missing leaves it at 0."""
    bench.check(kind, "finished", VERIFY)
