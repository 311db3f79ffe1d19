"""Provenance: the signed list of what a partner's finished model was made of, in a file next to the model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from secure.encoding.canonical import canonical_json, is_digest
from secure.encoding.json_fields import expect_keys, from_base64, is_name, parse_document, to_base64
from secure.errors import BadProvenance, WrongSender
from secure.keys.keys import SIGNATURE_BYTES, Card, PrivateKeys

FORMAT, VERSION = "hocket.provenance", 1
PROVENANCE_FILE = "provenance.json"
MAX_BYTES = 16 << 20
_DOMAIN = b"hocket/provenance/v1\0"
_MOST = 1 << 31  # rounds and attempts are below
_MOST_NAMES = 10_000  # files, libraries or members
_KEYS = {"format", "version", "partner", "plan", "trunk", "members", "rounds", "data", "code", "model", "files"}
_ROUND_KEYS = {"plan", "round", "attempt", "roster", "sum", "members"}
_DATA_KEYS = {"T0", "T1", "T2", "prepared", "trained"}
_CODE_KEYS = {"hocket", "sources", "libraries"}
_FINGERPRINT = 32  # hexadecimal characters
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")  # in the model's folder, and nowhere else
_VERSION = re.compile(r"[ -~]{0,64}")  # shown on terminals


@dataclass(frozen=True, slots=True)
class SummedRound:
    """One round whose sum went into the trunk."""

    plan: str  # digest of the plan under which it was held
    round_no: int
    attempt: int
    roster: str  # digest of the roster's manifest
    sum: str  # digest of the sum's manifest
    members: tuple[str, ...]  # sorted

    def to_json(self) -> dict[str, object]:
        """The fields as they are signed."""
        return {
            "plan": self.plan,
            "round": self.round_no,
            "attempt": self.attempt,
            "roster": self.roster,
            "sum": self.sum,
            "members": list(self.members),
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a partner's finished model was made of; raises BadProvenance for anything else than FORMAT.md allows."""

    partner: str
    plan: str  # digest of the plan under which the last round was held
    trunk: str  # digest of the last trunk, as signed in the closing round
    members: Mapping[str, str]  # name of each member of that plan to its card's fingerprint, without spaces
    rounds: tuple[SummedRound, ...]  # rising
    data: Mapping[str, str]  # digests of the tables T0, T1, T2, of the prepared matrices, and of what was trained on
    version: str  # of hocket
    sources: str  # digest of hocket's installed files
    libraries: Mapping[str, str]  # version by distribution
    model: str  # digest of the model's description, without assays that were added later
    files: Mapping[str, str]  # digest by name, of the model's files that hold numbers

    def __post_init__(self) -> None:
        where = f"provenance of {self.partner}"
        if not is_name(self.partner):
            raise BadProvenance("provenance: partner is not a name")
        digests = (self.plan, self.trunk, self.sources, self.model, *self.data.values(), *self.files.values())
        if not all(map(is_digest, digests)):
            raise BadProvenance(f"{where}: found something else where a digest is expected")
        if set(self.data) != _DATA_KEYS:
            raise BadProvenance(f"{where}: data of {sorted(self.data)}, expected {sorted(_DATA_KEYS)}")
        if not all(map(is_name, self.members)) or not all(map(_is_fingerprint, self.members.values())):
            raise BadProvenance(f"{where}: members, expected names with fingerprints")
        if not all(map(_FILE_NAME.fullmatch, self.files)):
            raise BadProvenance(f"{where}: files, expected names of at most 64 letters, digits and ._-, no dot first")
        if not all(map(_VERSION.fullmatch, (self.version, *self.libraries, *self.libraries.values()))):
            raise BadProvenance(f"{where}: code, expected names and versions of at most 64 printable ASCII characters")
        self._check_rounds(where)

    def _check_rounds(self, where: str) -> None:
        for each in self.rounds:
            if not all(map(is_digest, (each.plan, each.roster, each.sum))):
                raise BadProvenance(f"{where}: a round has something else where a digest is expected")
            if list(each.members) != sorted(set(each.members)) or not all(map(is_name, each.members)):
                raise BadProvenance(f"{where}: members of round {each.round_no}, expected sorted names, each once")
        numbers = [each.round_no for each in self.rounds]
        if numbers != sorted(set(numbers)):
            raise BadProvenance(f"{where}: rounds, expected each once, in order")

    def unsigned(self) -> dict[str, object]:
        """Return the fields under the signature."""
        code = {"hocket": self.version, "sources": self.sources, "libraries": dict(self.libraries)}
        return {
            "format": FORMAT,
            "version": VERSION,
            "partner": self.partner,
            "plan": self.plan,
            "trunk": self.trunk,
            "members": dict(self.members),
            "rounds": [each.to_json() for each in self.rounds],
            "data": dict(self.data),
            "code": code,
            "model": self.model,
            "files": dict(self.files),
        }


