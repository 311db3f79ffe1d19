"""`hocket status` shows hostile messages as refused and goes on; `hocket inspect` refuses a damaged file of any kind.

Both need no key, and are what people run first on files that others placed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.hostile import changes as c
from tests.support.hostile.forging import OTHER, forge, signed, with_body
from tests.support.hostile.kinds import Bench, Kind, by_name

pytestmark = pytest.mark.slow

STATUS = "status plan.toml exchange"
UNUSABLE, REFUSED, SHOWN = ExitCode.CONFIGURATION, ExitCode.SECURITY, ExitCode.DONE
READ = {
    "roster": MessageName("roster", 2, 1, AGGREGATOR),
    "sum": MessageName("sum", 2, 1, AGGREGATOR),
    "update": MessageName("update", 2, 1, "P02"),
    "release": MessageName("release", 2, 1, "P02"),
    "last ready": MessageName("ready", 3, 1, "P02"),
    "sign of life": MessageName("alive", 0, 0, "P02"),
    "sign of trouble": MessageName("trouble", 0, 0, "P03"),
}
IN_STATUS = ("1 GiB long", "a named pipe", "a socket", "a link to a device")


def shown() -> Iterator[Kind]:
    """Messages that the table needs, as an outsider leaves them."""
    for about, name in READ.items():
        for how in IN_STATUS:
            yield Kind(
                f"status, {about}: {how}",
                c.manifest(name, c.FILE_CHANGES[how]),
                SHOWN,
                name.manifest.rpartition("/")[2],
            )
        forged = signed(name, lambda _: None, "P01")
        yield Kind(f"status, {about}: signed by another", forged, SHOWN, name.manifest.rpartition("/")[2])
        deep = c.manifest(name, c.holding("[" * 100_000))
        yield Kind(f"status, {about}: nested 100,000 deep", deep, SHOWN, name.manifest.rpartition("/")[2])


def contradictions() -> Iterator[Kind]:
    """What is rightly signed and cannot be."""
    folder = "exchange/round-0002/attempt-01"
    far = (1 << 37) - 1
    edits = {
        "a last trunk that differs": (READ["last ready"], with_body(trunk=OTHER), "different trunks"),
        "a release of another seed": (READ["release"], with_body(seed="A" * 43 + "="), "release of P02"),
        "a sign of the year 6325": (READ["sign of life"], lambda fields: fields.update(time=far), ""),
        "a roster of the year 6325": (READ["roster"], lambda fields: fields.update(time=far), ""),
        "a sum without its members": (READ["sum"], lambda fields: fields["body"].update(updates={"P09": OTHER}), ""),
    }
    for about, (name, edit, named) in edits.items():
        yield Kind(f"status: {about}", signed(name, edit), SHOWN, named)
    yield Kind("status: a name with a terminal's escape", c.added(f"{folder}/ready.\x1b[31m.json"), SHOWN, "\\x1b[31m")
    yield Kind("status: a name that is not UTF-8", c.odd_name(folder, b"ready.\xff.json"), SHOWN, "\\udcff")
    yield Kind("status: a file of no message", c.added(f"{folder}/notes.txt"), SHOWN, "notes.txt")
    yield Kind("status: a folder as a plan", c.at("plan.toml", c.folder), UNUSABLE, "plan.toml")
    yield Kind("status: no exchange", lambda f: c.void_of(f.exchange.rename(f.folder / "away")), UNUSABLE, "exchange")
    yield Kind(
        "status: a page in the place of a folder",
        c.at("page", c.folder),
        UNUSABLE,
        "page",
        command=f"{STATUS} --html page",
    )
    yield Kind("status: deadlines without an end", endless_deadlines, SHOWN, "P04", stage="ready")


def endless_deadlines(federation: Federation) -> None:
    """All members have agreed on a plan whose deadlines are later than any date, and P04 is awaited."""
    c.replaced("_deadline_s = 3600.0", "_deadline_s = 1e300")(federation.plan_file)
    plan = read_plan(federation.plan_file).digest
    for path in federation.exchange.rglob("*.json"):
        fields = json.loads(path.read_bytes())
        name = MessageName(fields["kind"], fields["round"], fields["attempt"], fields["sender"])
        forge(federation, name, lambda fields: fields.update(plan=plan))
    federation.posted(MessageName("ready", 1, 1, "P04")).unlink()


ROUND = "exchange/round-0001/attempt-01"
# file : exit code if it is damaged
INSPECTED = {
    "plan.toml": UNUSABLE,
    "P01/partner.toml": UNUSABLE,
    f"{ROUND}/ready.P02.json": REFUSED,
    f"{ROUND}/sum.{AGGREGATOR}.arrow": REFUSED,
    "exchange/enrol/deal.P01.envelopes": REFUSED,
    "P01/home/keys/card.toml": UNUSABLE,
    "P01/home/keys/private.key": REFUSED,
    "P01/home/group.secret": REFUSED,
    "P01/home/pair.seeds": REFUSED,
    "P01/home/rounds/round-0003/start.safetensors": UNUSABLE,
    "P01/home/model/compounds.safetensors": UNUSABLE,
    "P01/home/report/report.json": UNUSABLE,
    "P01/home/report/summary.json": UNUSABLE,
    "P01/home/finished.json": UNUSABLE,
    "P01/home/metrics/step-0001.json": UNUSABLE,
    "P01/home/structures.cache": UNUSABLE,
}
IN_INSPECT = ("empty", "cut in half", "1 GiB long", "a named pipe", "a socket")


def inspected() -> Iterator[Kind]:
    """Each file as damage or an outsider leaves it."""
    for path, code in INSPECTED.items():
        command, name = f"inspect {path}", Path(path).name
        for how in IN_INSPECT:
            is_special = how in IN_INSPECT[3:]
            begins_as_card = name == "card.toml" and how in ("cut in half", "1 GiB long")
            expected = UNUSABLE if is_special else REFUSED if begins_as_card else code
            yield Kind(f"inspect {path}: {how}", c.at(path, c.FILE_CHANGES[how]), expected, name, command=command)
        yield Kind(f"inspect {path}: nested deep", c.at(path, c.holding("[" * 100_000)), code, name, command=command)


def arrays(header: bytes, n_data: int = 0, length: int | None = None) -> c.FileChange:
    """A safetensors file with this header."""
    stated = (len(header) if length is None else length).to_bytes(8, "little")
    return c.holding(stated + header + bytes(n_data))


def crafted() -> Iterator[Kind]:
    """States that a safetensors reader takes, and hocket cannot have written."""
    float_array = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    known = json.dumps({"format": 1, "facts": {}, "partner": None, "server": None, "sha256": OTHER})
    headers: dict[str, tuple[bytes, int]] = {
        "without metadata": (json.dumps({"trunk": float_array}).encode(), 8),
        "with metadata nested deep": (
            json.dumps({"__metadata__": {"hocket": "[" * 100_000}, "trunk": float_array}).encode(),
            8,
        ),
        "with metadata that is a list": (
            json.dumps({"__metadata__": {"hocket": "[]"}, "trunk": float_array}).encode(),
            8,
        ),
        "with another digest": (json.dumps({"__metadata__": {"hocket": known}, "trunk": float_array}).encode(), 8),
        "with an array of no dimension": (
            json.dumps(
                {"__metadata__": {"hocket": known}, "trunk": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}
            ).encode(),
            4,
        ),
        "with an array of half floats": (
            json.dumps(
                {"__metadata__": {"hocket": known}, "trunk": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}
            ).encode(),
            4,
        ),
        "with a shape beyond the file": (
            json.dumps({"__metadata__": {"hocket": known}, "trunk": float_array | {"shape": [1 << 60]}}).encode(),
            8,
        ),
        "with a header nested deep": (b'{"a":' * 50_000, 0),
    }
    path = "P01/home/rounds/round-0003/start.safetensors"
    for how, (header, n_data) in headers.items():
        change = c.at(path, arrays(header, n_data))
        yield Kind(f"inspect a state {how}", change, UNUSABLE, "start.safetensors", command=f"inspect {path}")
    endless = c.at(path, arrays(b"{}", length=(1 << 63) - 1))
    yield Kind(
        "inspect a state with an endless header", endless, UNUSABLE, "start.safetensors", command=f"inspect {path}"
    )


def notes() -> Iterator[Kind]:
    """JSON files of a home whose values a terminal or a printer may not take."""
    path = "P01/home/finished.json"
    texts = {
        "with a terminal's escape": (r'{"plan": "\u001b[31m"}', SHOWN, "\\x1b[31m"),
        "with a lone surrogate": (r'{"plan": "\ud800"}', SHOWN, "\\ud800"),
        "with a number of 5,000 digits": ('{"plan": ' + "1" * 5_000 + "}", UNUSABLE, "finished.json"),
        "with NaN": ('{"plan": NaN}', SHOWN, "nan"),
        "that is a list": ("[1]", UNUSABLE, "finished.json"),
        "with a key twice": ('{"plan": 1, "plan": 2}', SHOWN, "2"),
    }
    for how, (text, code, named) in texts.items():
        for options in ("", " --json"):
            shown_text = "" if options else named
            change = c.at(path, c.holding(text))
            yield Kind(f"inspect a note {how}{options}", change, code, shown_text, command=f"inspect {path}{options}")


TABLE = by_name(list(shown()), list(contradictions()), list(inspected()), list(crafted()), list(notes()))


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_who_looks_sees_what_is_wrong(bench: Bench, kind: Kind):
    """`status` names the file and ends with 0; `inspect` refuses a damaged file with the code of its kind."""
    bench.check(kind, kind.stage or "finished", kind.command or STATUS)
