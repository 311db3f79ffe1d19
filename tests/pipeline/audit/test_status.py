"""`hocket status`: every member's state, from valid signed messages alone."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.audit.status import MemberState, RoundPlace, Status, StatusReader
from pipeline.audit.status_view import watch
from pipeline.errors import ExchangeUnreachable, ExitCode
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.plan.plan import read_plan
from secure.messages.message_name import MessageName
from tests.support.cli_runner import printed, refused
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.signed_transcripts import (
    PAIRING,
    READY,
    ROSTER,
    SUM,
    UPDATE,
    VOID,
    at_round,
    body_of,
    digest_of,
    flip,
    manifest_of,
    remove,
    say,
)

FOUR = ("P01", "P02", "P03", "P04")


def reader_of(federation: Federation) -> StatusReader:
    """A reader with the plan and the exchange, and nothing else."""
    return StatusReader(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))


def look(federation: Federation) -> Status:
    """The status now."""
    return reader_of(federation).read_status()


def states(status: Status) -> dict[str, str]:
    """State and place of each member."""
    return {one.name: f"{one.state} {one.place}" for one in status.members}


def member(status: Status, name: str) -> MemberState:
    """One of them."""
    return next(one for one in status.members if one.name == name)


def everybody(state: str, names: tuple[str, ...] = FOUR) -> dict[str, str]:
    """The same for all of them."""
    return dict.fromkeys(names, state)


@pytest.fixture
def delivered(sealed: Federation, tmp_path: Path) -> Federation:
    """A copy of the federation whose four partners have delivered; a test may change it."""
    return sealed.moved(tmp_path / "federation")


# ------------------------------------------------------------------------------------------------- state after state


def test_before_anybody_came(enrolled: Federation):
    """Nobody has posted anything: all are absent, all partners are awaited."""
    status = look(enrolled)
    assert states(status) == everybody("absent enrolment", ("P01", "P02", "P03", AGGREGATOR))
    assert status.awaited == ("P01", "P02", "P03")
    assert (status.place, status.n_summed, status.is_finished) == (RoundPlace(0, 0), 0, False)


def test_while_some_have_enrolled(ready: Federation, tmp_path: Path):
    """A partner that has posted a pairing is enrolled since then; the others are awaited."""
    federation = ready.moved(tmp_path / "federation")
    for name in FOUR:
        remove(federation.exchange, replace(READY, sender=name))
    remove(federation.exchange, replace(PAIRING, sender="P03"))
    status = look(federation)
    expected = everybody("enrolled enrolment") | {"P03": "absent enrolment", AGGREGATOR: "absent enrolment"}
    assert states(status) == expected
    assert status.awaited == ("P03",)
    assert member(status, "P02").since == manifest_of(federation, PAIRING).time
    assert member(status, "P02").n_bytes == (federation.exchange / PAIRING.payload).stat().st_size


def test_all_ready(ready: Federation):
    """The roster is awaited, that is the aggregator."""
    status = look(ready)
    assert states(status) == everybody("ready 1.1") | {AGGREGATOR: "waiting 1.1"}
    assert status.awaited == (AGGREGATOR,)


def test_one_not_ready(ready: Federation, tmp_path: Path):
    """Its newest message is shown, and it is awaited."""
    federation = ready.moved(tmp_path / "federation")
    remove(federation.exchange, READY)
    assert states(look(federation))["P02"] == "enrolled enrolment"
    assert look(federation).awaited == ("P02",)


def test_called_and_partly_delivered(delivered: Federation):
    """A partner that has posted its update is sealed, with the file's size; the others are rostered."""
    remove(delivered.exchange, UPDATE)
    status = look(delivered)
    assert states(status) == everybody("sealed 1.1") | {"P02": "rostered 1.1", AGGREGATOR: "rostered 1.1"}
    assert status.awaited == ("P02",)
    assert member(status, "P02").since == member(status, AGGREGATOR).since == manifest_of(delivered, ROSTER).time
    update = replace(UPDATE, sender="P03")
    assert member(status, "P03").since == manifest_of(delivered, update).time
    assert member(status, "P03").n_bytes == (delivered.exchange / update.payload).stat().st_size


def test_summed(delivered: Federation):
    """With the sum the next round begins: all have to open it and train."""
    assert look(delivered).awaited == (AGGREGATOR,)
    step(delivered.aggregator())
    status = look(delivered)
    assert states(status) == everybody("summed 1.1", (*FOUR, AGGREGATOR))
    assert (status.place, status.n_summed) == (RoundPlace(2, 1), 1)
    assert status.awaited == FOUR
    assert member(status, AGGREGATOR).n_bytes == (delivered.exchange / SUM.payload).stat().st_size


def test_opened(sealed_again: Federation, tmp_path: Path):
    """A partner that is ready for the next round has opened the sum."""
    federation = sealed_again.moved(tmp_path / "federation")
    for name in FOUR:
        remove(federation.exchange, replace(at_round(UPDATE, 2), sender=name))
    remove(federation.exchange, at_round(ROSTER, 2), at_round(READY, 2))
    status = look(federation)
    assert states(status) == everybody("ready 2.1") | {"P02": "summed 1.1", AGGREGATOR: "summed 1.1"}
    assert "1.1" in member(status, "P01").note


