"""`hocket verify`: a true transcript is listed round by round, and each way to damage one is refused by name."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from pipeline.audit.verify import audit
from pipeline.errors import ExchangeError
from pipeline.exchange.storage import open_exchange
from pipeline.plan.plan import read_plan
from secure.encoding.canonical import digest
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import (
    ALL,
    DEAL,
    NOW,
    PAIRING,
    READY,
    ROSTER,
    SUM,
    UPDATE,
    at_round,
    body_of,
    make_void,
    manifest_of,
    outcomes,
    remove,
    run_audit,
    say,
    unrelease,
)

LATE = MessageName("ready", 1, 2, "P03")


@pytest.fixture
def voided_copy(voided: Federation, tmp_path: Path) -> Federation:
    """A copy of it that a test may change."""
    return voided.moved(tmp_path / "federation")


# --------------------------------------------------------------------------------------------- true transcripts


def test_a_finished_transcript_lists_every_round(finished: Federation):
    """Each round once: roster, sum added again, sizes and times; and who enrolled."""
    trail = run_audit(finished)
    assert outcomes(finished) == [(1, 1, "sum"), (2, 1, "sum")]
    for found in trail.attempts:
        assert (found.roster, found.left_out, found.missing, found.gone, found.recomputed) == (ALL, (), (), (), True)
        folder = finished.exchange / at_round(SUM, found.round_no).folder
        assert found.update_bytes == {name: (folder / f"update.{name}.arrow").stat().st_size for name in ALL}
        assert found.sum_bytes == (folder / "sum.agg.arrow").stat().st_size
        assert {kind: sorted(times) for kind, times in found.signed.items()} == {
            "ready": list(ALL), "roster": [AGGREGATOR], "update": list(ALL), "sum": [AGGREGATOR], "release": list(ALL)
        }  # fmt: skip
        assert found.signed["update"]["P02"] == manifest_of(finished, at_round(UPDATE, found.round_no)).time
    assert sorted(trail.last_trunk) == list(ALL)
    assert trail.group == body_of(finished, DEAL)["group"]
    assert (trail.dealt, sorted(trail.paired)) == (manifest_of(finished, DEAL).time, list(ALL))
    assert trail.n_files == sum(path.is_file() for path in finished.exchange.rglob("*"))
    assert trail.n_signatures == len(list(finished.exchange.rglob("*.json")))
    assert (trail.n_sums, trail.n_recomputed, trail.notes, trail.warnings) == (2, 2, (), ())


def test_the_audit_changes_nothing_and_needs_no_home(done: Federation):
    """Plan and exchange are enough, and stay as they are."""
    for name in (*ALL, AGGREGATOR):
        shutil.rmtree(done.folder / name)
    before = {path: path.read_bytes() for path in done.exchange.rglob("*") if path.is_file()}
    run_audit(done)
    assert {path: path.read_bytes() for path in done.exchange.rglob("*") if path.is_file()} == before


def test_a_transcript_in_an_object_store_is_audited_too(finished: Federation):
    """Any storage that fsspec knows."""
    room = f"memory://{uuid4().hex}"
    fsspec.filesystem("memory").put(f"{finished.exchange}/", f"{room}/", recursive=True)
    assert audit(read_plan(finished.plan_file), open_exchange(room), now=NOW) == run_audit(finished)


def test_a_quick_audit_adds_nothing_again(finished: Federation):
    """And says so."""
    trail = run_audit(finished, recompute=False)
    assert (trail.n_sums, trail.n_recomputed) == (2, 0)


def test_progress_is_told_by_attempts(finished: Federation):
    """From the first to the last."""
    told: list[tuple[int, int]] = []
    run_audit(finished, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_an_unfinished_transcript_is_open(done: Federation):
    """An attempt without outcome is listed as open."""
    unrelease(done, 2)
    for path in (SUM.manifest, SUM.payload):
        (done.exchange / path.replace("round-0001", "round-0002")).unlink()
    assert outcomes(done) == [(1, 1, "sum"), (2, 1, "open")]


def test_a_payload_whose_manifest_is_still_to_come_is_no_damage(done: Federation):
    """Payloads are posted first; it is noted."""
    last = MessageName("sum", 2, 1, AGGREGATOR)
    unrelease(done, 2)
    (done.exchange / last.manifest).unlink()
    trail = run_audit(done)
    assert outcomes(done) == [(1, 1, "sum"), (2, 1, "open")]
    assert len(trail.notes) == 1
    assert trail.notes[0].startswith(f"{last.payload}: has no manifest")
    assert trail.warnings == ()


def test_an_attempt_without_a_roster_is_open(done: Federation):
    """Partners that are ready for a round that was never called."""
    unrelease(done, 2)
    shutil.rmtree(done.exchange / "round-0002" / "attempt-01")
    name = MessageName("ready", 2, 1, "P01")
    say(done, name, body_of(done, MessageName("ready", 1, 1, "P01")), time=NOW)
    found = run_audit(done).attempts[-1]
    assert (found.round_no, found.attempt, found.outcome, found.roster) == (2, 1, "open", ())
    assert found.signed == {"ready": {"P01": NOW}}


def test_an_enrolment_alone_has_no_attempts(done: Federation):
    """Verified, though no round has begun."""
    for round_no in (1, 2, 3):
        shutil.rmtree(done.exchange / f"round-000{round_no}")
    assert run_audit(done).attempts == ()
    remove(done.exchange, PAIRING)
    assert sorted(run_audit(done).paired) == ["P01", "P03"]
    remove(done.exchange, DEAL, MessageName("pairing", 0, 0, "P01"))
    assert run_audit(done).dealt is None


def test_a_void_attempt_is_followed_by_another(done: Federation):
    """Attempt 1 of round 2 void for want of an update that is not there, attempt 2 open."""
    make_void(done, 2, "P02")
    remove(done.exchange, at_round(UPDATE, 2))
    say(done, at_round(READY, 2, 2), body_of(done, at_round(READY, 2)), time=NOW)
    assert outcomes(done) == [(1, 1, "sum"), (2, 1, "void"), (2, 2, "open")]
    trail = run_audit(done)
    assert trail.attempts[1].missing == ("P02",)
    assert (trail.n_sums, trail.warnings) == (1, ())


def test_a_void_although_the_update_is_here_is_warned_of(done: Federation):
    """It may have come too late, or the aggregator lies: the warning names whom to ask."""
    make_void(done, 2, "P02", "P03")
    remove(done.exchange, MessageName("update", 2, 1, "P03"))
    (warning,) = run_audit(done).warnings
    assert re.match(r"round 2, attempt 1: void .*update of P02 \(.*\bask P02\b", warning)
    assert "P03" not in warning


def test_a_void_through_real_members(voided: Federation):
    """P03 called and missing in the first attempt, left out of the second; nothing to warn of."""
    trail = run_audit(voided)
    first, second = trail.attempts
    assert (first.outcome, first.roster, first.missing, first.left_out) == (
        "void",
        tuple(voided.partners),
        ("P03",),
        (),
    )
    assert sorted(first.update_bytes) == ["P01", "P02", "P04"]
    assert (second.outcome, second.roster, second.left_out) == ("sum", ("P01", "P02", "P04"), ("P03",))
    assert (first.recomputed, second.recomputed) == (False, True)
    assert trail.notes == ("P03 has not signed the last trunk yet",)  # it was never seen again
    assert trail.warnings == ()


def late_ready(federation: Federation, **change: str) -> None:
    """P03 posts ready after the second attempt's roster was closed."""
    say(federation, LATE, body_of(federation, replace(LATE, attempt=1)) | change, time=1)


