"""Each member meets each message that it waits for in each wrong form: its run ends with code 4 and names the file.

What an outsider does to the files, by `partner run --once` and `aggregator run --once`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR
from tests.support.hostile import changes as c
from tests.support.hostile.kinds import Bench, Kind, by_name

pytestmark = pytest.mark.slow

REFUSED, WAITS, DONE = ExitCode.SECURITY, ExitCode.NOT_YET, ExitCode.DONE
AGGREGATOR_RUN = f"aggregator run --once {AGGREGATOR}/aggregator.toml"


def partner_run(name: str) -> str:
    """The command of a partner."""
    return f"partner run --once {name}/partner.toml"


@dataclass(frozen=True, slots=True)
class Met:
    """A message that a member is about to read."""

    reader: str
    name: MessageName
    stage: str
    missing: ExitCode = WAITS  # if it is not there

    @property
    def command(self) -> str:
        """The reader's command."""
        return AGGREGATOR_RUN if self.reader == AGGREGATOR else partner_run(self.reader)

    def __str__(self) -> str:
        """As the beginning of a kind's name."""
        return f"{self.reader} reads the {self.name.kind} of {self.name.sender}"


DEAL = Met("P02", MessageName("deal", 0, 0, "P01"), "dealt")
PAIRING = Met("P02", MessageName("pairing", 0, 0, "P03"), "paired")
READY = Met(AGGREGATOR, MessageName("ready", 1, 1, "P02"), "ready")
ROSTER = Met("P01", MessageName("roster", 1, 1, AGGREGATOR), "called")
UPDATE = Met(AGGREGATOR, MessageName("update", 1, 1, "P02"), "sealed")
SUM = Met("P01", MessageName("sum", 1, 1, AGGREGATOR), "summed")
ITS_UPDATE = Met("P01", MessageName("update", 1, 1, "P02"), "summed")
RELEASE = Met("P01", MessageName("release", 1, 1, "P02"), "released")
ITS_RELEASE = Met(AGGREGATOR, MessageName("release", 1, 1, "P02"), "released")
LAST_READY = Met("P01", MessageName("ready", 3, 1, "P02"), "closing", missing=DONE)
MANIFESTS = (DEAL, PAIRING, READY, ROSTER, UPDATE, SUM, ITS_UPDATE, RELEASE, ITS_RELEASE, LAST_READY)
PAYLOADS = (DEAL, PAIRING, UPDATE, SUM)
SOME = ("cut in half", "flipped in the middle", "1 GiB long", "a named pipe", "a socket", "a link elsewhere")
SIGNS = ("alive", "trouble")


def manifests() -> Iterator[Kind]:
    """Each manifest, each change of its file."""
    for met in MANIFESTS:
        for how in SOME:
            change = c.FILE_CHANGES[how]
            yield Kind(
                f"{met}: {how}", c.manifest(met.name, change), REFUSED, met.name.manifest, met.command, met.stage
            )
        yield Kind(f"{met}: missing", c.manifest(met.name, c.missing), met.missing, "", met.command, met.stage)


def payloads() -> Iterator[Kind]:
    """Each payload, each change of its file."""
    for met in PAYLOADS:
        changes = {how: c.FILE_CHANGES[how] for how in SOME} | {"a byte longer": c.grown}
        for how, change in changes.items():
            about = f"{met}, its payload: {how}"
            yield Kind(about, c.payload(met.name, change), REFUSED, met.name.payload, met.command, met.stage)
        about = f"{met}, its payload: missing"
        yield Kind(about, c.payload(met.name, c.missing), WAITS, "", met.command, met.stage)


def texts() -> Iterator[Kind]:
    """JSON that no reader may take."""
    for met in (ROSTER,):
        for how, change in c.TEXT_CHANGES.items():
            yield Kind(
                f"{met}: {how}", c.manifest(met.name, change), REFUSED, met.name.manifest, met.command, met.stage
            )


def own_places() -> Iterator[Kind]:
    """Somebody was faster where a member posts its own message; a link there is replaced, never followed."""
    occupied = {"a named pipe": c.pipe, "a folder": c.folder, "a socket": c.unix_socket}
    others = {"another content": c.holding("{}"), "an empty file": c.holding("")}
    links = {"a link to a device": c.link_to_device, "a link to itself": c.link_loop}
    release = MessageName("release", 1, 1, "P01").manifest
    update = MessageName("update", 1, 1, "P01")
    total = MessageName("sum", 1, 1, AGGREGATOR).payload
    for how, change in (occupied | others).items():
        there = c.at(f"exchange/{release}", change)
        yield Kind(f"P01 posts its release: {how} is there", there, REFUSED, release, partner_run("P01"), "summed")
        there = c.at(f"exchange/{update.payload}", change)
        yield Kind(
            f"P01 posts its update: {how} is there", there, REFUSED, update.payload, partner_run("P01"), "called"
        )
        there = c.at(f"exchange/{total}", change)
        yield Kind(f"{AGGREGATOR} posts the sum: {how} is there", there, REFUSED, total, AGGREGATOR_RUN, "sealed")
    for how, change in links.items():
        there = c.at(f"exchange/{release}", change)
        about = f"P01 posts its release: {how} is there"
        yield Kind(about, there, WAITS, "", partner_run("P01"), "summed", is_harmless=True)


def signs() -> Iterator[Kind]:
    """Signs of other members: nothing depends on them, whatever they are."""
    changes = c.FILE_CHANGES | {"nested deep": c.holding("[" * 100_000), "a list": c.holding("[1]")}
    del changes["a link elsewhere"], changes["cut in half"], changes["flipped in the middle"]
    changes = {how: change for how, change in changes.items() if not how.startswith("flipped")}
    for kind in SIGNS:
        path = f"exchange/signs/{kind}.P02.json"
        for how, change in changes.items():
            there = c.each(c.added(path), c.at(path, change))
            about = f"P01 reads the {kind} of P02: {how}"
            yield Kind(about, there, WAITS, "", partner_run("P01"), "released", is_harmless=True)
    folders = {"a file": c.holding("x"), "a named pipe": c.pipe, "a link to itself": c.link_loop}
    for how, change in folders.items():
        there, about = c.at("exchange/signs", change), f"the folder of signs: {how}"
        yield Kind(about, there, WAITS, "", partner_run("P01"), "released", is_harmless=True)


TABLE = by_name(list(manifests()), list(payloads()), list(texts()), list(own_places()), list(signs()))


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_member_refuses_a_wrong_file(bench: Bench, kind: Kind):
    """The run ends with exit code 4 and names the file; it waits, code 6, for what is missing; signs change nothing."""
    bench.check(kind, kind.stage, kind.command)
