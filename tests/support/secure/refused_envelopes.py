"""Payloads of deals and pairings, and group secrets, that must be refused, as make_refused.py writes them."""

import json
from collections.abc import Iterator

from secure.encoding.canonical import canonical_json
from secure.keys.envelopes import Binding, seal_envelopes
from tests.support.secure.refusals import FOLDER, OTHER, Edit, Row, Valid
from tests.support.secure.worked_example import known_bytes

DEAL, READ_DEAL = "enrol/deal.ash.envelopes", "payload of deal of ash"
BAD = "BadEnvelope"


class Payloads:
    """Changed copies of ash's pairing, whose envelope for birch is read."""

    def __init__(self, valid: Valid) -> None:
        self.example, self.deal = valid.example, valid.files[DEAL]
        self.data = valid.files["enrol/pairing.ash.envelopes"]
        self.good = json.loads(self.data)
        self.sealed = self.good["envelopes"]["birch"]
        self.group = self.example.group.digest().encode()

    def but(self, **change: object) -> bytes:
        """The pairing with other fields."""
        return canonical_json(self.good | change)

    def holds(self, birch: object) -> bytes:
        """The pairing with another envelope for birch."""
        return self.but(envelopes=self.good["envelopes"] | {"birch": birch})

    def put(self, old: bytes, new: bytes) -> bytes:
        """The pairing with other bytes."""
        assert old in self.data
        return self.data.replace(old, new, 1)

    def in_deal(self, old: bytes, new: bytes) -> list[Edit]:
        """Edits of the deal."""
        return [(self.deal.index(old), len(old), new)]

    def made(self, name: str, *, plan: str, secret: bytes, key_of: str) -> bytes:
        """A pairing for birch alone, relabelled for the example's plan; the one made before if there is one."""
        path, digest = FOLDER / f"envelopes-{name}", self.example.plan.digest
        if path.exists() and digest.encode() in path.read_bytes():
            return path.read_bytes()
        binding, cards = Binding("hocket.pairing", plan, "ash", None), {"birch": self.example.cards[key_of]}
        return seal_envelopes(binding, {"birch": secret}, cards).replace(plan.encode(), digest.encode())


def envelopes(valid: Valid) -> Iterator[Row]:
    """Payloads of deal and pairing, as birch reads them."""
    payloads = Payloads(valid)
    yield from _documents(payloads)
    yield from _secrets(payloads)


def _documents(payloads: Payloads) -> Iterator[Row]:
    but, data, good = payloads.but, payloads.data, payloads.good
    twice = payloads.put(b'{"birch"', b'{"birch":"","birch"')
    ungrouped = payloads.in_deal(b'"group":"' + payloads.group + b'"', b'"group":null')
    yield "no-json", "J-1", BAD, "It is cut.", data[:-1]
    yield "newline", "J-2", BAD, "It ends with a new line.", data + b"\n"
    yield "doubled-receiver", "J-2", BAD, "It has two envelopes for birch.", twice
    yield "deep", "J-3", BAD, "It has 9 arrays in an object.", payloads.put(b"null", b"[" * 9 + b"]" * 9)
    yield "long", "E-1", BAD, "It has more than 16 MiB.", b" " * ((16 << 20) + 1)
    yield "unknown-key", "E-2", BAD, "It has a key too many.", but(more=1)
    yield "without-plan", "E-2", BAD, "It has no plan.", canonical_json({k: v for k, v in good.items() if k != "plan"})
    yield "other-format", "E-3", BAD, "Its format is none.", but(format="hocket.pair")
    yield "version-2", "E-3", BAD, "Its version is 2.", but(version=2)
    yield "version-true", "E-3", BAD, "Its version is true.", but(version=True)
    yield "short-plan", "E-4", BAD, "Its plan is no digest.", but(plan="x")
    yield "sender", "E-4", BAD, "Its sender is no name.", but(sender="a sh")
    yield "group", "E-4", BAD, "It is a pairing with a group.", but(group=OTHER)
    yield "deal-without-group", "E-4", BAD, "It is a deal without a group.", ungrouped, READ_DEAL, DEAL
    yield "list", "E-5", BAD, "Its envelopes are a list.", but(envelopes=[payloads.sealed])
    yield "number", "E-5", BAD, "An envelope is a number.", payloads.holds(1)
    yield "receiver", "E-5", BAD, "A receiver's name is none.", but(envelopes={"a b": payloads.sealed})
    yield "is-deal", "E-6", "WrongKind", "It is a deal.", [], "", DEAL
    yield "is-pairing", "E-6", "WrongKind", "It is a pairing.", data, READ_DEAL, ""
    yield "other-plan", "E-7", "WrongPlan", "It is of another plan.", but(plan=OTHER)
    yield "other-sender", "E-8", "WrongSender", "It is of another sender.", but(sender="cedar")