def test_void_and_left_out(voided: Federation, tmp_path: Path):
    """After the void, the missing partner is named; the next roster goes without it."""
    after = voided.moved(tmp_path / "federation")
    for path in (after.exchange / "round-0001" / "attempt-02").iterdir():
        path.unlink()
    status = look(after)
    assert states(status) == everybody("void 1.1", (*FOUR, AGGREGATOR))
    assert [one.name for one in status.members if one.note] == ["P03"]
    assert (status.place, status.awaited) == (RoundPlace(1, 2), FOUR)
    ended = look(voided)
    assert states(ended) == everybody("summed 1.2", (*FOUR, AGGREGATOR)) | {"P03": "left out 1.2"}
    assert ended.is_finished


def test_finished(finished: Federation):
    """Nobody is awaited any more."""
    status = look(finished)
    assert states(status) == everybody("summed 2.1", ("P01", "P02", "P03", AGGREGATOR))
    assert (status.is_finished, status.awaited, status.n_summed, status.refused) == (True, (), 2, ())


# ---------------------------------------------------------------------------------------------- what is not believed


@pytest.mark.parametrize("name", [READY, UPDATE, PAIRING], ids=lambda name: name.kind)
def test_a_changed_message_is_named_and_not_believed(delivered: Federation, name: MessageName):
    """The file and what is wrong; the member stands where its other messages say."""
    file = delivered.exchange / name.manifest
    file.write_bytes(file.read_bytes().replace(b'"time":1', b'"time":2', 1))
    status = look(delivered)
    if name.kind == "update":
        assert states(status)["P02"] == "rostered 1.1"
        assert status.awaited == ("P02",)
    (refused,) = status.refused
    assert str(file) in refused
    assert "P02" in refused


def test_nobody_speaks_for_another(delivered: Federation):
    """A message signed with another member's genuine key is none of the named one."""
    remove(delivered.exchange, UPDATE)
    forged = replace(UPDATE, sender="P03")
    (delivered.exchange / UPDATE.manifest).write_bytes((delivered.exchange / forged.manifest).read_bytes())
    status = look(delivered)
    assert states(status)["P02"] == "rostered 1.1"
    assert UPDATE.manifest in status.refused[0]
    assert all(name in status.refused[0] for name in ("P02", "P03"))


def test_a_forged_sum_does_not_move_the_federation(delivered: Federation):
    """Nor does a partner's genuine message of a far round: only the aggregator's messages count."""
    step(delivered.aggregator())
    flip(delivered.exchange / SUM.manifest, -20)
    far = at_round(READY, 9)
    say(delivered, far, body_of(delivered, READY), time=manifest_of(delivered, READY).time)
    status = look(delivered)
    assert (status.place, status.n_summed) == (RoundPlace(1, 1), 0)
    assert states(status) == everybody("sealed 1.1") | {AGGREGATOR: "rostered 1.1"}
    assert [SUM.manifest in line for line in status.refused] == [True]


def test_files_that_do_not_belong_there_are_named(delivered: Federation):
    """A stranger's file, and a partner that calls a roster."""
    strange = [delivered.exchange / "enrol" / "notes.txt", delivered.exchange / replace(ROSTER, sender="P02").manifest]
    for file in strange:
        file.write_text("{}")
    refused = look(delivered).refused
    assert all(any(str(file) in line for line in refused) for file in strange)
    assert len(refused) == len(strange)


def test_an_update_for_another_roster_is_told(delivered: Federation):
    """It is signed, but can never be added here."""
    assert member(look(delivered), "P02").note == ""
    say(delivered, UPDATE, {"roster": digest_of(delivered, READY)})
    assert "roster" in member(look(delivered), "P02").note


def test_no_payload_is_read(delivered: Federation, monkeypatch: pytest.MonkeyPatch):
    """Sizes are those that were signed; a note says that a sealed file is not there yet."""
    read: list[str] = []
    plain = Exchange.read

    def note(exchange: Exchange, path: str) -> bytes | None:
        read.append(path)
        return plain(exchange, path)

    monkeypatch.setattr(Exchange, "read", note)
    monkeypatch.setattr(Exchange, "fetch", None)
    size = manifest_of(delivered, UPDATE).payload.size
    (delivered.exchange / UPDATE.payload).unlink()
    found = member(look(delivered), "P02")
    assert (found.state, found.n_bytes) == ("sealed", size)
    assert "sealed file" in found.note
    assert {Path(path).suffix for path in read} == {".json"}


# ------------------------------------------------------------------------------------------------------------ watching


