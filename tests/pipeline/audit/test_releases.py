"""Releases and the closing round before `hocket verify`, `status` and `report`: who is awaited, and what is refused."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pipeline.runs.partner_run
from pipeline.audit.member_states import Status
from pipeline.audit.status import StatusReader
from pipeline.audit.status_view import closing, status_json
from pipeline.errors import BrokenTranscript, Diverged, Equivocation
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report, report_file
from pipeline.runs.last_trunk import confirm_trunk
from pipeline.runs.report import current_report
from secure.errors import WrongRelease
from secure.messages.message_name import MessageName
from tests.support.cli_runner import printed
from tests.support.federation import AGGREGATOR, Federation, step
from tests.support.hostile_members import OTHER, call_roster, ready_digests
from tests.support.signed_transcripts import at_round, body_of, digest_of, ready_of, run_audit, say

RELEASE = MessageName("release", 1, 1, "P02")
LAST_RELEASE = at_round(RELEASE, 2)
CLOSING = MessageName("ready", 3, 1, "P02")  # of two rounds


@pytest.fixture
def done(finished: Federation, tmp_path: Path) -> Federation:
    """A finished federation that a test may change."""
    return finished.moved(tmp_path / "f")


def status_of(federation: Federation) -> Status:
    """The status that anybody sees."""
    return StatusReader(read_plan(federation.plan_file), Exchange(f"file://{federation.exchange}")).read_status()


def test_a_round_is_over_when_all_have_released(done: Federation):
    """Without P02's release of the last round nobody can open its sum: it is awaited, and `status` says what to ask."""
    done.posted(LAST_RELEASE).unlink()
    status = status_of(done)
    assert not status.is_finished
    assert status.n_summed == 1
    assert status.awaited == status.unreleased == ("P02",)
    assert status_json(status, read_plan(done.plan_file), time.time())["unreleased"] == ["P02"]
    states = {member.name: member.state for member in status.members}
    assert states == {AGGREGATOR: "summed", "P01": "released", "P02": "summed", "P03": "released"}
    assert any("P02 has released" in line and "outside the exchange" in line for line in closing(status, time.time()))
    assert status.deadline is None
    for name in done.partners:
        done.posted(ready_of(name, 3)).unlink()
    trail = run_audit(done)
    assert any("P02 has not released" in note for note in trail.notes)
    assert trail.attempts[1].unreleased == ("P02",)


Change = Callable[[Federation], None]


def change_release(**fields: object) -> Change:
    """P02 signs another release."""
    return lambda federation: say(federation, RELEASE, body_of(federation, RELEASE) | fields)


def release_again(federation: Federation) -> None:
    """P02 signs a release for another attempt too."""
    say(federation, at_round(RELEASE, 1, 2), body_of(federation, RELEASE) | {"roster": OTHER})


def release_without_sum(federation: Federation) -> None:
    """The aggregator takes the last sum away that P02 has released for."""
    for path in (federation.posted(at_round(MessageName("sum", 1, 1, AGGREGATOR), 2)), federation.posted(CLOSING)):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (change_release(roster=OTHER), Equivocation, f"P02 has released for roster {OTHER}"),
        (change_release(seed="A" * 43 + "="), WrongRelease, "P02 commits"),
        (release_again, Equivocation, "P02 has released twice in a round"),
        (release_without_sum, BrokenTranscript, "release of P01"),
    ],
    ids=["roster", "seed", "twice", "no sum"],
)
def test_a_release_that_does_not_fit_is_refused(
    done: Federation, change: Change, error: type[Exception], said: str
) -> None:
    """A-4, L-1 and L-2 before an auditor: two releases of one partner name both rosters."""
    change(done)
    with pytest.raises(error, match=said) as caught:
        run_audit(done)
    if change is release_again:
        assert any(OTHER in line and "released twice" in line for line in status_of(done).refused)
        assert body_of(done, RELEASE)["roster"] in str(caught.value)
        assert OTHER in str(caught.value)


@pytest.mark.parametrize("fields", [{"seed": "A" * 43 + "="}, {"roster": OTHER}], ids=["seed", "roster"])
def test_status_awaits_who_released_something_else(done: Federation, fields: dict[str, object]):
    """A wrong seed, or one for another roster, opens nothing: status names its sender, and needs no key to see it."""
    say(done, LAST_RELEASE, body_of(done, LAST_RELEASE) | fields)
    status = status_of(done)
    assert not status.is_finished
    assert status.unreleased == ("P02",)
    assert any("release of P02" in line for line in status.refused)


