"""A partner's own home is damaged, restored in part, or written to by somebody else on its machine.

The run refuses what it cannot use: exit code 4 for keys and messages, 5 for states, 2 for what a person has to mend.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.hostile import changes as c
from tests.support.hostile.kinds import Bench, Change, Kind, by_name

pytestmark = pytest.mark.slow

RUN = "partner run --once P01/partner.toml"
WAITS, UNUSABLE, REFUSED, TRAINING, DONE = (
    ExitCode.NOT_YET,
    ExitCode.CONFIGURATION,
    ExitCode.SECURITY,
    ExitCode.TRAINING,
    ExitCode.DONE,
)
HOME = "P01/home"
DAMAGE = ("empty", "cut in half", "flipped in the middle", "a named pipe", "a socket", "a folder", "a link to itself")


def mode(bits: int) -> c.FileChange:
    """Other rights."""
    return lambda path: path.chmod(bits)


def edited(edit: Callable[[dict[str, object]], object]) -> c.FileChange:
    """Another value in a JSON file, written as before."""

    def change(path: Path) -> None:
        fields = json.loads(path.read_bytes())
        edit(fields)
        path.write_text(json.dumps(fields, sort_keys=True, separators=(",", ":")))

    return change


def keys() -> Iterator[Kind]:
    """Files with secrets."""
    for name in ("keys/private.key", "group.secret", "pair.seeds"):
        path, about = f"{HOME}/{name}", Path(name).name
        for how in (*DAMAGE, "1 GiB long", "a link elsewhere", "a link to a device"):
            # another key is a key: then keys and card are named
            named = "keys" if (about, how) == ("private.key", "flipped in the middle") else about
            yield Kind(f"{about}: {how}", c.at(path, c.FILE_CHANGES[how]), REFUSED, named)
        for how, bits in {"read by the group": 0o640, "read by all": 0o604, "written by all": 0o602}.items():
            yield Kind(f"{about}: {how}", c.at(path, mode(bits)), REFUSED, about)
        yield Kind(f"{about}: nested deep", c.at(path, c.holding("[" * 100_000)), REFUSED, about)
        yield Kind(f"{about}: of P02", c.copied(f"P02/home/{name}", path), REFUSED)
        yield Kind(f"{about}: of version 2", c.at(path, edited(lambda f: f.update(version=2))), REFUSED, about)
        yield Kind(f"{about}: of another format", c.at(path, edited(lambda f: f.update(format="x"))), REFUSED, about)
        yield Kind(f"{about}: with a secret of no bytes", c.at(path, edited(lambda f: f.update(secret=""))), REFUSED)
        yield Kind(
            f"{about}: with a secret that is a number", c.at(path, edited(lambda f: f.update(secret=1))), REFUSED
        )
    for name in ("group.secret", "pair.seeds"):
        path = f"{HOME}/{name}"
        yield Kind(f"{name}: with a nonce of no bytes", c.at(path, edited(lambda f: f.update(nonce=""))), REFUSED, name)
        yield Kind(
            f"{name}: with a nonce of 300 bytes", c.at(path, edited(lambda f: f.update(nonce="A" * 400))), REFUSED, name
        )
        yield Kind(
            f"{name}: as another secret", c.at(path, edited(lambda f: f.update(what="release seed"))), REFUSED, name
        )
    yield Kind("private.key: missing", c.at(f"{HOME}/keys/private.key", c.missing), REFUSED, "private.key")
    yield Kind("pair.seeds: missing", c.at(f"{HOME}/pair.seeds", c.missing), REFUSED, "pair.seeds")
    yield Kind(
        "group.secret and pair.seeds: exchanged", c.swapped(f"{HOME}/group.secret", f"{HOME}/pair.seeds"), REFUSED
    )
    yield Kind("the home: read by all", c.at(HOME, mode(0o755)), UNUSABLE, "0755")
    yield Kind("the keys' folder: written by all", c.at(f"{HOME}/keys", mode(0o777)), WAITS)


OUT, IN = f"{HOME}/outbox", f"{HOME}/inbox"
UPDATE = MessageName("update", 1, 1, "P01")
READY = MessageName("ready", 1, 1, "P01")
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
PAIRING = MessageName("pairing", 0, 0, "P02")


def boxes() -> Iterator[Kind]:
    """Messages that the home has sent or received; a copy that the exchange has may be fetched again."""
    for name, box in ((READY, OUT), (UPDATE, OUT), (ROSTER, IN), (PAIRING, IN)):
        path = f"{box}/{name.manifest}"
        # a ready that the roster does not list is named so, not as a file
        named = f"a ready of {name.sender}" if name == READY else Path(path).name
        for how in ("empty", "cut in half", "flipped in the middle", "flipped at its end"):
            yield Kind(f"{box}, {name.kind}: {how}", c.at(path, c.FILE_CHANGES[how]), REFUSED, named)
        yield Kind(f"{box}, {name.kind}: a folder", c.at(path, c.folder), UNUSABLE, Path(path).name)
        yield Kind(f"{box}, {name.kind}: nested deep", c.at(path, c.holding("[" * 100_000)), REFUSED, named)
    for name in (READY, UPDATE):
        path = f"{OUT}/{name.manifest}"
        yield Kind(f"{OUT}, {name.kind}: missing", c.at(path, c.missing), REFUSED)
        theirs = f"exchange/{name.manifest.replace('P01', 'P02')}"
        yield Kind(f"{OUT}, {name.kind}: P02's", c.copied(theirs, path), REFUSED)
    for name in (ROSTER, PAIRING):
        yield Kind(f"{IN}, {name.kind}: missing", c.at(f"{IN}/{name.manifest}", c.missing), WAITS)
    yield Kind(f"{IN}: missing", c.at(IN, emptied_folder), WAITS)
    yield Kind(f"{OUT}: missing", c.at(OUT, emptied_folder), UNUSABLE)


def emptied_folder(path: Path) -> None:
    """All that is in a folder is moved away."""
    path.rename(path.with_name(f"{path.name}.away"))


def states() -> Iterator[Kind]:
    """The states of a round."""
    start = f"{HOME}/rounds/round-0002/start.safetensors"
    for how in ("empty", "cut in half", "flipped at its beginning", "flipped in the middle", "flipped at its end"):
        yield Kind(
            f"start of a round: {how}", c.at(start, c.FILE_CHANGES[how]), TRAINING, "start.safetensors", stage="later"
        )
    theirs = c.copied("P02/home/rounds/round-0002/start.safetensors", start)
    yield Kind("start of a round: that of P02", theirs, WAITS, stage="later")
    deep = json.dumps({"__metadata__": {"hocket": "[" * 100_000}}).encode()
    crafted = c.at(start, c.holding(len(deep).to_bytes(8, "little") + deep))
    yield Kind("start of a round: with metadata nested deep", crafted, TRAINING, "start.safetensors", stage="later")
    yield Kind("start of a round: a folder", c.at(start, c.folder), UNUSABLE, "start.safetensors", stage="later")
    seed = f"{HOME}/rounds/round-0001/attempt-01/release.seed"
    for how in DAMAGE:
        code = UNUSABLE if how == "a link to itself" else REFUSED  # that is as if it were missing
        yield Kind(f"release seed: {how}", c.at(seed, c.FILE_CHANGES[how]), code, "release.seed", stage="summed")
    yield Kind("release seed: missing", c.at(seed, c.missing), UNUSABLE, "release.seed", stage="summed")
    theirs = c.copied("P02/home/rounds/round-0001/attempt-01/release.seed", seed)
    yield Kind("release seed: that of P02", theirs, REFUSED, "release.seed", stage="summed")
    yield Kind("release seed: read by all", c.at(seed, mode(0o644)), REFUSED, "release.seed", stage="summed")
    for name in ("trained", "leftover"):
        path = f"{HOME}/rounds/round-0001/{name}.safetensors"
        for how in ("empty", "cut in half", "flipped in the middle"):
            yield Kind(f"{name} of a round: {how}", c.at(path, c.FILE_CHANGES[how]), TRAINING, name, stage="released")
        yield Kind(f"{name} of a round: missing", c.at(path, c.missing), UNUSABLE, name, stage="released")


def looks(sizes: object, warnings: object = ()) -> str:
    """The file with the sizes of trunks."""
    return json.dumps({"looks": [{"round_no": 1, "sizes": sizes, "warnings": warnings}]})


def notes() -> Iterator[Kind]:
    """Small JSON files that a run writes for itself."""
    finished = f"{HOME}/finished.json"
    texts = {"empty": "", "nested deep": "[" * 100_000, "a list": "[1]", "null": "null", "no plan": "{}"}
    for how, text in texts.items():
        yield Kind(
            f"finished.json: {how}", c.at(finished, c.holding(text)), UNUSABLE, "finished.json", stage="finished"
        )
    other = c.at(finished, c.holding('{"plan": "0000"}'))
    yield Kind("finished.json: of another plan", other, UNUSABLE, "finished.json", stage="finished")
    for how in ("a folder", "a named pipe", "a socket", "1 GiB long"):
        yield Kind(
            f"finished.json: {how}", c.at(finished, c.FILE_CHANGES[how]), UNUSABLE, "finished.json", stage="finished"
        )
    lock = f"{HOME}/lock"
    holders = {
        "nested deep": "[" * 4_000,
        "of the year 10^18": json.dumps({"pid": 1, "host": "x", "since": 10**18}),
        "with a terminal's escape": json.dumps({"pid": 1, "host": "\x1b[31m", "since": 1}),
        "with a process -1": json.dumps({"pid": -1, "host": "x", "since": 1}),
        "with a field more": json.dumps({"pid": 1, "host": "x", "since": 1, "note": 1}),
        "of a process that was killed": json.dumps({"pid": 1, "host": "x", "since": 1}),
    }
    for how, text in holders.items():
        yield Kind(f"lock: {how}", c.at(lock, c.holding(text)), WAITS, stage="released", is_harmless=True)
    yield Kind("lock: a folder", c.at(lock, c.folder), UNUSABLE, HOME)
    record = f"{HOME}/metrics/step-0000.json"
    yield Kind("record of a step: a folder", c.at(record, c.folder), UNUSABLE, "step-0000.json")
    sizes = f"{HOME}/audit/incoming.json"
    odd = {
        "nested deep": "[" * 100_000,
        "a list": "[]",
        "looks that are null": '{"looks": null}',
        "looks that are numbers": '{"looks": [1]}',
        "sizes that are a text": looks("x"),
        "sizes that are a list": looks([1]),
        "sizes that are texts": looks({"layer 1": "x"}),
        "warnings that are a number": looks({}, 7),
        "a round that is a text": json.dumps({"looks": [{"round_no": "x", "sizes": {}, "warnings": []}]}),
    }
    for how, text in odd.items():
        yield Kind(
            f"incoming.json: {how}",
            c.each(c.added(sizes), c.at(sizes, c.holding(text)), unready),
            UNUSABLE,
            "incoming.json",
            stage="ready",
        )


def unready(federation: Federation) -> None:
    """P01 has not trained yet."""
    for path in (federation.home("P01").outbox(READY.manifest), federation.posted(READY)):
        path.unlink()
    for path in federation.home("P01").folder.glob("rounds/round-0001/*.safetensors"):
        path.unlink()


def prepared(federation: Federation) -> Path:
    """The folder of P01's matrices."""
    return next(path for path in federation.home("P01").prepared.iterdir() if (path / "manifest.json").exists())