def watched(federation: Federation, *, terminal: bool, acts: list[object]) -> str:
    """What is shown while these things happen, one between two looks, until the federation is finished."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)
    left = iter(acts)
    watch(reader_of(federation), console, every_s=1.0, clock=lambda: 2e9, sleep=lambda _: next(left)())
    return console.file.getvalue()


def finish(federation: Federation) -> list[object]:
    """The steps from posted updates to the end of the second and last round."""

    def partners() -> None:
        until_waiting(federation, federation.partners)

    def aggregator() -> None:
        until_waiting(federation, [AGGREGATOR])

    return [aggregator, partners, aggregator, partners, aggregator]


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_follows_to_the_end(sealed_again: Federation, tmp_path: Path, *, terminal: bool):
    """On a terminal in place; elsewhere each state once, and nothing while nothing changes."""
    federation = sealed_again.moved(tmp_path / "federation")
    nothing = lambda: None  # noqa: E731 -- nothing happens between two looks
    shown = watched(federation, terminal=terminal, acts=[nothing, nothing, *finish(federation)])
    assert "1 of 2 rounds" in shown
    assert "2 of 2 rounds" in shown
    assert ("\x1b[" in shown) == terminal
    if not terminal:
        assert shown.count("federation small") == 2


def test_watch_reads_each_message_once(sealed_again: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bucket is not asked again for what was verified."""
    federation = sealed_again.moved(tmp_path / "federation")
    read: list[str] = []
    plain = Exchange.read

    def note(exchange: Exchange, path: str) -> bytes | None:
        read.append(path)
        return plain(exchange, path)

    reader = reader_of(federation)
    monkeypatch.setattr(Exchange, "read", note)
    reader.read_status()
    n_read = len(read)
    assert reader.read_status() == look(federation)
    assert read[:n_read] == sorted(set(read[:n_read]), key=read.index)
    assert len(read) == 2 * n_read  # the second reader's own


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_goes_on_when_the_exchange_comes_back(
    finished: Federation, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
):
    """An exchange that cannot be read gives a message, and --watch goes on."""
    plain = Exchange.list_files

    def unreachable(exchange: Exchange) -> list[str]:
        raise ExchangeUnreachable(f"{exchange.url}: cannot be listed: gone")

    def back() -> None:
        monkeypatch.setattr(Exchange, "list_files", plain)

    console = Console(file=io.StringIO(), force_terminal=terminal, width=300, color_system=None)
    reader = reader_of(finished)
    monkeypatch.setattr(Exchange, "list_files", unreachable)
    watch(reader, console, every_s=1.0, clock=lambda: 2e9, sleep=lambda _: back())
    assert ": gone" in console.file.getvalue()
    assert "finished" in console.file.getvalue()


# ------------------------------------------------------------------------------------------------------- the command


def test_the_command_in_words(delivered: Federation):
    """The round, a line for each member, the awaited members, and invalid messages."""
    flip(delivered.exchange / UPDATE.manifest, -20)
    head, columns, *members, waiting, refused = printed("status", delivered.plan_file, delivered.exchange).splitlines()
    assert all(part in head for part in ("0 of 2 rounds", "round 1", "attempt 1"))
    assert columns.split()[:4] == ["member", "role", "state", "round.attempt,"]
    assert [line.split()[:3] for line in members] == [
        [AGGREGATOR, "aggregator", "rostered"],
        ["P01", "partner", "sealed"],
        ["P02", "partner", "rostered"],
        ["P03", "partner", "sealed"],
        ["P04", "partner", "sealed"],
    ]
    assert "Z, " in members[1]
    assert " ago, " in members[1]
    assert members[1].endswith(f"{manifest_of(delivered, replace(UPDATE, sender='P01')).payload.size} bytes")
    assert waiting.endswith(" P02")
    assert str(delivered.exchange / UPDATE.manifest) in refused


def test_the_command_as_json(delivered: Federation):
    """The same for a program."""
    found = json.loads(printed("status", delivered.plan_file, delivered.exchange, "--json"))
    assert {key: found[key] for key in ("round", "attempt", "n_rounds", "n_summed", "finished")} == {
        "round": 1,
        "attempt": 1,
        "n_rounds": 2,
        "n_summed": 0,
        "finished": False,
    }
    assert found["awaited"] == [AGGREGATOR]
    assert found["refused"] == []
    by_name = {one["name"]: one for one in found["members"]}
    assert by_name["P03"]["state"] == "sealed"
    assert by_name["P03"]["bytes"] == manifest_of(delivered, replace(UPDATE, sender="P03")).payload.size
    assert by_name["P03"]["seconds_since"] >= 0


def test_a_void_is_no_sum(voided: Federation, tmp_path: Path):
    """A void that was changed is invalid: the attempt is still open."""
    federation = voided.moved(tmp_path / "federation")
    for path in (federation.exchange / "round-0001" / "attempt-02").iterdir():
        path.unlink()
    flip(federation.exchange / VOID.manifest, -20)
    status = look(federation)
    assert status.place == RoundPlace(1, 1)
    assert states(status)["P03"] == "rostered 1.1"


def test_json_is_not_watched(finished: Federation):
    """One or the other."""
    refused(ExitCode.CONFIGURATION, "status", finished.plan_file, finished.exchange, "--watch", "--json")
