"""Cards and plans that must be refused, as make_refused.py writes them."""

import base64
import json
from collections.abc import Iterator

from secure.encoding.canonical import canonical_json
from secure.keys.keys import PrivateKeys, card_fields
from tests.support.secure.refusals import Row, Valid, stray_bits

_ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
SMALL_ORDER = {
    "zero": bytes(32),
    "zero-signed": bytes(31) + b"\x80",
    "one": b"\1" + bytes(31),
    "one-signed": b"\1" + bytes(30) + b"\x80",
    "order-8": bytes.fromhex(_ORDER_8),
    "order-8-signed": bytes.fromhex(_ORDER_8[:-2] + "85"),
    "order-8-other": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "minus-one": b"\xec" + b"\xff" * 30 + b"\x7f",
    "prime": b"\xed" + b"\xff" * 30 + b"\x7f",
    "prime-and-one": b"\xee" + b"\xff" * 30 + b"\x7f",
}


def cards(valid: Valid) -> Iterator[Row]:
    """Yield changed cards, validly signed again unless the signature is the fault."""
    example = valid.example
    keys, good, birch = example.keys["ash"], card_fields(example.cards["ash"]), card_fields(example.cards["birch"])

    def text(**change: object) -> bytes:
        fields = {key: value for key, value in (good | change).items() if value is not None}
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()).encode()

    def signed_card(**change: str | None) -> bytes:
        unsigned = {key: value for key, value in (good | change).items() if key != "signature" and value is not None}
        signature = keys.sign(b"hocket/card/v1\0" + canonical_json(unsigned))
        return text(**change, signature=base64.b64encode(signature).decode())

    agreement = base64.b64decode(good["agreement"])
    keys_of = {"small": agreement[:1184] + bytes(32), "beyond": b"\xff" * 1184 + agreement[1184:], "short": bytes(1215)}
    wrong = {name: base64.b64encode(data).decode() for name, data in keys_of.items()}
    bad = "BadCard"
    yield "no-toml", "C-1", bad, "It is no TOML.", b"name: ash\n"
    yield "long", "C-1", bad, "It has more bytes than a card can have.", text() + b"#" * (1 << 14)
    yield "dots", "C-1", bad, "It has a key that takes a parser long.", text() + b"a." * 25 + b"a = 1\n"
    yield "doubled-key", "C-1", bad, "It has a name twice.", text() + b'name = "ash"\n'
    yield "unknown-key", "C-1", bad, "It has a key too many.", signed_card(email="ash@example.org")
    yield "number", "C-1", bad, "Its signature is a number.", text(signature=1)
    for key in good:
        yield f"without-{key}", "C-1", bad, f"It has no {key}.", text(**{key: None})
    yield "agreement-of-aggregator", "C-1", bad, "An aggregator could open envelopes.", signed_card(role="aggregator")
    yield "partner-without-agreement", "C-1", bad, "A partner could open no envelope.", signed_card(agreement=None)
    yield "space-in-name", "C-2", bad, "Its name has a space.", signed_card(name="a sh")
    yield "long-name", "C-2", bad, "Its name has 33 characters.", signed_card(name="a" * 33)
    yield "empty-name", "C-2", bad, "Its name is empty.", signed_card(name="")
    yield "unknown-role", "C-3", bad, "Its role is none.", signed_card(role="owner", agreement=None)
    yield "short-signing-key", "C-4", bad, "Its signing key has 3 bytes.", text(signing="AAAA")
    yield "short-agreement-key", "C-4", bad, "Its agreement key lacks a byte.", signed_card(agreement=wrong["short"])
    yield "short-signature", "C-4", bad, "Its signature has 3 bytes.", text(signature="AAAA")
    yield "stray-bits", "C-4", bad, "Unused bits of its base64 are set.", text(signature=stray_bits(good["signature"]))
    yield "space-in-base64", "C-4", bad, "There is a space in its base64.", text(signature=f" {good['signature']}")
    yield "renamed", "C-5", bad, "Its name was changed after signing.", text(name="asp")
    yield "role-changed", "C-5", bad, "Its role was changed after signing.", text(role="aggregator", agreement=None)
    yield "agreement-of-another", "C-5", bad, "It has birch's agreement key.", text(agreement=birch["agreement"])
    yield "signing-of-another", "C-5", bad, "It has birch's signing key.", text(signing=birch["signing"])
    yield "signature-of-another", "C-5", bad, "It has birch's signature.", text(signature=birch["signature"])
    yield "small-order", "C-6", bad, "Its X25519 key has a small order.", signed_card(agreement=wrong["small"])
    for name, point in SMALL_ORDER.items():
        forged = base64.b64encode(point).decode()
        everything = base64.b64encode(b"\1" + bytes(63)).decode()  # a signature of every message under such a key
        why = "Its Ed25519 key has a small order."
        yield f"ed25519-{name}", "C-7", bad, why, text(signing=forged, signature=everything)
    yield "mlkem", "C-6", bad, "Its ML-KEM key has numbers beyond the prime.", signed_card(agreement=wrong["beyond"])