def in_prepared(name: str, change: c.FileChange) -> Change:
    """The change of a file of the matrices."""
    return lambda federation: change(prepared(federation) / name)


def matrices() -> Iterator[Kind]:
    """Prepared matrices, which are checked and made again, and the cache of structures."""
    for how in ("empty", "cut in half", "nested deep"):
        change = c.FILE_CHANGES.get(how, c.holding("[" * 100_000))
        yield Kind(
            f"manifest of the matrices: {how}",
            in_prepared("manifest.json", change),
            WAITS,
            stage="released",
            is_harmless=True,
        )
    cache = f"{HOME}/structures.cache"
    for how in ("empty", "cut in half", "flipped at its beginning", "a folder"):
        change = c.each(c.at(cache, c.FILE_CHANGES[how]), in_prepared("manifest.json", c.missing))
        yield Kind(f"cache of structures: {how}", change, WAITS, stage="released", is_harmless=True)


def counts() -> Iterator[Kind]:
    """What the counting round counted, and what this partner flagged."""
    counted = f"{HOME}/catalogue.json"
    edits: dict[str, c.FileChange] = {
        "empty": c.emptied,
        "nested deep": c.holding("[" * 100_000),
        "a list": c.holding("[1]"),
        "other partners": edited(lambda f: f.update(partners=["P01", "P02", "P09"])),
        "a count fewer": edited(lambda f: f.update(counts=[])),
        "a count that is a text": edited(lambda f: f.update(counts=["3"])),
        "a count of 10^400": edited(lambda f: f.update(counts=[10**400])),
        "a count of -1": edited(lambda f: f.update(counts=[-1])),
        "more holders than partners": edited(lambda f: f.update(counts=[4])),
        "no minimum": edited(lambda f: f.pop("min_partners")),
        "no columns": edited(lambda f: f.pop("columns")),
        "a field more": edited(lambda f: f.update(note=1)),
        "other tasks": edited(lambda f: f.update(tasks=[{"id": "X", "threshold": 6.0}])),
        "a folder": c.folder,
    }
    for how, change in edits.items():
        yield Kind(f"catalogue.json: {how}", c.at(counted, change), UNUSABLE, "catalogue.json", stage="counted")
    again = edited(lambda f: f.update(plan="0" * 64))
    yield Kind("catalogue.json: counts of another plan", c.at(counted, again), WAITS, stage="counted")
    flagged = f"{HOME}/columns.json"
    edits = {
        "empty": c.emptied,
        "nested deep": c.holding("[" * 100_000),
        "a column of 10^12": edited(lambda f: f.update(flagged=[10**12])),
        "a column of -1": edited(lambda f: f.update(flagged=[-1])),
        "columns out of order": edited(lambda f: f.update(flagged=[2, 1])),
        "a column flagged and withheld": edited(lambda f: f.update(flagged=[1], withheld=[1])),
        "a column that is a text": edited(lambda f: f.update(flagged=["1"])),
        "no flags": edited(lambda f: f.pop("flagged")),
    }
    for how, change in edits.items():
        yield Kind(f"columns.json: {how}", c.at(flagged, change), UNUSABLE, "columns.json", stage="counted")


TABLE = by_name(list(keys()), list(boxes()), list(states()), list(notes()), list(matrices()), list(counts()))


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_damaged_home_is_refused(bench: Bench, kind: Kind):
    """The run ends with the exit code of the file's kind and names it; what can be made again is made again."""
    bench.check(kind, kind.stage or "sealed", RUN)
