"""`hocket status`: every member's state, from valid signed messages alone."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.audit.member_states import MemberState, RoundPlace, Status
from pipeline.audit.status import StatusReader
from pipeline.audit.status_view import member_cells, watch
from pipeline.errors import ExchangeError, ExchangeUnreachable, ExitCode
from pipeline.exchange.signs import SILENT_S, Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.pages.status_page import status_page
from pipeline.plan.plan import read_plan
from secure.keys.keys import load_private_keys
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


def test_before_anybody_came(enrolled: Federation, finished: Federation, tmp_path: Path):
    """An exchange without a message of this plan is refused: new, mistyped, not mounted, or another plan's."""
    plan = read_plan(enrolled.plan_file)
    (tmp_path / "with").mkdir()
    (tmp_path / "with" / "notes.txt").write_text("x")
    other = tmp_path / "other.toml"
    other.write_text(enrolled.plan_file.read_text().replace("seed = 3", "seed = 4"))
    for folder, agreed in (("absent", plan), ("with", plan), (finished.exchange, read_plan(other))):
        reader = StatusReader(agreed, open_exchange(f"file://{tmp_path / folder}"))
        with pytest.raises(ExchangeError, match="nothing of this plan is here") as caught:
            reader.read_status()
        assert agreed.digest[:12] in str(caught.value)
        assert "P01" in caught.value.__notes__[0]
    refused(ExitCode.CONFIGURATION, "status", enrolled.plan_file, tmp_path / "absent")
    refused(
        ExitCode.CONFIGURATION, "status", enrolled.plan_file, tmp_path / "absent", "--json", "--html", tmp_path / "x"
    )
    assert not (tmp_path / "x").exists()


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
    """After the sum all have to release; then the next round begins: all have to open the sum and train."""
    assert look(delivered).awaited == (AGGREGATOR,)
    step(delivered.aggregator())
    status = look(delivered)
    assert states(status) == everybody("summed 1.1", (*FOUR, AGGREGATOR))
    assert (status.place, status.awaited, status.unreleased) == (RoundPlace(1, 1), FOUR, FOUR)
    until_waiting(delivered, list(FOUR[:3]))
    status = look(delivered)
    assert states(status) == everybody("released 1.1") | {"P04": "summed 1.1", AGGREGATOR: "summed 1.1"}
    assert status.awaited == ("P04",)
    until_waiting(delivered, ["P04"])
    for name in FOUR:
        remove(delivered.exchange, replace(at_round(READY, 2), sender=name))
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
    say(delivered, UPDATE, body_of(delivered, UPDATE) | {"roster": digest_of(delivered, READY)})
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
        assert shown.count("federation small") == 3


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


# ------------------------------------------------------------------------------- who is late, in trouble, by when


def post_sign(federation: Federation, name: str, sign: Sign) -> Sign:
    """Post a member's sign with its own keys."""
    board = SignBoard(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))
    return board.post(load_private_keys(federation.home(name).keys), sign)


def time_of(federation: Federation, name: MessageName) -> int:
    """When a message was signed."""
    return manifest_of(federation, name).time


def test_a_deadline_for_updates(delivered: Federation):
    """From the roster on: the attempt is void; after the plan's last attempt the aggregator ends."""
    remove(delivered.exchange, UPDATE)
    status = look(delivered)
    assert status.awaited_since == time_of(delivered, ROSTER)
    assert status.deadline.time == time_of(delivered, ROSTER) + 3600
    assert "void" in status.deadline.then
    assert "P02" in status.deadline.then


def test_the_last_attempt_has_another_end(ready: Federation, tmp_path: Path):
    """It is never void: the aggregator ends, and a late update can still be added."""
    last = MessageName("roster", 1, 5, AGGREGATOR)
    federation = ready.moved(tmp_path / "federation")
    members = {name: digest_of(federation, replace(READY, sender=name)) for name in FOUR}
    body = {"members": members, "trunk": body_of(federation, READY)["trunk"]}
    say(federation, last, body, time=1_700_000_000)
    status = look(federation)
    assert (status.place, status.awaited) == (RoundPlace(1, 5), FOUR)
    assert status.deadline.time == 1_700_003_600
    assert "aggregator ends" in status.deadline.then