def _secrets(payloads: Payloads) -> Iterator[Row]:
    but, holds, made, sealed = payloads.but, payloads.holds, payloads.made, payloads.sealed
    all_sealed, plan, seed = payloads.good["envelopes"], payloads.example.plan.digest, known_bytes("ash to birch", 32)
    regrouped = payloads.in_deal(payloads.group, OTHER.encode())
    yield "not-for-birch", "E-9", BAD, "It has none for the reader.", but(envelopes={"cedar": sealed})
    yield "no-base64", "E-10", BAD, "Its envelope is no base64.", holds("!" + sealed[1:])
    yield "space", "E-10", BAD, "There is a space in its base64.", holds(sealed + " ")
    yield "short", "E-10", BAD, "Its envelope is cut.", holds(sealed[:-4])
    yield "empty", "E-10", BAD, "Its envelope is empty.", holds("")
    yield "flipped", "E-10", BAD, "A bit of it is flipped.", holds(sealed[:-1] + ("A" if sealed[-1] != "A" else "B"))
    yield "for-cedar", "E-10", BAD, "Its envelope is cedar's.", holds(all_sealed["cedar"])
    relabelled = but(sender="cedar")
    yield "relabelled-sender", "E-10", BAD, "It was made by ash.", relabelled, "payload of pairing of cedar", ""
    yield "relabelled-group", "E-10", BAD, "It was made for another group.", regrouped, READ_DEAL, DEAL
    relabelled = made("relabelled-plan", plan=OTHER, secret=seed, key_of="birch")
    yield "relabelled-plan", "E-10", BAD, "It was made for another plan.", relabelled
    theirs = made("key-of-cedar", plan=plan, secret=seed, key_of="cedar")
    yield "key-of-cedar", "E-10", BAD, "It is for birch, but made with cedar's key.", theirs
    short = made("short-seed", plan=plan, secret=seed[1:], key_of="birch")
    yield "short-seed", "E-11", BAD, "Its seed has 31 bytes.", short
    read = "audited pairing of ash"
    yield (
        "for-ash-too",
        "A-1",
        BAD,
        "It holds one for its sender.",
        but(envelopes=all_sealed | {"ash": sealed}),
        read,
        "",
    )
    yield "only-for-birch", "A-1", BAD, "It holds none for cedar.", but(envelopes={"birch": sealed}), read, ""


def groups(valid: Valid) -> Iterator[Row]:
    """Group secrets, as they are found in a deal."""
    data, bad = valid.files["group secret"], "BadKeyFile"
    key = 22 + 96
    yield "version-2", "G-1", bad, "Its version is 2.", [(20, 1, b"2")]
    yield "empty", "G-1", bad, "It is empty.", b""
    yield "other-ring", "G-2", "ParameterMismatch", "It is of other parameters.", [(22, 1, bytes([data[22] ^ 1]))]
    yield "short-seed", "G-3", bad, "A seed lacks a byte.", [(60, 1, b"")]
    yield "long", "G-3", bad, "It has a byte more.", [(len(data), 0, b"\0")]
    yield "first-line", "G-3", bad, "It is its first line.", [(22, len(data), b"")]
    yield "zero-key", "G-4", bad, "Its BFV key is zero.", [(key, len(data), bytes(len(data) - key))]
    high = [(key, 4), (key + 4 * 8192, 2), (key + 6 * 8192, 1)]
    yield "large-key", "G-4", bad, "A value of its BFV key is not below q.", [(at, n, b"\xff" * n) for at, n in high]
