"""`hocket status`: every member's state, from valid signed messages alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.audit.member_states import RoundPlace
from pipeline.audit.status import StatusReader
from pipeline.errors import ExchangeError, ExitCode
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.plan.plan import read_plan
from secure.messages.message_name import MessageName
from tests.support.audit.read_status import FOUR, everybody, look, member, states
from tests.support.cli_runner import refused
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.signed_transcripts import (
    PAIRING,
    READY,
    ROSTER,
    SUM,
    UPDATE,
    at_round,
    body_of,
    digest_of,
    flip,
    manifest_of,
    remove,
    say,
)

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