def test_a_deadline_for_the_roster(ready: Federation, tmp_path: Path):
    """From the first ready on: the round goes on without the others, if the plan allows that."""
    federation = ready.moved(tmp_path / "federation")
    remove(federation.exchange, READY)
    first = min(time_of(federation, replace(READY, sender=name)) for name in ("P01", "P03", "P04"))
    status = look(federation)
    assert status.deadline.time == first + 3600
    assert all(part in status.deadline.then for part in ("without P02", "at least 3"))
    assert status.awaited_since == max(time_of(federation, replace(PAIRING, sender=name)) for name in FOUR)


def test_no_deadline_where_all_are_needed(finished: Federation, tmp_path: Path):
    """With three partners of three nobody can be left out; before the first ready and after the end neither."""
    assert look(finished).deadline is look(finished).awaited_since is None
    federation = finished.moved(tmp_path / "federation")
    remove(federation.exchange, at_round(READY, 2), at_round(ROSTER, 2), at_round(SUM, 2))
    for name in ("P01", "P02", "P03"):
        remove(federation.exchange, at_round(replace(UPDATE, sender=name), 2))
    status = look(federation)
    assert (status.awaited, status.deadline) == (("P02",), None)
    assert status.awaited_since == time_of(federation, SUM)
    for name in ("P01", "P03"):
        remove(federation.exchange, at_round(replace(READY, sender=name), 2))
    assert look(federation).deadline is None


def test_who_is_silent_is_late(delivered: Federation):
    """After three signs of life that did not come; not who is finished, in trouble, or not awaited without a sign."""
    remove(delivered.exchange, UPDATE)
    called = time_of(delivered, ROSTER)
    assert look(delivered).late(called + SILENT_S) == {}
    assert look(delivered).late(called + SILENT_S + 1) == {"P02": called}  # it never left a sign, and is awaited
    sign = post_sign(delivered, "P02", Sign(called + 100, 1, 1, "sealing"))
    done = post_sign(delivered, "P03", Sign(called, 0, 0, "finished"))
    broken = post_sign(delivered, "P04", Sign(called, 1, 1, "training", 5))
    asleep = post_sign(delivered, AGGREGATOR, Sign(called - 9000, 1, 1, "waiting"))
    status = look(delivered)
    assert [member(status, name).sign for name in ("P02", "P03", "P04", AGGREGATOR)] == [sign, done, broken, asleep]
    assert member(status, "P04").trouble == broken
    assert status.late(called + 100 + SILENT_S) == {AGGREGATOR: asleep.time}
    assert status.late(called + 101 + SILENT_S) == {AGGREGATOR: asleep.time, "P02": sign.time}


def test_a_clock_that_is_ahead_is_named(delivered: Federation):
    """How long that member is silent cannot be seen, and it is not late."""
    sign = post_sign(delivered, "P02", Sign(2_000_000_000, 1, 1, "training"))
    status = look(delivered)
    assert "its clock is ahead" in member_cells(member(status, "P02"), sign.time - 3600)[-1]
    assert "clock" not in member_cells(member(status, "P02"), sign.time - 30)[-1]
    assert "P02" not in status.late(sign.time - 3600)


def test_trouble_is_withdrawn_by_going_on(delivered: Federation):
    """The newer sign holds."""
    trouble = post_sign(delivered, "P02", Sign(2_000_000_000, 1, 1, "training", 3))
    assert member(look(delivered), "P02").trouble == trouble
    post_sign(delivered, "P02", Sign(1, 1, 1, "waiting"))
    assert member(look(delivered), "P02").trouble is None


def test_a_forged_sign_is_named_and_not_believed(delivered: Federation):
    """The trouble of a member that has none would be an easy way to stop a federation."""
    post_sign(delivered, "P02", Sign(100, 1, 1, "training"))
    post_sign(delivered, "P03", Sign(200, 1, 1, "training", 4))
    forged = delivered.exchange / sign_name("trouble", "P02").manifest
    forged.write_bytes((delivered.exchange / sign_name("trouble", "P03").manifest).read_bytes())
    status = look(delivered)
    assert member(status, "P02").trouble is None
    assert member(status, "P02").sign.step == "training"
    assert [str(forged) in line for line in status.refused] == [True]


