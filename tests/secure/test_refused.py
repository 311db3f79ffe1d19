"""Files that must be refused: each rule of FORMAT.md has its files, and each file its one error."""

import re
from pathlib import Path

import pytest

from pipeline import errors as pipeline_errors
from secure import errors
from secure.encoding.json_fields import to_base64
from tests.support.secure.make_refused import make_all
from tests.support.secure.refusals import FOLDER, INDEX, READERS, Refusal, Valid, read_index
from tests.support.secure.worked_example import PARTNERS, Example, known_bytes

REFUSALS = read_index()
FORMAT = Path(errors.__file__).with_name("FORMAT.md").read_text()
RULES = dict(re.findall(r"^\| ([A-Z]-\d+) \| .* \| (.*) \|$", FORMAT, re.MULTILINE))
REFUSE_ALL = {"sealed update, alone", "sealed update, with 16 others", "called roster, by date"}
# what an error names where the file has no name of its own
WHERE = {
    "payload of deal of ash": "of ash",
    "payload of pairing of ash": "of ash",
    "payload of pairing of cedar": "of cedar",
    "payload of update of ash": "payload of ash",
    "called roster": "roster of round 1, attempt 1",
    "called roster, by date": "roster of round 1, attempt 1",
    "card": "card",
    "P-4": "card of elm",
    "audited sum": "the sum has digest",
    "U-1": "1 updates",
    "U-2": "17 updates",
    "U-4": "updates of ",
}


@pytest.fixture(scope="session")
def valid(tmp_path_factory) -> Valid:
    return Valid.of(Example(), tmp_path_factory.mktemp("valid"))


@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal.file for refusal in REFUSALS])
def test_refused(valid: Valid, refusal: Refusal, tmp_path: Path):
    """The file is refused with exactly its error, whose message names it and holds no secret."""
    path = tmp_path / refusal.file.removesuffix(".edits")
    path.write_bytes(refusal.data(valid))
    expected = getattr(errors, refusal.error, None) or getattr(pipeline_errors, refusal.error)
    with pytest.raises(expected) as caught:
        READERS[refusal.read](valid.example, path)
    assert caught.type is expected
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert WHERE.get(refusal.rule, WHERE.get(refusal.read, path.name)) in text
    assert not any(secret in text for secret in secrets(valid.example))


def secrets(example: Example) -> list[str]:
    """All secrets of the example in the forms a text could hold, and pieces of the long ones."""
    seeds = [example.seeds[i].for_partner(j) for i in PARTNERS for j in PARTNERS if i != j]
    keys = [known_bytes(name, 128)[at : at + 32] for name in PARTNERS for at in (0, 32, 64, 96)]
    group = [example.group.tag_seed, example.group.structure_seed, example.group.bfv_key[:32]]
    pairs = [key.key for of in example.pair_keys.values() for key in of.values()]
    found = [known_bytes("hub", 32), *seeds, *keys, *group, *pairs]
    return [text[:16] for data in found for text in (data.hex(), to_base64(data), repr(data)[2:], str(list(data))[1:])]


@pytest.mark.parametrize("read", sorted(set(READERS) - REFUSE_ALL))
def test_what_is_valid_is_read(valid: Valid, read: str, tmp_path: Path):
    """Each reader accepts the example's undamaged file, so damaged ones are refused for their damage."""
    kind, _, sender = read.removeprefix("payload of ").partition(" of ")
    paths = {path.name: path for path in valid.example.folder.rglob("*") if "round-0002" not in path.parts}
    paths["void.hub.json"] = valid.example.path("void", "hub", round_no=2)
    end = "arrow" if kind == "update" else "envelopes"
    name = f"{kind}.{sender}.{end if read.startswith('payload') else 'json'}"
    files = {"audited pairing of ash": "pairing.ash.envelopes", "audited update of ash": "update.ash.arrow"}
    files |= {"released seed of ash": "release.ash.json", "ready of ash, by birch": "ready.ash.json"}
    files |= {"called roster": "roster.hub.json", "sum's list": "sum.hub.json", "sealed update": "update.ash.arrow"}
    content = valid.files.get({"sealed sum": "sum", "audited sum": "sum", "plan": "plan.toml"}.get(read, read))
    if read == "card":
        content = valid.example.cards["ash"].to_text().encode()
    (tmp_path / "x").write_bytes(content or paths[files.get(read, name)].read_bytes())
    READERS[read](valid.example, tmp_path / "x")


def test_every_rule_has_its_files():
    """The index has FORMAT.md's rules with their errors, except those whose files a test makes."""
    last = ""
    for rule, found in RULES.items():
        RULES[rule] = last = last if found == "the same" else found
    for refusal in REFUSALS:
        assert f"`{refusal.error}`" in RULES[refusal.rule], refusal
    # E-12 needs a whole group secret in an envelope, 73 kB of chance; test_enrolment.py makes one on the spot.
    # K rules need a counting round; tests/pipeline/protocol/test_counting_round.py makes one for each
    # A-4 needs a whole transcript; tests/pipeline/audit/test_releases.py has them
    assert set(RULES) - {refusal.rule for refusal in REFUSALS} == {"A-4", "E-12", "K-1", "K-2", "K-3", "K-4"}


@pytest.mark.slow
def test_the_folder_is_what_its_script_makes(valid: Valid):
    """Every file is written again byte for byte, and the folder has no other file."""
    made = dict(make_all(valid))
    assert list(made) == REFUSALS
    for refusal, stored in made.items():
        assert (FOLDER / refusal.file).read_bytes() == stored
    assert {path.name for path in FOLDER.iterdir()} == {INDEX.name, *(refusal.file for refusal in REFUSALS)}