def sign_provenance(keys: PrivateKeys, provenance: Provenance) -> bytes:
    """Return the bytes of provenance.json; raises WrongSender for the keys of another member."""
    if keys.name != provenance.partner or keys.role != "partner":
        raise WrongSender(f"provenance of {provenance.partner}: keys of {keys.name}, who is a {keys.role}")
    unsigned = provenance.unsigned()
    signature = keys.sign(_DOMAIN + canonical_json(unsigned))
    return canonical_json(unsigned | {"signature": to_base64(signature)})


def verify_provenance(data: bytes, card: Card, where: str) -> Provenance:
    """Return the provenance in `data` if `card` signed it; raises BadProvenance, WrongSender or BadSignature."""
    provenance, signature = _parsed(data, where)
    if (provenance.partner, card.role) != (card.name, "partner"):
        raise WrongSender(f"{where}: from {provenance.partner}, expected the partner {card.name}")
    card.verify(signature, _DOMAIN + canonical_json(provenance.unsigned()), where)
    return provenance


def parse_provenance(data: bytes, where: str) -> Provenance:
    """Read a provenance WITHOUT verifying its signature, to show it; raises BadProvenance."""
    return _parsed(data, where)[0]


def _parsed(data: bytes, where: str) -> tuple[Provenance, bytes]:
    if len(data) > MAX_BYTES:
        raise BadProvenance(f"{where}: {len(data)} bytes, expected at most {MAX_BYTES}")
    fields = parse_document(data, _KEYS | {"signature"}, where, BadProvenance)
    if fields["format"] != FORMAT or type(fields["version"]) is not int or fields["version"] != VERSION:
        raise BadProvenance(f"{where}: not a provenance, version {VERSION}")
    code = expect_keys(fields["code"], _CODE_KEYS, f"{where}: code", BadProvenance)
    try:
        provenance = Provenance(
            partner=_text(fields["partner"]),
            plan=_text(fields["plan"]),
            trunk=_text(fields["trunk"]),
            members=_texts(fields["members"], f"{where}: members"),
            rounds=tuple(_round(each, f"{where}: rounds") for each in _list(fields["rounds"], f"{where}: rounds")),
            data=_texts(fields["data"], f"{where}: data"),
            version=_text(code["hocket"]),
            sources=_text(code["sources"]),
            libraries=_texts(code["libraries"], f"{where}: libraries"),
            model=_text(fields["model"]),
            files=_texts(fields["files"], f"{where}: files"),
        )
    except BadProvenance as error:
        raise BadProvenance(str(error) if where in str(error) else f"{where}: {error}") from None
    return provenance, from_base64(fields["signature"], SIGNATURE_BYTES, f"{where}: signature", BadProvenance)


def _round(value: object, where: str) -> SummedRound:
    fields = expect_keys(value, _ROUND_KEYS, where, BadProvenance)
    members = _list(fields["members"], where)
    return SummedRound(
        plan=_text(fields["plan"]),
        round_no=_count(fields["round"], where),
        attempt=_count(fields["attempt"], where),
        roster=_text(fields["roster"]),
        sum=_text(fields["sum"]),
        members=tuple(map(_text, members)),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""  # refused by Provenance


def _texts(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MOST_NAMES:
        raise BadProvenance(f"{where}: expected an object of at most {_MOST_NAMES} texts")
    if not all(isinstance(text, str) for text in value.values()):
        raise BadProvenance(f"{where}: found something else than texts")
    return dict(value)


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise BadProvenance(f"{where}: found {type(value).__name__}, expected a list")
    return value


def _count(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise BadProvenance(f"{where}: expected a whole number from 0, below {_MOST}")
    return value


def _is_fingerprint(value: object) -> bool:
    return isinstance(value, str) and len(value) == _FINGERPRINT and set(value) <= set("0123456789abcdef")
