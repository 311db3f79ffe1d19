"""What a run lets others know: signs of life and of trouble; and that none of it stops a run."""

import errno
import json
import shutil
from itertools import pairwise

import pytest

from data_prep.errors import DataError
from pipeline.errors import ConfigError, Equivocation, ExchangeUnreachable, ExitCode, NotYet
from pipeline.exchange.signs import ALIVE_S, Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.plan.plan import read_plan
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.runs.attendance import Attendance
from pipeline.runtime.progress import ProgressReporter
from pipeline.setup.doctor_exchange import examine_begun
from pipeline.tracking.tracker import read_member
from secure.keys.keys import load_private_keys
from tests.support.federation import Federation
from tests.support.runs.attended_runs import DONE, ME, ON, SECRET, Clock, Steps, ended, file_of, run, sign_of
from tests.support.waiting import wait_until

# ------------------------------------------------------------------------------------------------- life and trouble


def test_a_run_leaves_a_sign_of_life_and_at_its_end_the_last(federation: Federation, clock: Clock):
    """Partner, place and step, signed; nothing of what it says is content."""
    run(federation, clock, ON, DONE)
    assert sign_of(federation) == Sign(int(clock.now), 0, 0, "finished")
    body = json.loads(file_of(federation, "alive").read_bytes())["body"]
    assert body == {"round": 0, "attempt": 0, "step": "finished"}
    assert not file_of(federation, "trouble").exists()


def test_signs_of_life_come_no_more_often_than_agreed(federation: Federation, clock: Clock):
    """Short waits leave one every ten minutes; so do runs that cron starts more often."""
    times = []
    for _ in range(12):
        with pytest.raises(KeyboardInterrupt):
            run(federation, clock, NotYet("waiting"), 150, NotYet("waiting"), KeyboardInterrupt())
        times.append(sign_of(federation).time)
    gaps = {later - earlier for earlier, later in pairwise(times)} - {0}
    assert gaps
    assert min(gaps) >= ALIVE_S
    assert max(gaps) <= ALIVE_S + 150


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 3),
        (Equivocation("x"), 4),
        (OSError(errno.EACCES, "x"), 2),
        (KeyError(1), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_leaves_trouble(federation: Federation, clock: Clock, error: Exception, code: int):
    """Exit code, step and place; the text of the error stays at home."""
    error.args = (*error.args[:1], SECRET) if isinstance(error, OSError) else (SECRET,)
    ended(type(error), federation, clock, ON, error, step="preparation", place=(3, 2))
    found = sign_of(federation)
    assert (found.round_no, found.attempt, found.step, found.exit_code) == (3, 2, "preparation", code)
    assert b"active" not in file_of(federation, "trouble").read_bytes()


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), SystemExit(6), ExchangeUnreachable("x")], ids=lambda e: type(e).__name__
)
def test_a_stop_is_no_trouble_but_an_exchange_that_fails_for_good_is(
    federation: Federation, clock: Clock, stop: BaseException
):
    """Ctrl-C and SIGTERM end with 6, as a run that waits does."""
    ended(type(stop), federation, clock, stop)
    assert (sign_of(federation) is not None) == isinstance(stop, ExchangeUnreachable)


def test_trouble_stands_until_the_run_goes_on(federation: Federation, clock: Clock):
    """The same error again, as with cron, keeps the time of the first; a wait for others withdraws it."""
    ended(DataError, federation, clock, DataError("x"), step="preparation")
    first = sign_of(federation)
    for _ in range(3):
        clock.now += 3 * ALIVE_S
        ended(DataError, federation, clock, DataError("y"), step="preparation")
        assert sign_of(federation) == first
    ended(DataError, federation, clock, DataError("x"), step="reporting")
    other = sign_of(federation)
    assert (other.step, other.exit_code) == ("reporting", 3)
    ended(KeyboardInterrupt, federation, clock, NotYet("waiting"), KeyboardInterrupt())
    assert sign_of(federation).exit_code is None
    assert sign_of(federation).time > other.time


