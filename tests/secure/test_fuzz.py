"""Random damage to valid files of every format raises only typed errors, and is never accepted as a change.

A manifest's bytes are all under its signature: every change is refused. A payload's change is refused by the digest in
its manifest; then it is read as if the sender had signed it like that, so that the readers behind the digest are tried.
What they accept must say the same as before: a ciphertext with other noise, a card with another space.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.plan.plan import read_plan
from secure.errors import PayloadMismatch, SecureError, WrongKey
from secure.inspect import inspect_file
from secure.keys.group import GroupSecret, receive_group_secret
from secure.keys.keys import parse_card
from secure.keys.pairing import open_pair_seed
from secure.messages.messages import check_payload, verify_manifest
from secure.sealing.add import add_updates
from tests.support.secure.peak_memory import peak_growth
from tests.support.secure.refusals import Valid
from tests.support.secure.worked_example import PARTNERS, Example

FORMATS = ("card", "plan", "manifest", "deal", "pairing", "group secret", "update", "sum")
PLACE = "round-0001/attempt-01"


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> Valid:
    return Valid.of(Example(), tmp_path_factory.mktemp("valid"))


_POSITION = st.tuples(st.sampled_from(["start", "end", "any"]), st.integers(0, (1 << 20) - 1))
_KIND = st.sampled_from(["flip", "set", "cut", "insert", "remove", "repeat", "move", "splice"])
CHANGES = st.lists(st.tuples(_KIND, _POSITION, _POSITION, st.binary(min_size=1, max_size=40)), min_size=1, max_size=3)


def change(data: bytes, other: bytes, kind: str, places: list[tuple[str, int]], new: bytes) -> bytes:
    """Change a file once; `other` is another valid file."""
    start, stop = sorted(_position(len(data), *spot) for spot in places)
    return {
        "flip": data[:start] + bytes(byte ^ 1 << new[0] % 8 for byte in data[start : start + 1]) + data[start + 1 :],
        "set": data[:start] + new[:8] + data[start + len(new[:8]) :],
        "cut": data[:start],
        "insert": data[:start] + new + data[start:],
        "remove": data[:start] + data[stop:],
        "repeat": data[:stop] + data[start:stop] + data[stop:],
        "move": data[:start] + data[stop:] + data[start:stop],
        "splice": data[:start] + other[_position(len(other), *places[1]) :],
    }[kind]


def _position(size: int, near: str, number: int) -> int:
    if near == "any":
        return number % (size + 1)
    return number % (min(size, 2000) + 1) if near == "start" else size - number % (min(size, 300) + 1)


def readers(valid: Valid, folder: Path) -> dict[str, tuple[list[str], Callable[[str, Path], object]]]:
    """Return for each format the names of valid files, and a function that reads one."""
    example = valid.example
    plan, parameters = example.plan.digest, example.parameters

    def manifest(name: str, path: Path) -> object:
        kind, sender = name.rsplit("/", maxsplit=1)[-1].split(".")[:2]
        expected = example.expected(kind, 2 if name.startswith("round-0002") else 1)
        return verify_manifest(path.read_bytes(), example.cards[sender], expected, path.name)

    def group(_: str, path: Path) -> bytes:
        secret = GroupSecret.from_bytes(path.read_bytes(), parameters)
        if secret.digest() != example.group.digest():
            raise WrongKey("not the announced one")
        return secret.to_bytes()

    def update(name: str, path: Path) -> object:
        files = [path if f"{PLACE}/update.{who}.arrow" == name else example.update(who) for who in PARTNERS]
        add_updates(files, parameters, folder / "sum", roster=example.roster)
        return opened(name, folder / "sum")

    def opened(_: str, path: Path) -> object:
        found = example.open(path)
        return found.total.tolist(), found.weight_total

    def deal(_: str, path: Path) -> bytes:
        return receive_group_secret(path.read_bytes(), plan, "ash", example.keys["birch"], parameters).to_bytes()

    def pairing(name: str, path: Path) -> bytes:
        return open_pair_seed(path.read_bytes(), plan, name.split(".")[1], example.keys["birch"])

    return {
        "card": ([f"card of {name}" for name in example.cards], lambda _, path: parse_card(_text(path), path.name)),
        "plan": (["plan.toml"], lambda _, path: read_plan(path)),
        "manifest": (sorted(name for name in valid.files if name.endswith(".json")), manifest),
        "deal": (["enrol/deal.ash.envelopes"], deal),
        "pairing": ([f"enrol/pairing.{who}.envelopes" for who in ("ash", "cedar")], pairing),
        "group secret": (["group secret"], group),
        "update": ([f"{PLACE}/update.{who}.arrow" for who in PARTNERS], update),
        "sum": (["sum"], opened),
    }


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")  # a card is pasted into the plan as text


def check(format_name: str, valid: Valid, folder: Path, max_examples: int) -> None:
    """Damage files of one format and read them."""
    names, read = readers(valid, folder)[format_name]
    cards = {f"card of {name}": card.to_text().encode() for name, card in valid.example.cards.items()}
    files = [(cards | valid.files)[name] for name in names]
    outcomes = []
    for name, data in zip(names, files, strict=True):
        (folder / "valid").write_bytes(data)
        outcomes.append(read(name, folder / "valid"))
    path = folder / "damaged"

    @settings(
        max_examples=max_examples,
        deadline=None,  # what hangs ends with the test
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.integers(0, len(files) - 1), st.integers(0, len(files) - 1), CHANGES)
    def refused_or_the_same(which: int, other: int, changes: list) -> None:
        data = files[which]
        for kind, *places, new in changes:
            data = change(data, files[other], kind, places, new)
        assume(data not in files)
        path.write_bytes(data)
        _through_its_manifest(valid, names[which], path)
        _tolerant(lambda: inspect_file(path))
        is_read, outcome = _tolerant(lambda: read(names[which], path))
        if is_read and format_name != "plan":  # another plan has another digest, to which everything else is bound
            assert format_name not in {"manifest", "group secret"}
            assert outcome in outcomes, "accepted, but says something else"

    with peak_growth() as growth_kb:
        refused_or_the_same()
        assert growth_kb() < 300_000  # hypothesis takes a third


def _tolerant(read: Callable[[], object]) -> tuple[bool, object]:
    try:
        return True, read()
    except (SecureError, ConfigError):
        return False, None


def _through_its_manifest(valid: Valid, name: str, path: Path) -> None:
    """Check a payload's digest first, as the protocol does."""
    manifest = name.rpartition(".")[0] + ".json"
    if name.endswith((".arrow", ".envelopes")):
        kind, sender = manifest.split("/")[-1].split(".")[:2]
        with pytest.raises(PayloadMismatch):
            check_payload(path, valid.example.manifest(kind, sender).payload, name)


@pytest.mark.parametrize("format_name", FORMATS)
def test_damage_is_refused(valid, format_name, tmp_path):
    """A few random changes to files of each format are refused, or change nothing."""
    check(format_name, valid, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_much_damage_is_refused(valid, format_name, tmp_path):
    """20,000 random changes, 2,500 for each format, are refused, or change nothing."""
    check(format_name, valid, tmp_path, 2500)