def plans(valid: Valid) -> Iterator[Row]:
    """Plans with one line changed."""
    plan = valid.files["plan.toml"]
    cards = plan.split(b"[[card]]\n")[1:]
    odd = "ConfigError"

    def put(old: bytes, new: bytes) -> bytes:
        assert old in plan
        return plan.replace(old, new, 1)

    yield "no-toml", "P-1", odd, "It is no TOML.", b"{}" + plan
    yield "format-2", "P-1", odd, "It has another format.", put(b"format = 1", b"format = 2")
    yield "unknown-key", "P-1", odd, "It has a key too many.", put(b"n_rounds = 2", b"n_rounds = 2\nn_round = 3")
    yield "missing-key", "P-1", odd, "It does not say how many rounds.", put(b"n_rounds = 2\n", b"")
    yield "text-for-number", "P-1", odd, "It has a text for a number.", put(b"n_rounds = 2", b'n_rounds = "2"')
    yield "infinity", "P-1", odd, "A deadline is endless.", put(b"deadline_s = 60", b"deadline_s = inf")
    yield "date", "P-1", odd, "It has a date for a text.", put(b'"worked example"', b"2026-01-01")
    yield "bits-10", "P-1", odd, "It has a setting out of range.", put(b"first_bound", b"bits = 10\nfirst_bound")
    yield "doubled-card", "P-2", odd, "It has a card twice.", plan + b"[[card]]\n" + cards[0]
    yield "two-partners", "P-2", odd, "It has two partners.", put(b"[[card]]\n" + cards[0], b"")
    yield "no-aggregator", "P-2", odd, "It has no aggregator.", put(b"[[card]]\n" + cards[-1], b"")
    yield "strange-custodian", "P-2", odd, "Its custodian is not in it.", put(b'n = "ash"', b'n = "date"')
    yield "custodian-hub", "P-2", odd, "Its custodian is the aggregator.", put(b'n = "ash"', b'n = "hub"')
    yield "dots", "P-1", odd, "It has a key that takes a parser long.", plan + b"a." * 25 + b"a = 1\n"
    capitals = PrivateKeys("ASH", "partner", valid.example.keys["birch"]._secret()).card().to_text().encode()
    birch = next(card for card in cards if b'"birch"' in card)
    yield "name-in-capitals", "P-2", odd, "Two names differ only in case.", put(birch, capitals + b"\n")
    yield "min-partners-2", "P-3", odd, "It allows rosters of two.", put(b"min_partners = 3", b"min_partners = 2")
    yield "min-partners-4", "P-3", odd, "It demands more than all.", put(b"min_partners = 3", b"min_partners = 4")
    yield (
        "forged-card",
        "P-4",
        "BadCard",
        "A card in it has another's name.",
        put(b'\nname = "birch"', b'\nname = "elm"'),
    )
    task = b'{ id = "C1", threshold = 6.0 }'
    twice, alone = (b"[catalogue]\ntasks = [" + tasks + b"]\n" for tasks in (task + b", " + task, task))
    trunk = b"[trunk]\n"
    yield "catalogue-twice", "P-5", odd, "Its catalogue has a task twice.", put(trunk, twice + trunk)
    few = alone + b"min_partners = 1\n"
    yield "catalogue-min-1", "P-5", odd, "A row of its catalogue may travel alone.", put(trunk, few + trunk)
    counted, all_shared = b"[columns]\nmin_partners = ", b"[columns]\nmin_partners = 0"
    yield "columns-min-1", "P-6", odd, "Weights of a bit that one has may travel.", put(all_shared, counted + b"1")
    yield "columns-min-4", "P-6", odd, "It demands more holders than partners.", put(all_shared, counted + b"4")
    privacy = b"[privacy]\nepsilon = 8.0\ndelta = 1e-6\n"
    by_size = put(b"[[card]]", privacy + b"[[card]]")
    yield "privacy-by-size", "P-7", odd, "Numbers of labels would be told.", by_size
    noise = put(b'"size"\nmax_weight = 4\n', b'"equal"\n' + privacy + b"noise_multiplier = 3\nmost_noise = 2\n")
    yield "privacy-noise", "P-7", odd, "Its noise is above the most.", noise
    bounded = put(b'"size"\nmax_weight = 4\n', b'"equal"\n' + privacy)
    flagged = bounded.replace(all_shared, counted + b"3", 1)
    yield "privacy-columns", "P-8", odd, "Flags of bits would tell of single compounds.", flagged
    listed = bounded.replace(trunk, alone + trunk, 1)
    yield "privacy-catalogue", "P-8", odd, "Who holds a task would tell of single compounds.", listed
