"""Damaged files in small: a valid file with edits; and how each kind of file is read."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.plan.plan import read_plan
from secure.encoding.canonical import canonical_json
from secure.encoding.json_fields import to_base64
from secure.encoding.roster import Roster, check_roster, check_summed
from secure.keys.envelopes import Binding, check_envelopes
from secure.keys.group import GroupSecret, receive_group_secret
from secure.keys.keys import PrivateKeys, parse_card
from secure.keys.pairing import open_pair_seed
from secure.messages.confirmations import check_confirmation
from secure.messages.messages import check_payload, manifest_digest, payload_digest, verify_manifest
from secure.messages.provenance import verify_provenance
from secure.sealing.add import add_updates
from secure.sealing.container import UPDATE
from secure.sealing.release import released_seed
from secure.verify import check_adding, check_sealed
from tests.support.secure.worked_example import HUB, N_PARAMS, PARTNERS, Example

FOLDER = Path(__file__).parents[2] / "secure" / "refused"
INDEX = FOLDER / "index.json"
WHOLE_BYTES = 2048  # larger files are stored as edits of a file of the example
_ANCHOR = 256  # bytes

OTHER = "0123456789abcdef" * 4  # a digest of nothing

Edit = tuple[int, int, bytes]  # position in the valid file, bytes taken out there, bytes put in
# What is wrong: name, rule, error, one sentence, the damaged file or edits of the valid one; and how it is read and
# what was edited, where these are others than for the rest of its kind (empty: the same).
Row = tuple[str, str, str, str, bytes | list[Edit]] | tuple[str, str, str, str, bytes | list[Edit], str, str]


@dataclass(frozen=True, slots=True)
class Valid:
    """The worked example and its files by name, with the sum and the group secret that is in the deal."""

    example: Example
    files: dict[str, bytes]

    @classmethod
    def of(cls, example: Example, folder: Path) -> Self:
        """Read the example. folder : an empty one, for the sum."""
        paths = [path for path in example.folder.rglob("*") if path.is_file()]
        files = {path.relative_to(example.folder).as_posix(): path.read_bytes() for path in paths}
        files["provenance"] = example.provenance()
        files |= {"sum": example.add(folder / "sum").read_bytes(), "group secret": example.group.to_bytes(), "": b""}
        return cls(example, files)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that must be refused."""

    file: str  # name in the folder; with .edits if it is stored as edits
    read: str  # how it is read, a key of READERS
    rule: str  # of FORMAT.md
    error: str  # name of the error's type
    why: str  # what is wrong, one sentence

    def data(self, valid: Valid) -> bytes:
        """Bytes of the damaged file."""
        if not self.file.endswith(".edits"):
            return (FOLDER / self.file).read_bytes()
        stored = json.loads((FOLDER / self.file).read_text())
        return edited(
            valid.files[stored["base"]], [(position, cut, _bytes(put)) for position, cut, put in stored["edits"]]
        )


def read_index() -> list[Refusal]:
    """Return all files that must be refused."""
    return [Refusal(**fields) for fields in json.loads(INDEX.read_text())]


def edited(base: bytes, edits: list[Edit]) -> bytes:
    """Apply edits, last position first, so that positions are those of the valid file."""
    for position, cut, put in sorted(edits, reverse=True):
        base = base[:position] + put + base[position + cut :]
    return base


def find_edits(base: bytes, damaged: bytes) -> list[Edit]:
    """Few edits that make the damaged file: around the middle of the valid one, if it is there too."""
    middle = len(base) // 2
    position = damaged.find(base[middle : middle + _ANCHOR])
    if len(base) <= _ANCHOR or position < 0:
        return [_splice(base, damaged)]
    start, cut, put = _splice(base[middle:], damaged[position:])
    return [_splice(base[:middle], damaged[:position]), (middle + start, cut, put)]


def _splice(base: bytes, damaged: bytes) -> Edit:
    """Return the one edit between what is common at both ends."""
    shorter = min(len(base), len(damaged))
    start = next((i for i in range(shorter) if base[i] != damaged[i]), shorter)
    end = next((i for i in range(shorter - start) if base[-1 - i] != damaged[-1 - i]), shorter - start)
    return start, len(base) - start - end, damaged[start : len(damaged) - end]


def edits_text(base: str, edits: list[Edit]) -> str:
    """Return the file of edits: hexadecimal, with XX*N for N times the byte XX."""
    lines = ",\n".join(f"  [{position}, {cut}, {json.dumps(_text(put))}]" for position, cut, put in edits)
    return f'{{"base": {json.dumps(base)}, "edits": [\n{lines}\n]}}\n'


def _text(data: bytes) -> str:
    runs = re.sub(rb"(?s)(.)\1{31,}", lambda run: b"\0\0RUN%02x*%d;" % (run[0][0], len(run[0])), data)
    parts = re.split(rb"\0\0RUN([0-9a-f]{2}\*\d+);", runs)
    return " ".join(part.decode() if i % 2 else part.hex() for i, part in enumerate(parts) if part)


def _bytes(text: str) -> bytes:
    parts = (part.partition("*") for part in text.split())
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in parts)


