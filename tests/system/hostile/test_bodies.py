"""Members sign what contradicts other messages, outsiders rearrange the exchange: `hocket verify` refuses both."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.hostile import changes as c
from tests.support.hostile.forging import OTHER, Fields, signed, with_body, without_body
from tests.support.hostile.kinds import Bench, Kind, by_name
from tests.support.hostile.names import (
    ALIVE,
    DEAL,
    LAST_READY,
    PAIRING,
    READY,
    RELEASE,
    ROSTER,
    SUM,
    TROUBLE,
    UPDATE,
    VOID,
)
from tests.support.signed_transcripts import body_of, say

pytestmark = pytest.mark.slow

VERIFY = "verify --quick plan.toml exchange"
REFUSED, HARMLESS, UNUSABLE = ExitCode.SECURITY, ExitCode.DONE, ExitCode.CONFIGURATION
ROUND = "exchange/round-0001/attempt-01"


def changed(field: str, edit: Callable[[dict[str, str]], object]) -> Callable[[Fields], object]:
    """The edit of an object in the body."""
    return lambda fields: edit(fields["body"][field])


BODIES: dict[tuple[MessageName, str], Callable[[Fields], object]] = {
    (DEAL, "of another group"): with_body(group=OTHER),
    (DEAL, "without a group"): without_body("group"),
    (DEAL, "with a group that is null"): with_body(group=None),
    (PAIRING, "of another group"): with_body(group=OTHER),
    (PAIRING, "with a group in capitals"): with_body(group="AB" * 32),
    (READY, "of another trunk"): with_body(trunk=OTHER),
    (READY, "of another preparation"): with_body(preparation=OTHER),
    (READY, "without confirmations"): without_body("confirmations"),
    (READY, "with empty confirmations"): with_body(confirmations={}),
    (READY, "with a confirmation for a name with a path"): changed(
        "confirmations", lambda by: by.update({"../P01": "A" * 22 + "=="})
    ),
    (READY, "with a confirmation of 15 bytes"): changed("confirmations", lambda by: by.update(P01="A" * 20)),
    (READY, "with a confirmation that is a number"): changed("confirmations", lambda by: by.update(P01=7)),
    (ROSTER, "without members"): with_body(members={}),
    (ROSTER, "of two"): changed("members", lambda by: by.pop("P03")),
    (ROSTER, "with a stranger"): changed("members", lambda by: by.update(P09=OTHER)),
    (ROSTER, "with itself"): changed("members", lambda by: by.update({AGGREGATOR: OTHER})),
    (ROSTER, "with a ready that nobody signed"): changed("members", lambda by: by.update(P02=OTHER)),
    (ROSTER, "with a ready under another's name"): changed("members", lambda by: by.update(P02=by["P03"])),
    (ROSTER, "of another trunk"): with_body(trunk=OTHER),
    (ROSTER, "with a list of members"): with_body(members=["P01", "P02", "P03"]),
    (ROSTER, "signed later, so that it is another roster"): lambda fields: fields.update(time=fields["time"] + 1),
    (UPDATE, "for another roster"): with_body(roster=OTHER),
    (UPDATE, "that commits to another seed"): with_body(release_commitment=OTHER),
    (UPDATE, "without a commitment"): without_body("release_commitment"),
    (SUM, "of another roster"): with_body(roster=OTHER),
    (SUM, "without a member's update"): changed("updates", lambda by: by.pop("P02")),
    (SUM, "with a stranger's update"): changed("updates", lambda by: by.update(P09=OTHER)),
    (SUM, "with another update of a member"): changed("updates", lambda by: by.update(P02=OTHER)),
    (SUM, "with two members' updates exchanged"): changed(
        "updates", lambda by: by.update(P02=by["P03"], P03=by["P02"])
    ),
    (SUM, "with a digest that is a number"): changed("updates", lambda by: by.update(P02=1)),
    (RELEASE, "for another roster"): with_body(roster=OTHER),
    (RELEASE, "of another seed"): with_body(seed="A" * 43 + "="),
    (RELEASE, "of a seed of 31 bytes"): with_body(seed="A" * 42 + "=="),
    (RELEASE, "of a seed with stray bits"): with_body(seed="A" * 42 + "B="),
    (VOID, "of another roster"): with_body(roster=OTHER),
    (VOID, "that misses nobody"): with_body(missing=[]),
    (VOID, "that misses a stranger"): with_body(missing=["P09"]),
    (VOID, "that misses a member twice"): with_body(missing=["P03", "P03"]),
    (VOID, "that misses members out of order"): with_body(missing=["P03", "P02"]),
    (LAST_READY, "of another trunk"): with_body(trunk=OTHER),
    (ALIVE, "of a step with a terminal's escape"): with_body(step="\x1b[31m"),
    (ALIVE, "of a step of 17 letters"): with_body(step="a" * 17),
    (ALIVE, "of round 2^31"): with_body(round=1 << 31),
    (TROUBLE, "of exit code 0"): with_body(exit_code=0),
    (TROUBLE, "of exit code 256"): with_body(exit_code=256),
    (TROUBLE, "of exit code true"): with_body(exit_code=True),
}


def bodies() -> list[Kind]:
    """Signed by its sender, whatever it says."""
    return [
        Kind(
            f"{name.kind} of round {name.round_no} {how}",
            signed(name, edit),
            REFUSED,
            "P02" if name == LAST_READY else name.folder,
            stage="voided" if name == VOID else "",
        )
        for (name, how), edit in BODIES.items()
    ]


def announced(name: MessageName, size: int) -> Kind:
    """A sender announces a payload of a size that its kind cannot have, and posts it as a sparse file."""

    def change(federation: Federation) -> None:
        with federation.payload(name).open("r+b") as file:
            file.truncate(min(size, c.GIB))
        signed(name, lambda fields: fields["payload"].update(size=size))(federation)

    return Kind(f"{name.kind} that announces {size} bytes", change, REFUSED, name.manifest)


def placed(name: MessageName, elsewhere: MessageName) -> c.Change:
    """A message lies in the place of another, payload included."""

    def change(federation: Federation) -> None:
        for source, target in (
            (federation.posted(name), federation.posted(elsewhere)),
            (federation.payload(name), federation.payload(elsewhere)),
        ):
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())

    return change


def replays() -> list[Kind]:
    """Rightly signed messages of another place, kind or plan."""
    moves = {
        "a ready of round 2 in round 1": (MessageName("ready", 2, 1, "P02"), READY),
        "a ready of round 1 in the closing round": (READY, LAST_READY),
        "an update of round 2 in round 1": (MessageName("update", 2, 1, "P02"), UPDATE),
        "a sum of round 2 in round 1": (MessageName("sum", 2, 1, AGGREGATOR), SUM),
        "a roster of round 1 in round 2": (ROSTER, MessageName("roster", 2, 1, AGGREGATOR)),
        "a release of round 2 in round 1": (MessageName("release", 2, 1, "P02"), RELEASE),
        "another partner's ready": (MessageName("ready", 1, 1, "P03"), READY),
        "another partner's update": (MessageName("update", 1, 1, "P03"), UPDATE),
        "another partner's release": (MessageName("release", 1, 1, "P03"), RELEASE),
        "a pairing of another partner": (MessageName("pairing", 0, 0, "P03"), PAIRING),
        "a pairing as a deal": (MessageName("pairing", 0, 0, "P01"), DEAL),
        "an update as a release": (UPDATE, RELEASE),
        "a deal of a partner that is no custodian": (PAIRING, MessageName("deal", 0, 0, "P02")),
        "an update of a partner as a sum": (UPDATE, SUM),
        "a roster sent by a partner": (ROSTER, MessageName("roster", 1, 1, "P02")),
        "a ready of the aggregator": (READY, MessageName("ready", 1, 1, AGGREGATOR)),
        "a sum in an attempt without a roster": (SUM, MessageName("sum", 1, 2, AGGREGATOR)),
        "a ready in an attempt after the sum": (READY, MessageName("ready", 1, 2, "P02")),
        "a ready in round 9999": (READY, MessageName("ready", 9999, 1, "P02")),
        "a sign of life as one of trouble": (ALIVE, MessageName("trouble", 0, 0, "P02")),
        "a sign of another member": (ALIVE, MessageName("alive", 0, 0, "P03")),
        "a ready in the counting round": (READY, MessageName("ready", 0, 1, "P02")),
    }
    return [Kind(how, placed(name, elsewhere), REFUSED, elsewhere.folder) for how, (name, elsewhere) in moves.items()]


def void_beside_sum(federation: Federation) -> None:
    """The aggregator declares an attempt void that has its sum."""
    say(federation, VOID, {"roster": body_of(federation, SUM)["roster"], "missing": ["P02"]}, time=1_800_000_000)


def second_release(federation: Federation) -> None:
    """A partner releases for another roster of a round."""
    body = body_of(federation, RELEASE) | {"roster": OTHER}
    say(federation, MessageName("release", 1, 2, "P02"), body, time=1_800_000_000)


def plan_of_another(federation: Federation) -> None:
    """The auditor has another plan than the members."""
    c.replaced("local_steps = 4", "local_steps = 5")(federation.plan_file)


def deep(federation: Federation) -> None:
    """Folders 1,500 deep, as Python's own walk cannot follow."""
    import os  # noqa: PLC0415 -- only here

    descriptor = os.open(federation.exchange, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def folder_away(path: str) -> c.Change:
    """A folder is a link to itself elsewhere."""

    def change(federation: Federation) -> None:
        away = federation.folder / "away"
        (federation.folder / path).rename(away)
        (federation.folder / path).symlink_to(away)

    return change


def folder_as(path: str, change: Callable[[Path], None]) -> c.Change:
    """A folder of the exchange is something else."""

    def make(federation: Federation) -> None:
        (federation.folder / path).rename(federation.folder / "away")
        change(federation.folder / path)

    return make


def layout() -> list[Kind]:
    """Files and folders that do not belong into an exchange, or are not what their name says."""
    files = {
        "a file of no message": "exchange/readme.txt",
        "a file of no message in a round": f"{ROUND}/notes.json",
        "a message of a stranger": f"{ROUND}/ready.P09.json",
        "a message in small letters": f"{ROUND}/ready.p02.json",
        "a kind in capitals": f"{ROUND}/READY.P02.json",
        "a message with another end": f"{ROUND}/ready.P02.toml",
        "a payload of a kind that has none": f"{ROUND}/ready.P02.arrow",
        "a message of three names": f"{ROUND}/ready.P02.P03.json",
        "a round of five digits": "exchange/round-00001/attempt-01/ready.P02.json",
        "an attempt of one digit": "exchange/round-0001/attempt-1/ready.P02.json",
        "an attempt of 100 digits": f"exchange/round-0001/attempt-{'1' * 100}/ready.P02.json",
        "a round in other digits": "exchange/round-\u0660\u0660\u0660\u0661/attempt-01/ready.P02.json",
        "a message of a round among the signs": "exchange/signs/ready.P02.json",
        "a sign in a round": f"{ROUND}/alive.P02.json",
        "a file in a folder of a message's name": f"{ROUND}/ready.P02.json.d/x",
        "the private file of a home": "exchange/private.key",
    }
    names = {
        "a name with a terminal's escape": b"ready.\x1b[31m.json",
        "a name with line breaks": b"ready.P02\n.json",
        "a name that is not UTF-8": b"ready.\xff\xfe.json",
        "a name of 255 characters": b"r" * 255,
    }
    kinds = [Kind(how, c.added(path), REFUSED, path.rpartition("/")[2][:20]) for how, path in files.items()]
    kinds += [Kind(how, c.odd_name(ROUND, name), REFUSED, "attempt-01") for how, name in names.items()]
    kinds += [
        Kind("a hidden file", c.added(f"{ROUND}/.ready.P02.json.part"), HARMLESS),
        Kind("a folder of a revision that there is not", c.added("exchange/revision-02/x"), HARMLESS),
        Kind("a folder lost+found", c.added("exchange/lost+found/x"), HARMLESS),
        Kind("folders 1,500 deep", deep, REFUSED, "no message"),
        Kind("the exchange is missing", folder_as("exchange", c.void_of), UNUSABLE, "exchange"),
        Kind("the exchange is a file", folder_as("exchange", c.holding("x")), UNUSABLE, "exchange"),
        Kind("the exchange is a named pipe", folder_as("exchange", c.pipe), UNUSABLE, "exchange"),
        Kind("the exchange is a link to itself", folder_as("exchange", c.link_loop), UNUSABLE, "exchange"),
        Kind("the exchange is a link", folder_away("exchange"), HARMLESS),
        Kind("a round's folder is a link", folder_away("exchange/round-0001"), REFUSED, "round-0001"),
        Kind("an attempt's folder is a link", folder_away(ROUND), REFUSED, "attempt-01"),
        Kind("the enrolment's folder is a file", folder_as("exchange/enrol", c.holding("x")), REFUSED, "enrol"),
        Kind("a round's folder is a named pipe", folder_as("exchange/round-0001", c.pipe), REFUSED, "round-0001"),
        Kind("a round's folder is missing", folder_as("exchange/round-0001", c.void_of), REFUSED),
        Kind("the last round's folder is missing", folder_as("exchange/round-0002", c.void_of), REFUSED),
        Kind("the enrolment's folder is missing", folder_as("exchange/enrol", c.void_of), REFUSED, "deal"),
        Kind("all rounds are exchanged", folder_swap, REFUSED, "round-000"),
    ]
    return kinds


def folder_swap(federation: Federation) -> None:
    """Two rounds' folders change places."""
    first, second, away = (federation.exchange / name for name in ("round-0001", "round-0002", "away"))
    first.rename(away)
    second.rename(first)
    away.rename(second)


CONTRADICTIONS = [
    announced(DEAL, 1 << 30),
    announced(PAIRING, 1 << 24),
    announced(UPDATE, 1 << 40),
    announced(SUM, (1 << 50) - 1),
    Kind("a void beside a sum", void_beside_sum, REFUSED, "attempt-01"),
    Kind("a second release in a round", second_release, REFUSED, "release.P02.json"),
    Kind("the auditor's plan is another", plan_of_another, REFUSED, "deal.P01.json"),
]
TABLE = by_name(bodies(), replays(), layout(), CONTRADICTIONS)


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_contradiction_is_refused(bench: Bench, kind: Kind):
    """`verify` ends with exit code 4 and names the place, with 2 without an exchange, with 0 for others' files."""
    bench.check(kind, "finished", VERIFY)