def test_a_long_step_withdraws_trouble_too(federation: Federation, clock: Clock):
    """A run that has worked for as long as signs of life are apart is no longer in trouble."""
    ended(DataError, federation, clock, DataError("x"))
    member, reporter = read_member(federation.config(ME), "partner"), ProgressReporter(ME)
    with Attendance(member, reporter, clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        assert sign_of(federation).exit_code == 3
        clock.now += ALIVE_S + 2
        attendance._tick()
        assert sign_of(federation).exit_code is None


def test_the_second_thread_leaves_signs_while_a_step_works(
    federation: Federation, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Nothing in the step itself asks for it."""
    monkeypatch.setattr("pipeline.runs.attendance._TICK_S", 0.01)

    class Busy:
        """A step that ends when a sign has come."""

        def advance(self) -> bool:
            before = sign_of(federation)
            clock.now += ALIVE_S
            wait_until(lambda: sign_of(federation) != before, pause_s=0.005)
            return False

    member, reporter = read_member(federation.config(ME), "partner"), ProgressReporter(ME)
    with Attendance(member, reporter, clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        reporter.step = "training"
        attendance.attend(Busy()).advance()
    assert sign_of(federation).step == "training"


def test_junk_under_its_name_silences_no_member(federation: Federation, clock: Clock):
    """The next run replaces it, and its signs are read again."""
    for kind in ("alive", "trouble"):
        file_of(federation, kind).parent.mkdir(exist_ok=True)
        file_of(federation, kind).write_text("junk")
    ended(KeyboardInterrupt, federation, clock, NotYet("waiting"), KeyboardInterrupt())
    assert (sign_of(federation).step, sign_of(federation).exit_code) == ("waiting", None)
    file_of(federation, "alive").write_text("junk")
    ended(DataError, federation, clock, DataError("x"))
    assert sign_of(federation).exit_code == ExitCode.DATA


def test_junk_of_one_member_hides_no_other(federation: Federation, clock: Clock, capsys: pytest.CaptureFixture[str]):
    """The trouble of P03 is in the log, and a warning that names P01."""
    board = SignBoard(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))
    board.post(load_private_keys(federation.home("P03").keys), Sign(int(clock.now), 1, 1, "training", 5))
    (federation.exchange / sign_name("alive", "P01").manifest).write_text("junk")
    clock.now += ALIVE_S
    ended(KeyboardInterrupt, federation, clock, NotYet("x"), KeyboardInterrupt())
    log = capsys.readouterr().err
    assert "P03 ended with exit code 5" in log
    assert log.count("a sign of P01 is wrong") == 1


def test_a_clock_that_was_ahead_stops_no_signs(federation: Federation, clock: Clock):
    """A sign of next year is followed by others, but not by one at every wait."""
    right = clock.now
    clock.now += 1e7
    ended(KeyboardInterrupt, federation, clock, NotYet("x"), KeyboardInterrupt())
    ahead, clock.now = sign_of(federation), right
    ended(KeyboardInterrupt, federation, clock, NotYet("x"), 15, NotYet("x"), KeyboardInterrupt())
    assert sign_of(federation).time == ahead.time + 1


def test_a_thread_that_hangs_does_not_hold_up_the_end(
    federation: Federation, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As with a network folder that no longer answers: the run ends, with a warning."""
    monkeypatch.setattr("pipeline.runs.own_signs._LOCK_S", 0.01)
    member = read_member(federation.config(ME), "partner")
    with Attendance(member, ProgressReporter(ME), clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        with attendance._signs._lock:
            assert not attendance.finished()
    assert "does not answer" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- no exchange


def test_a_finished_run_posts_nothing_into_an_empty_folder(federation: Federation, clock: Clock):
    """The last sign is missing, which the run knows."""
    member = read_member(federation.config(ME), "partner")
    with Attendance(member, ProgressReporter(ME), clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        shutil.rmtree(federation.exchange)
        federation.exchange.mkdir()
        assert not attendance.finished()
    assert list(federation.exchange.iterdir()) == []


def test_an_exchange_that_is_no_longer_mounted_is_waited_for(federation: Federation, clock: Clock):
    """An empty folder where the exchange was: no file is posted into it, and it counts as not answering."""
    hidden = federation.folder / "hidden"
    federation.exchange.rename(hidden)
    federation.exchange.mkdir()
    with pytest.raises(ExchangeUnreachable, match="nothing of this plan"):
        run(federation, clock, DONE)
    with pytest.raises(ExchangeUnreachable, match="nothing of this plan"):
        federation.partner(ME).advance()
    assert list(federation.exchange.iterdir()) == []
    (finding,) = examine_begun(read_member(federation.config(ME), "partner").config, read_plan(federation.plan_file))
    assert (finding.level, finding.code) == ("wrong", ExitCode.CONFIGURATION)
    federation.exchange.rmdir()
    hidden.rename(federation.exchange)
    run(federation, clock, DONE)


def test_an_exchange_that_goes_away_while_others_are_awaited(federation: Federation, clock: Clock):
    """What comes then is not "waiting for the roster", which would go on for ever."""

    class Vanishing:
        """A step during which a share is unmounted."""

        def advance(self) -> bool:
            shutil.rmtree(federation.exchange)
            raise NotYet("waiting for the roster")

    member = read_member(federation.config(ME), "partner")
    with Attendance(member, ProgressReporter(ME), clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        with pytest.raises(ExchangeUnreachable, match="nothing of this plan"):
            attendance.attend(Vanishing()).advance()


def test_a_new_or_mistyped_exchange_is_named_and_stays_empty(fresh: Federation, clock: Clock):
    """Who is not the custodian waits, says what is the matter, and leaves nothing in the wrong folder."""
    member = read_member(fresh.config(ME), "partner")
    with Attendance(member, ProgressReporter(ME), clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        with pytest.raises(NotYet, match="nothing of this plan") as caught:
            attendance.attend(Steps(clock, NotYet("waiting for deal of P01"))).advance()
    assert "deal of P01" in str(caught.value)
    assert "P01" in caught.value.__notes__[0]
    assert not fresh.exchange.exists()


def test_an_exchange_that_takes_no_signs_stops_nothing(
    federation: Federation, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A storage that refuses replacement gives one warning, however often it is tried."""

    def refuse(_: Exchange, __: bytes, path: str) -> None:
        raise ExchangeUnreachable(f"{path}: cannot be written: not allowed")

    monkeypatch.setattr(Exchange, "replace", refuse)
    run(federation, clock, 700, NotYet("x"), 700, ON, 700, NotYet("x"), DONE)
    assert capsys.readouterr().err.count("cannot be written: not allowed") == 1