def signed_fields(keys: PrivateKeys, fields: dict[str, object], domain: bytes = b"hocket/manifest/v2\0") -> bytes:
    """Manifest of any fields, signed."""
    unsigned = {key: value for key, value in fields.items() if key != "signature"}
    signature = keys.sign(domain + canonical_json(unsigned))
    return canonical_json(unsigned | {"signature": to_base64(signature)})


def stray_bits(text: str) -> str:
    """Base64 of 64 bytes with an unused bit set: decoders that are not strict read the same."""
    return text[:-3] + chr(ord(text[-3]) + 1) + "=="


# -- how files are read; each takes the example and the damaged file's path -------------------------------------------


def _manifest(kind: str, sender: str) -> Callable[[Example, Path], None]:
    def read(example: Example, path: Path) -> None:
        round_no = 2 if kind == "void" else 1
        verify_manifest(path.read_bytes(), example.cards[sender], example.expected(kind, round_no), path.name)

    return read


def _roster(example: Example, path: Path, me: str = "birch") -> None:
    data = path.read_bytes()
    manifest = verify_manifest(data, example.cards[HUB], example.expected("roster"), path.name)
    roster = Roster(
        manifest.plan, manifest.round, manifest.attempt, tuple(sorted(manifest.body["members"])), manifest_digest(data)
    )
    check_roster(roster, me, [*PARTNERS, me], example.plan.rounds.min_partners)


def _summed(example: Example, path: Path) -> None:
    manifest = verify_manifest(path.read_bytes(), example.cards[HUB], example.expected("sum"), path.name)
    check_summed(manifest.body["updates"], example.roster, path.name)


def _released(example: Example, path: Path) -> None:
    release = verify_manifest(path.read_bytes(), example.cards["ash"], example.expected("release"), path.name)
    released_seed(release, example.manifest("update", "ash"), example.roster, path.name)


def _confirmed(example: Example, path: Path) -> None:
    ready = verify_manifest(path.read_bytes(), example.cards["ash"], example.expected("ready"), path.name)
    check_confirmation(ready, "birch", example.pair_keys["birch"]["ash"], path.name)


def _payload(example: Example, path: Path) -> None:
    check_payload(path, example.manifest("update", "ash").payload, "payload of ash")


def _deal(example: Example, path: Path) -> None:
    receive_group_secret(path.read_bytes(), example.plan.digest, "ash", example.keys["birch"], example.parameters)


def _pairing(sender: str) -> Callable[[Example, Path], None]:
    def read(example: Example, path: Path) -> None:
        open_pair_seed(path.read_bytes(), example.plan.digest, sender, example.keys["birch"])

    return read


def _update(n_birch: int) -> Callable[[Example, Path], None]:
    """Add with the updates of cedar and, so many times, birch; and open the sum."""

    def read(example: Example, path: Path) -> None:
        others = [example.update("birch")] * n_birch + [example.update("cedar")] * (n_birch > 0)
        total = path.with_name(f"sum-with-{path.name}")
        add_updates([path, *others], example.parameters, total, roster=example.roster)
        example.open(total)

    return read


def _audited_pairing(example: Example, path: Path) -> None:
    binding = Binding("hocket.pairing", example.plan.digest, "ash", None)
    check_envelopes(path.read_bytes(), binding, {"birch", "cedar"}, path.name)


def _audited_update(example: Example, path: Path) -> None:
    expected = {"roster": example.roster, "parameters": example.parameters, "n_params": N_PARAMS}
    check_sealed(path, UPDATE, ("ash",), **expected)


def _audited_sum(example: Example, path: Path) -> None:
    updates, again = [example.update(name) for name in PARTNERS], path.with_name("again")
    check_adding(
        updates, again, roster=example.roster, parameters=example.parameters, digest=payload_digest(path).sha256
    )


READERS: dict[str, Callable[[Example, Path], object]] = {
    "card": lambda _, path: parse_card(path.read_text(), path.name),
    "plan": lambda _, path: read_plan(path),
    **{
        f"{kind} of {who}": _manifest(kind, who)
        for kind in ("deal", "pairing", "ready", "update", "release")
        for who in ("ash",)
    },
    **{f"{kind} of hub": _manifest(kind, HUB) for kind in ("roster", "sum", "void", "alive")},
    "trouble of cedar": _manifest("trouble", "cedar"),
    "called roster": _roster,
    "called roster, by date": lambda example, path: _roster(example, path, "date"),
    "sum's list": _summed,
    "released seed of ash": _released,
    "ready of ash, by birch": _confirmed,
    "payload of update of ash": _payload,
    "payload of deal of ash": _deal,
    "payload of pairing of ash": _pairing("ash"),
    "payload of pairing of cedar": _pairing("cedar"),
    "provenance": lambda example, path: verify_provenance(path.read_bytes(), example.cards["ash"], path.name),
    "group secret": lambda example, path: GroupSecret.from_bytes(path.read_bytes(), example.parameters, path.name),
    "sealed update": _update(1),
    "sealed update, alone": _update(0),
    "sealed update, with 16 others": _update(15),
    "audited pairing of ash": _audited_pairing,
    "audited update of ash": _audited_update,
    "audited sum": _audited_sum,
    "sealed sum": lambda example, path: example.open(path),
}
