"""Deadlines, signs of life and of trouble, as `status` sees them."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.audit.member_states import RoundPlace, Status
from pipeline.audit.status_view import member_cells, watch
from pipeline.exchange.signs import SILENT_S, Sign, sign_name
from secure.messages.message_name import MessageName
from tests.support.audit.read_status import FOUR, look, member, post_sign, reader_of, time_of
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import (
    PAIRING,
    READY,
    ROSTER,
    SUM,
    UPDATE,
    at_round,
    body_of,
    digest_of,
    remove,
    say,
)


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