def test_a_release_beside_a_void_is_refused(voided: Federation, tmp_path: Path):
    """Equivocation that says whom to ask: who released was shown a sum, or made its release up."""
    federation = voided.moved(tmp_path / "f")
    at = digest_of(federation, MessageName("roster", 1, 1, AGGREGATOR))
    later = body_of(federation, MessageName("release", 1, 2, "P01"))
    federation.posted(MessageName("release", 1, 2, "P01")).unlink()
    say(federation, MessageName("release", 1, 1, "P01"), later | {"roster": at})
    with pytest.raises(Equivocation, match="P01 has released") as caught:
        run_audit(federation)
    assert "ask P01" in caught.value.__notes__[0]


# --------------------------------------------------------------------------------------------------------- closing


def advance_to_end(federation: Federation, name: str) -> None:
    """Let a newly opened partner advance until its run is done."""
    partner = federation.partner(name)
    while partner.advance():
        pass


def test_another_last_trunk_is_named(done: Federation):
    """A forged last sum at P02 shows in its closing ready: P01 stops with Diverged, status and verify name it too."""
    say(done, CLOSING, body_of(done, CLOSING) | {"trunk": OTHER})
    with pytest.raises(Diverged, match="P02 ends with trunk"):
        advance_to_end(done, "P01")
    with pytest.raises(Diverged, match="different trunks"):
        run_audit(done)
    assert any("P02" in line and "different trunks" in line for line in status_of(done).refused)


def test_the_report_says_who_has_not_confirmed(done: Federation):
    """It is made at once; `hocket report` completes it as soon as the last one has signed its trunk."""
    posted = done.posted(CLOSING)
    data = posted.read_bytes()
    posted.unlink()
    plan, home = read_plan(done.plan_file), done.home("P01")
    assert read_report(home).unconfirmed is None
    assert confirm_trunk(home, plan, open_exchange(f"file://{done.exchange}")) == ["P02"]
    assert current_report(done.config("P01")).unconfirmed == ["P02"]
    assert "P02 has not confirmed" in printed("report", str(done.config("P01")))
    assert status_of(done).unconfirmed == ("P02",)
    assert any("P02 has not signed" in note for note in run_audit(done).notes)
    of_all = {path: path.read_bytes() for path in posted.parent.iterdir() if path.name != posted.name}
    for path in of_all:
        path.unlink()
    assert any("P01, P02, P03 have not signed" in note for note in run_audit(done).notes)
    for path, content in of_all.items():
        path.write_bytes(content)
    posted.write_bytes(data)
    assert current_report(done.config("P01")).unconfirmed is None
    assert status_of(done).unconfirmed == ()


def test_a_report_confirms_nothing_before_it_has_looked(done: Federation, monkeypatch: pytest.MonkeyPatch):
    """A run that ends between the report and the others' last trunks leaves all partners unconfirmed."""

    def killed(*_: object) -> list[str]:
        raise KeyboardInterrupt

    home = done.home("P01")
    report_file(home).unlink()
    monkeypatch.setattr(pipeline.runs.partner_run, "confirm_trunk", killed)
    with pytest.raises(KeyboardInterrupt):
        advance_to_end(done, "P01")
    assert read_report(home).unconfirmed == done.partners
    assert current_report(done.config("P01")).unconfirmed is None


# -------------------------------------------------------------------------------------------------------- left out


def test_a_partner_left_out_though_ready_is_warned_of(
    ready: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`verify`, `status` and its own log: its ready was signed before the roster that lacks it."""
    federation = ready.moved(tmp_path / "f")
    call_roster(federation, ready_digests(federation, "P01", "P02", "P03"))
    roster = MessageName("roster", 1, 1, AGGREGATOR)
    say(federation, roster, body_of(federation, roster), time=4_000_000_000 - 1)
    assert run_audit(federation).attempts[0].left_out_ready == ("P04",)
    assert any("lacks P04, whose ready" in warning for warning in run_audit(federation).warnings)
    (member,) = (member for member in status_of(federation).members if member.name == "P04")
    assert (member.state, "ask the aggregator" in member.note) == ("left out", True)
    partner = federation.partner("P04")
    while step(partner) == "on":
        pass
    assert "the roster lacks P04" in capsys.readouterr().err
    assert not federation.posted(ready_of("P04", 1, 2)).exists()