def test_a_sign_is_read_anew_and_shown_only_if_it_matters(sealed_again: Federation, tmp_path: Path):
    """Elsewhere than on a terminal a sign of life gives no line, trouble does; the caller gets each status."""
    federation = sealed_again.moved(tmp_path / "federation")
    seen: list[Status] = []
    console = Console(file=io.StringIO(), width=300, color_system=None)
    acts = iter(
        [
            lambda: post_sign(federation, "P02", Sign(1_999_999_990, 2, 1, "training")),
            lambda: post_sign(federation, "P02", Sign(1_999_999_999, 2, 1, "waiting")),
            lambda: post_sign(federation, "P02", Sign(1_999_999_999, 2, 1, "waiting", 5)),
            lambda: (_ for _ in ()).throw(KeyboardInterrupt),
        ]
    )
    with pytest.raises(KeyboardInterrupt):
        watch(
            reader_of(federation),
            console,
            every_s=1.0,
            clock=lambda: 2e9,
            sleep=lambda _: next(acts)(),
            seen=lambda status, _: seen.append(status),
        )
    assert [member(status, "P02").sign and member(status, "P02").sign.step for status in seen] == [
        None,
        "training",
        "waiting",
        "waiting",
    ]
    shown = console.file.getvalue()
    assert shown.count("federation small") == 2
    assert shown.count("TROUBLE: P02 ended with exit code 5") == 1


def test_the_page(delivered: Federation, tmp_path: Path):
    """What the command prints, in one file without scripts or links that reloads itself; a name is escaped."""
    remove(delivered.exchange, UPDATE)
    post_sign(delivered, "P04", Sign(2_000_000_000, 1, 1, "training", 5))
    file = tmp_path / "new" / "status.html"
    assert printed("status", delivered.plan_file, delivered.exchange, "--html", file)
    text = file.read_text()
    assert '<meta http-equiv="refresh" content="60">' in text
    assert "TROUBLE: P04 ended with exit code 5" in text
    assert "waiting for P02, since " in text
    assert "update of P02 is missing" in text
    assert [text.count(f'<td class="words">{name}</td>') for name in (AGGREGATOR, *FOUR)] == [1] * 5
    assert not {"<script", "http://", "https://", "src="} & set(re.findall(r"<script|https?://|src=", text))
    assert [path.name for path in file.parent.iterdir()] == ["status.html"]
    status = look(delivered)
    odd = replace(status, refused=("<b>&",))
    assert "&lt;b&gt;&amp;" in status_page(odd, read_plan(delivered.plan_file), 2e9, refresh_s=10)


def test_the_page_of_the_end(finished: Federation):
    """It says so, and asks nobody."""
    page = status_page(look(finished), read_plan(finished.plan_file), 2e9, refresh_s=10)
    assert "Finished: " in page
    assert '<p class="verdict worse">' not in page


# ------------------------------------------------------------------------------------------------------- the command


def test_the_command_in_words(delivered: Federation):
    """The round, a line for each member, the awaited members, and invalid messages."""
    flip(delivered.exchange / UPDATE.manifest, -20)
    head, columns, *members, waiting, then, refused = printed(
        "status", delivered.plan_file, delivered.exchange
    ).splitlines()
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
    assert " P02, since " in waiting
    assert "P02" in then
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
    assert found["refused"] == found["trouble"] == []
    assert (found["deadline"], found["late"]) == (None, {})
    by_name = {one["name"]: one for one in found["members"]}
    assert by_name["P03"]["state"] == "sealed"
    assert by_name["P03"]["bytes"] == manifest_of(delivered, replace(UPDATE, sender="P03")).payload.size
    assert by_name["P03"]["seconds_since"] >= 0
    assert by_name["P03"]["sign"] is None
    remove(delivered.exchange, UPDATE)
    post_sign(delivered, "P02", Sign(1_700_000_000, 1, 1, "sealing", 2))
    found = json.loads(printed("status", delivered.plan_file, delivered.exchange, "--json"))
    assert found["deadline"]["seconds_left"] <= 3600
    assert "void" in found["deadline"]["then"]
    assert found["trouble"] == ["P02"]
    sign = next(one["sign"] for one in found["members"] if one["name"] == "P02")
    assert (sign["step"], sign["exit_code"], sign["time"]) == ("sealing", 2, "2023-11-14T22:13:20Z")


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
