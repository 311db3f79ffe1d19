"""Provenances that must be refused, as make_refused.py writes them."""

import json
from collections.abc import Iterator

from secure.encoding.canonical import canonical_json
from tests.support.secure.refusals import OTHER, Row, Valid, signed_fields, stray_bits

_DOMAIN = b"hocket/provenance/v1\0"


def provenances(valid: Valid) -> Iterator[Row]:
    """Yield changed provenances, rightly signed again unless the signature is the fault."""
    good, keys = json.loads(valid.files["provenance"]), valid.example.keys
    held = good["rounds"][0]

    def signed(signer: str = "ash", **change: object) -> bytes:
        return signed_fields(keys[signer], good | change, _DOMAIN)

    def rounds(*changes: dict[str, object]) -> bytes:
        return signed(rounds=[held | change for change in changes])

    bad = "BadProvenance"
    yield "no-json", "V-1", bad, "It is no JSON.", b"provenance"
    yield "space", "V-1", bad, "It has white space.", valid.files["provenance"].replace(b":", b": ", 1)
    yield "format", "V-1", bad, "It has another format.", signed(format="hocket.manifest")
    yield "version", "V-1", bad, "It has another version.", signed(version=2)
    yield "unknown-key", "V-1", bad, "It has a key too many.", signed(time=0)
    yield "unknown-data", "V-1", bad, "It has a table too many.", signed(data=good["data"] | {"T3": OTHER})
    yield "without-code", "V-1", bad, "It does not say which libraries.", signed(code={"hocket": "1", "sources": OTHER})
    yield "no-name", "V-2", bad, "Its partner is no name.", signed(partner="a sh")
    yield "short-plan", "V-2", bad, "Its plan is no digest.", signed(plan=good["plan"][:-1])
    yield "number-as-digest", "V-2", bad, "A file's digest is a number.", signed(files={"local.safetensors": 1})
    yield "no-fingerprint", "V-2", bad, "A member has no fingerprint.", signed(members={"ash": ""})
    yield "file-outside", "V-2", bad, "A file is a device elsewhere.", signed(files={"/dev/zero": OTHER})
    yield "file-above", "V-2", bad, "A file is in the folder above.", signed(files={"../keys": OTHER})
    yield "file-hidden", "V-2", bad, "A file's name begins with a dot.", signed(files={".keys": OTHER})
    escape = good["code"] | {"hocket": "1\x1b[2J"}
    yield "version-escape", "V-2", bad, "A version clears the terminal.", signed(code=escape)
    long = good["code"] | {"libraries": {"numpy": "2" * 65}}
    yield "version-long", "V-2", bad, "A library's version has 65 characters.", signed(code=long)
    yield "rounds-twice", "V-3", bad, "A round is there twice.", rounds({}, {})
    yield "rounds-falling", "V-3", bad, "Its rounds fall.", rounds({"round": 2}, {"round": 1})
    yield "round-negative", "V-3", bad, "A round is below 0.", rounds({"round": -1})
    yield "round-true", "V-3", bad, "A round is a truth value.", rounds({"round": True})
    yield "members-unsorted", "V-3", bad, "A round's members are not sorted.", rounds({"members": ["birch", "ash"]})
    yield "round-without-sum", "V-3", bad, "A round has no sum.", rounds({"sum": None})
    unsigned = {key: value for key, value in good.items() if key != "signature"}
    odd = {"short": "AAAA", "stray-bits": stray_bits(good["signature"])}
    for name, text in odd.items():
        data = canonical_json(unsigned | {"signature": text})
        yield f"signature-{name}", "V-4", bad, "Its signature is no 64 bytes in base64.", data
    yield "of-another", "V-5", "WrongSender", "It is birch's.", signed("birch", partner="birch")
    yield "signed-by-another", "V-6", "BadSignature", "It is signed by birch.", signed("birch")
    changed = valid.files["provenance"].replace(good["trunk"].encode(), OTHER.encode())
    yield "changed", "V-6", "BadSignature", "Its trunk was changed after signing.", changed
    manifest = signed_fields(keys["ash"], good)
    yield "domain", "V-6", "BadSignature", "It is signed as a manifest.", manifest
