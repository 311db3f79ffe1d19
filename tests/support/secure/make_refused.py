"""Writes tests/secure/refused: for every rule of FORMAT.md, files that break it, made from the worked example.

`python -m tests.support.secure.make_refused` writes the same bytes again, but for three envelopes that chance is a
part of: those are kept. Only what is said to be wrong is wrong: a manifest that breaks a rule is rightly signed.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.support.secure.refusals import FOLDER, INDEX, WHOLE_BYTES, Refusal, Row, Valid, edits_text, find_edits
from tests.support.secure.refused_envelopes import envelopes, groups
from tests.support.secure.refused_manifests import manifests, payloads, releases, rosters
from tests.support.secure.refused_papers import cards, plans
from tests.support.secure.refused_provenance import provenances
from tests.support.secure.refused_sealed import sealed_sums, sealed_updates
from tests.support.secure.worked_example import Example

UPDATE = "round-0001/attempt-01/update.ash.arrow"
KINDS: list[tuple[str, str, str, Callable[[Valid], Iterator[Row]]]] = [  # first word of the name, reader, base, rows
    ("card", "card", "", cards),
    ("plan", "plan", "plan.toml", plans),
    ("manifest", "update of ash", "", manifests),
    ("payload", "payload of update of ash", UPDATE, payloads),
    ("roster", "called roster", "", rosters),
    ("release", "released seed of ash", "", releases),
    ("envelopes", "payload of pairing of ash", "enrol/pairing.ash.envelopes", envelopes),
    ("group", "group secret", "group secret", groups),
    ("update", "sealed update", UPDATE, sealed_updates),
    ("sum", "sealed sum", "sum", sealed_sums),
    ("provenance", "provenance", "provenance", provenances),
]


def make_all(valid: Valid) -> Iterator[tuple[Refusal, bytes]]:
    """Yield all damaged files with the bytes that are stored of each."""
    for kind, read, base, rows in KINDS:
        for name, rule, error, why, damage, *others in rows(valid):
            read_as, edited = (other or usual for other, usual in zip(others or ("", ""), (read, base), strict=True))
            if isinstance(damage, bytes) and len(damage) <= WHOLE_BYTES:
                yield Refusal(f"{kind}-{name}", read_as, rule, error, why), damage
                continue
            edits = damage if isinstance(damage, list) else find_edits(valid.files[edited], damage)
            yield Refusal(f"{kind}-{name}.edits", read_as, rule, error, why), edits_text(edited, edits).encode()


def write_all(valid: Valid) -> None:
    """Write the folder and its index; remove files that are no longer made."""
    FOLDER.mkdir(exist_ok=True)
    made = list(make_all(valid))
    for path in set(FOLDER.iterdir()) - {FOLDER / refusal.file for refusal, _ in made}:
        path.unlink()
    for refusal, stored in made:
        (FOLDER / refusal.file).write_bytes(stored)
    lines = ",\n".join(json.dumps(asdict(refusal)) for refusal, _ in made)
    INDEX.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write_all(Valid.of(Example(), Path(temporary)))
