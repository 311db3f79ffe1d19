"""Manifests and payloads that must be refused, as make_refused.py writes them."""

import json
from collections.abc import Iterator

from secure.encoding.canonical import canonical_json
from secure.keys.keys import PrivateKeys
from tests.support.secure.refusals import OTHER, Row, Valid, signed_fields, stray_bits
from tests.support.secure.worked_example import Example, known_bytes

UPDATE = "round-0001/attempt-01/update.ash.arrow"
BAD = "BadManifest"
SIGNS = (("alive", "hub"), ("trouble", "cedar"))


class Papers:
    """The example's manifests, changed and validly signed again."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.data = example.path("update", "ash").read_bytes()
        self.good = json.loads(self.data)

    def of(self, kind: str, who: str, /, **change: object) -> bytes:
        """A message of the example with other fields."""
        path = self.example.path(kind, who, round_no=2 if kind == "void" else 1)
        return signed_fields(self.example.keys[who], json.loads(path.read_bytes()) | change)

    def ash(self, **change: object) -> bytes:
        """The update of ash with other fields."""
        return self.of("update", "ash", **change)

    def put(self, old: bytes, new: bytes) -> bytes:
        """The update of ash with other bytes, so its signature is invalid."""
        assert old in self.data
        return self.data.replace(old, new, 1)


def manifests(valid: Valid) -> Iterator[Row]:
    """Yield all changes to one manifest."""
    papers = Papers(valid.example)
    yield from _spellings(papers)
    yield from _fields(papers)
    yield from _numbers(papers)
    yield from _bodies(papers)
    yield from _payload_fields(papers)
    yield from _signatures(papers)
    yield from _others(papers)


def _spellings(papers: Papers) -> Iterator[Row]:
    put, data, backwards = papers.put, papers.data, dict(reversed(papers.good.items()))
    yield "no-json", "J-1", BAD, "It is cut.", data[:-1]
    yield "no-utf-8", "J-1", BAD, "It is not UTF-8.", put(b'"ash"', b'"\xffsh"')
    yield "nan", "J-1", BAD, "A number is NaN.", put(b'"round":1', b'"round":NaN')
    yield "infinite", "J-1", BAD, "A number reads as infinity.", put(b'"round":1', b'"round":1e400')
    yield "surrogate", "J-1", BAD, "It has half a character.", put(b'"ash"', b'"\\ud800"')
    yield "space", "J-2", BAD, "It has a space.", put(b":", b": ")
    yield "newline", "J-2", BAD, "It ends with a new line.", data + b"\n"
    yield "order", "J-2", BAD, "Its keys are not sorted.", json.dumps(backwards, separators=(",", ":")).encode()
    yield "escape", "J-2", BAD, "It has an escape without need.", put(b'"ash"', b'"\\u0061sh"')
    yield "doubled-key", "J-2", BAD, "It has a key twice.", put(b'"round":1', b'"round":1,"round":1')
    yield "exponent", "J-2", BAD, "It writes 1 as 1e0.", put(b'"round":1', b'"round":1e0')
    total = papers.of("sum", "hub")
    first = total[total.index(b'"ash"') :].split(b",")[0]
    twice = total.replace(first, first + b"," + first)
    yield "update-listed-twice", "J-2", BAD, "A sum lists ash's update twice.", twice, "sum of hub", ""
    yield "deep", "J-3", BAD, "It has 9 arrays in an object.", put(b'"round":1', b'"round":' + b"[" * 9 + b"]" * 9)


def _fields(papers: Papers) -> Iterator[Row]:
    ash, good = papers.ash, papers.good
    yield "long", "M-1", BAD, "It has more than 64 kB.", ash(sender="a" * 65_536)
    yield "unknown-key", "M-2", BAD, "It has a key too many.", ash(colour="green")
    for key in good:
        less = {name: value for name, value in good.items() if name != key}
        data = canonical_json(less) if key == "signature" else signed_fields(papers.example.keys["ash"], less)
        yield f"without-{key}", "M-2", BAD, f"It has no {key}.", data
    yield "array", "M-2", BAD, "It is an array.", b"[]"
    yield "other-format", "M-3", BAD, "Its format is another.", ash(format="hocket.manifesto")
    yield "version-1", "M-3", BAD, "Its version is 1, that before the release.", ash(version=1)
    yield "version-3", "M-3", BAD, "Its version is 3.", ash(version=3)
    yield "version-true", "M-3", BAD, "Its version is true.", ash(version=True)
    yield "version-text", "M-3", BAD, "Its version is a text.", ash(version="1")
    yield "unknown-kind", "M-4", BAD, "Its kind is none.", ash(kind="hello")
    yield "kind-list", "M-4", BAD, "Its kind is a list.", ash(kind=["update"])
    yield "short-plan", "M-5", BAD, "Its plan digest lacks a character.", ash(plan=good["plan"][:-1])
    yield "capital-plan", "M-5", BAD, "Its plan digest has capitals.", ash(plan=OTHER.upper())
    yield "sender-space", "M-5", BAD, "Its sender has a space.", ash(sender="a sh")
    yield "sender-number", "M-5", BAD, "Its sender is a number.", ash(sender=1)


def _numbers(papers: Papers) -> Iterator[Row]:
    for key, rule, most in (("round", "M-6", 1 << 31), ("attempt", "M-6", 1 << 31), ("time", "M-7", 1 << 37)):
        values = {"negative": -1, "true": True, "with-point": 1.0, "text": "1", "null": None, "large": most}
        for name, value in values.items():
            yield f"{key}-{name}", rule, BAD, f"Its {key} is {json.dumps(value)}.", papers.ash(**{key: value})
    for kind in ("deal", "pairing"):
        for key in ("round", "attempt"):
            data = papers.of(kind, "ash", **{key: 1})
            yield f"{kind}-with-{key}", "M-6", BAD, f"It is of {key} 1.", data, f"{kind} of ash", ""
    for kind, who in SIGNS:
        for key in ("round", "attempt"):
            data = papers.of(kind, who, **{key: 1})
            yield f"{kind}-with-{key}", "M-6", BAD, f"It is of {key} 1.", data, f"{kind} of {who}", ""


def _bodies(papers: Papers) -> Iterator[Row]:
    bodies = {
        "null": None,
        "empty": {},
        "no-digest": {"roster": 1},
        "more": {"roster": OTHER, "release_commitment": OTHER, "more": 1},
    }
    for name, body in bodies.items():
        yield f"body-{name}", "M-8", BAD, f"Its body is {_short(body)}.", papers.ash(body=body)
    for kind in ("deal", "pairing"):
        data = papers.of(kind, "ash", body={"group": "x"})
        yield f"{kind}-body", "M-8", BAD, "Its group is no digest.", data, f"{kind} of ash", ""
    yield from _ready_bodies(papers)
    yield from _release_bodies(papers)
    for name, members in {"nobody": {}, "list": ["ash"], "name": {"a b": OTHER}, "digest": {"ash": "x"}}.items():
        data = papers.of("roster", "hub", body={"members": members, "trunk": OTHER})
        yield f"roster-{name}", "M-8", BAD, f"Its members are {_short(members)}.", data, "roster of hub", ""
        data = papers.of("sum", "hub", body={"roster": OTHER, "updates": members})
        yield f"sum-{name}", "M-8", BAD, f"Its updates are {_short(members)}.", data, "sum of hub", ""
    for name, missing in {"nobody": [], "order": ["birch", "ash"], "twice": ["ash", "ash"], "text": "ash"}.items():
        data = papers.of("void", "hub", body={"roster": OTHER, "missing": missing})
        yield f"void-{name}", "M-8", BAD, f"Those missing are {_short(missing)}.", data, "void of hub", ""
    yield from _sign_bodies(papers)


def _ready_bodies(papers: Papers) -> Iterator[Row]:
    ready = json.loads(papers.of("ready", "ash"))["body"]
    bodies = {"body": {"trunk": OTHER}, "no-confirmations": ready | {"confirmations": {}}}
    for name, text in {"short": "AAAA", "long": "A" * 24, "number": 1, "stray-bits": "A" * 21 + "B=="}.items():
        bodies[f"confirmation-{name}"] = ready | {"confirmations": {"birch": text}}
    bodies["confirmation-name"] = ready | {"confirmations": {"a b": "A" * 22 + "=="}}
    for name, body in bodies.items():
        data = papers.of("ready", "ash", body=body)
        yield f"ready-{name}", "M-8", BAD, "Its body is not that of a ready.", data, "ready of ash", ""


def _release_bodies(papers: Papers) -> Iterator[Row]:
    release = json.loads(papers.of("release", "ash"))["body"]
    for name, seed in {"short": "AAAA", "number": 1, "null": None, "stray-bits": "A" * 42 + "B="}.items():
        data = papers.of("release", "ash", body=release | {"seed": seed})
        yield f"release-seed-{name}", "M-8", BAD, f"Its seed is {_short(seed)}.", data, "release of ash", ""
    data = papers.of("release", "ash", body={"seed": release["seed"]})
    yield "release-no-roster", "M-8", BAD, "It does not say for which roster.", data, "release of ash", ""


def _sign_bodies(papers: Papers) -> Iterator[Row]:
    where = {"round": 1, "attempt": 1, "step": "training"}
    steps = {"empty": "", "long": "a" * 17, "digit": "round1", "number": 1}
    bodies: dict[str, dict[str, object]] = {f"step-{name}": where | {"step": step} for name, step in steps.items()}
    bodies |= {"negative": where | {"round": -1}, "large": where | {"attempt": 1 << 31}, "more": where | {"why": "x"}}
    for name, body in bodies.items():
        data = papers.of("alive", "hub", body=body)
        yield f"alive-{name}", "M-8", BAD, f"Its body is {_short(body)}.", data, "alive of hub", ""
    codes = {
        "no-code": {},
        "code-0": {"exit_code": 0},
        "code-256": {"exit_code": 256},
        "code-true": {"exit_code": True},
    }
    for name, code in codes.items():
        data = papers.of("trouble", "cedar", body=where | code)
        yield f"trouble-{name}", "M-8", BAD, f"It says {_short(code)}.", data, "trouble of cedar", ""


def _payload_fields(papers: Papers) -> Iterator[Row]:
    ash, known = papers.ash, papers.good["payload"]
    yield "no-payload", "M-9", BAD, "It has no payload.", ash(payload=None)
    data = papers.of("ready", "ash", payload=known)
    yield "payload-of-ready", "M-9", BAD, "It has a payload, as no ready has.", data, "ready of ash", ""
    yield "payload-empty", "M-9", BAD, "Its payload is not described.", ash(payload={})
    yield "payload-more", "M-9", BAD, "Its payload has a key too many.", ash(payload=known | {"name": "x"})
    yield "payload-digest", "M-9", BAD, "Its payload's digest is none.", ash(payload=known | {"sha256": "x"})
    for name, value in {"negative": -1, "true": True, "with-point": 1.0, "large": 1 << 50}.items():
        why = f"Its payload has {json.dumps(value)} bytes."
        yield f"payload-{name}", "M-9", BAD, why, ash(payload=known | {"size": value})


def _signatures(papers: Papers) -> Iterator[Row]:
    good, keys = papers.good, papers.example.keys
    texts = {"short": "AAAA", "number": 1, "none": "!" * 88, "stray-bits": stray_bits(good["signature"])}
    for name, text in texts.items():
        data = canonical_json(good | {"signature": text})
        yield f"signature-{name}", "M-10", BAD, "Its signature is no base64 of 64 bytes.", data
    no = "BadSignature"
    yield "signed-by-birch", "M-13", no, "It is signed by birch.", signed_fields(keys["birch"], good)
    another = PrivateKeys("ash", "partner", known_bytes("another ash", 128))
    yield "signed-by-other-keys", "M-13", no, "It is signed by keys that no card has.", signed_fields(another, good)
    yield "signed-as-card", "M-13", no, "It is signed as a card.", signed_fields(keys["ash"], good, b"hocket/card/v1\0")
    yield "signed-bare", "M-13", no, "It is signed without its purpose.", signed_fields(keys["ash"], good, b"")
    changes = {
        "plan": OTHER,
        "round": 2,
        "attempt": 2,
        "time": good["time"] + 1,
        "body": good["body"] | {"roster": OTHER},
    }
    changes |= {"payload": good["payload"] | {"sha256": OTHER}}
    changes |= {"signature": json.loads(papers.of("update", "birch"))["signature"]}
    for key, value in changes.items():
        data = canonical_json(good | {key: value})
        yield f"changed-{key}", "M-13", no, f"Its {key} was changed after signing.", data


def _others(papers: Papers) -> Iterator[Row]:
    ash, keys, good = papers.ash, papers.example.keys, papers.good
    no = "WrongSender"
    yield "of-birch", "M-11", no, "It is birch's.", papers.of("update", "birch")
    roster = json.loads(papers.of("roster", "hub"))
    called = signed_fields(keys["ash"], roster | {"sender": "ash"})
    yield "roster-of-a-partner", "M-12", no, "A partner calls no roster.", called
    sent = signed_fields(keys["hub"], good | {"sender": "hub"})
    yield "update-of-the-aggregator", "M-12", no, "The aggregator sends no update.", sent, "roster of hub", ""
    yield "of-another-kind", "M-14", "WrongKind", "It is a ready.", papers.of("ready", "ash")
    yield "of-another-plan", "M-15", "WrongPlan", "It is of another plan.", ash(plan=OTHER)
    yield "of-another-round", "M-16", "WrongRound", "It is of round 2.", ash(round=2)
    yield "of-another-attempt", "M-17", "WrongAttempt", "It is of attempt 2.", ash(attempt=2)


def payloads(valid: Valid) -> Iterator[Row]:
    """Files beside a valid manifest."""
    update, no = valid.files[UPDATE], "PayloadMismatch"
    size = len(update)
    yield "flipped", "M-18", no, "A bit is flipped.", [(30_000, 1, bytes([update[30_000] ^ 1]))]
    yield "cut", "M-18", no, "Its last byte is missing.", [(size - 1, 1, b"")]
    yield "extended", "M-18", no, "It has a byte more.", [(size, 0, b"\0")]
    yield "empty", "M-18", no, "It is empty.", [(0, size, b"")]
    yield "of-birch", "M-18", no, "It is birch's.", [], "", UPDATE.replace("ash", "birch")


def rosters(valid: Valid) -> Iterator[Row]:
    """Rosters, and sums' lists."""
    papers = Papers(valid.example)
    roster, total = (json.loads(papers.of(kind, "hub"))["body"] for kind in ("roster", "sum"))

    def called(*members: str) -> bytes:
        return papers.of("roster", "hub", body=roster | {"members": dict.fromkeys(members, OTHER)})

    def added(*members: str) -> bytes:
        return papers.of("sum", "hub", body=total | {"updates": dict.fromkeys(members, OTHER)})

    yield "of-two", "R-1", "RosterTooSmall", "Each would learn the other's update.", called("ash", "birch")
    yield "of-one", "R-1", "RosterTooSmall", "The sum would be birch's update.", called("birch")
    yield "stranger", "R-2", "BadRoster", "It lists who is not in the plan.", called("ash", "birch", "date")
    yield "aggregator", "R-2", "BadRoster", "It lists the aggregator.", called("ash", "birch", "cedar", "hub")
    good = papers.of("roster", "hub")
    yield "without-date", "R-3", "BadRoster", "It does not list the reader.", good, "called roster, by date", ""
    no, read = "SumIncomplete", "sum's list"
    yield "sum-of-two", "T-1", no, "The sum lacks cedar's update.", added("ash", "birch"), read, ""
    yield "sum-of-four", "T-1", no, "There is a stranger too.", added("ash", "birch", "cedar", "date"), read, ""
    yield "sum-of-a-stranger", "T-1", no, "There is a stranger for cedar.", added("ash", "birch", "date"), read, ""