def test_a_ready_after_the_roster_was_closed_is_no_harm(voided_copy: Federation):
    """A partner that is late is left out, and has done nothing wrong."""
    before = outcomes(voided_copy)
    late_ready(voided_copy)
    assert outcomes(voided_copy) == before
    assert not [warning for warning in run_audit(voided_copy).warnings if "ready messages name" in warning]


@pytest.mark.parametrize("what", ["trunk", "preparation"])
def test_a_late_ready_from_elsewhere_is_warned_of(voided_copy: Federation, what: str):
    """The aggregator did not look at it, but somebody should."""
    late_ready(voided_copy, **{what: digest(b"another")})
    (warning,) = [warning for warning in run_audit(voided_copy).warnings if "ready messages name" in warning]
    assert re.match(rf"round 1, attempt 2: .*\b{what}: P01 ", warning)
    assert f"P03 {digest(b'another')[:12]}" in warning


def test_diverged_partners_that_were_never_called_are_warned_of(done: Federation):
    """The aggregator stops there; the transcript is sound."""
    unrelease(done, 2)
    remove(done.exchange, *(MessageName(kind, 2, 1, name) for kind in ("ready", "update") for name in ("P01", "P02")))
    remove(done.exchange, MessageName("ready", 2, 1, "P03"), MessageName("update", 2, 1, "P03"))
    remove(done.exchange, at_round(ROSTER, 2), at_round(SUM, 2))
    for name, trunk in (("P01", b"one"), ("P02", b"other")):
        ready = MessageName("ready", 2, 1, name)
        say(done, ready, body_of(done, at_round(ready, 1)) | {"trunk": digest(trunk)}, time=NOW)
    (warning,) = run_audit(done).warnings
    assert re.match(r"round 2, attempt 1: .*\btrunk\b", warning)


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_nothing_to_check_is_not_passed(finished: Federation, tmp_path: Path, place: str):
    """A mistyped folder must not look like a sound transcript."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExchangeError, match=f"{place}: holds no message"):
        audit(read_plan(finished.plan_file), open_exchange(f"file://{tmp_path}/{place}"), now=NOW)