def releases(valid: Valid) -> Iterator[Row]:
    """Rightly signed releases and readies that do not fit other messages."""
    papers = Papers(valid.example)
    body = json.loads(papers.of("release", "ash"))["body"]
    other = papers.of("release", "ash", body=body | {"roster": OTHER})
    yield "other-roster", "L-1", "WrongRoster", "It is for another roster.", other
    theirs = json.loads(papers.of("release", "birch"))["body"]["seed"]
    for name, seed in {"zero": "A" * 43 + "=", "of-birch": theirs}.items():
        data = papers.of("release", "ash", body=body | {"seed": seed})
        yield name, "L-2", "WrongRelease", "It is not the seed to which the update commits.", data
    ready, read = json.loads(papers.of("ready", "ash"))["body"], "ready of ash, by birch"
    confirmed = ready["confirmations"]
    swapped = confirmed | {"birch": confirmed["cedar"]}
    for name, found in {"of-cedar": swapped, "nobody": {"cedar": confirmed["cedar"]}}.items():
        data = papers.of("ready", "ash", body=ready | {"confirmations": found})
        yield f"confirmation-{name}", "R-4", "WrongKey", "It does not confirm the key of ash and birch.", data, read, ""


def _short(value: object) -> str:
    return json.dumps(value)[:24]
