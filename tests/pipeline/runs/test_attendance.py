"""What a run lets others know: signs of life and of trouble, notices, metrics; and that none of it stops a run."""

import errno
import json
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.runs.jobs
from data_prep.errors import DataError
from pipeline.errors import ConfigError, Equivocation, ExchangeUnreachable, ExitCode, NotYet
from pipeline.exchange.signs import ALIVE_S, Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.plan.plan import read_plan
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.runs.attendance import Attendance
from pipeline.runtime.openmetrics import Gauge, openmetrics
from pipeline.runtime.progress import ProgressReporter
from pipeline.setup.doctor_exchange import examine_begun
from pipeline.tracking.tracker import read_member
from secure.keys.keys import load_private_keys
from tests.support.cli_runner import hocket, printed
from tests.support.federation import AGGREGATOR, Federation
from tests.support.tracking.no_tracker import NoTracker
from tests.support.transport.notice_server import NoticeServer, notice_server
from tests.support.waiting import wait_until

ME = "P02"
ON, DONE = True, False  # what a step machine answers
SECRET = "CC(=O)Oc1ccccc1C(=O)O is active"  # noqa: S105 -- a structure and a label, which no notice may have


class Clock:
    """A clock that tests set; it begins now, because files have the machine's times."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


class Steps:
    """A step machine with given outcomes: ON, DONE or an error; a number before one moves the clock."""

    def __init__(self, clock: Clock, *outcomes: object) -> None:
        self._clock, self._left = clock, list(outcomes)

    def advance(self) -> bool:
        """The next outcome."""
        outcome = self._left.pop(0)
        if type(outcome) in (int, float):
            self._clock.now += outcome
            outcome = self._left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return bool(outcome)


@pytest.fixture
def clock() -> Clock:
    """The clock of every run in a test."""
    return Clock()


@pytest.fixture
def federation(ready: Federation, tmp_path: Path) -> Federation:
    """Four partners that are ready for round 1; a test may change it."""
    return ready.moved(tmp_path / "federation")


@pytest.fixture
def server() -> Iterator[NoticeServer]:
    """A server that takes notices."""
    with notice_server() as taking:
        yield taking


def configure(federation: Federation, lines: str, name: str = ME) -> None:
    """Add a table [notify]."""
    with federation.config(name).open("a") as config:
        config.write(f"\n[notify]\n{lines}\n")


def run(
    federation: Federation, clock: Clock, *outcomes: object, step: str = "training", place: tuple[int, int] = (1, 1)
):
    """A run of P02 whose machine has these outcomes; ends as the machine does. Waits are gone on from."""
    member = read_member(federation.config(ME), "partner")
    reporter = ProgressReporter(ME)
    with Attendance(member, reporter, clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        reporter.set_round(*place)
        machine = attendance.attend(Steps(clock, *outcomes))
        while True:
            reporter.step = step
            try:
                if not machine.advance():
                    break
            except NotYet:
                pass
        reporter.set_round()
        attendance.finished()


def ended(error: type[BaseException], federation: Federation, clock: Clock, *outcomes: object, **options: Any) -> None:  # noqa: ANN401 -- those of `run`
    """A run that ends with this error."""
    with pytest.raises(error):
        run(federation, clock, *outcomes, **options)


def sign_of(federation: Federation, name: str = ME) -> Sign | None:
    """A member's newest sign in the exchange, verified."""
    return SignBoard(read_plan(federation.plan_file), Exchange(f"file://{federation.exchange}")).latest(name)


def file_of(federation: Federation, kind: str) -> Path:
    """P02's sign of a kind."""
    return federation.exchange / sign_name(kind, ME).manifest


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


def test_a_long_wait_for_a_wrong_exchange_is_told(
    fresh: Federation, clock: Clock, server: NoticeServer, tmp_path: Path
):
    """Of a mistyped exchange, and of one that did not answer when the run was started; without its path."""
    federation = fresh.moved(tmp_path / "fresh")
    configure(federation, f'webhook = "{server.address}"\nwaiting_s = 60')
    member = read_member(federation.config(ME), "partner")
    with Attendance(member, ProgressReporter(ME), clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        with pytest.raises(NotYet):
            attendance.attend(Steps(clock, 61, NotYet("waiting for deal of P01"))).advance()
    clock.now += 1000
    with Attendance(member, ProgressReporter(ME), clock) as attendance, pytest.raises(ExchangeUnreachable):
        attendance.attend_call(lambda: Steps(clock, 61, ExchangeUnreachable("/secret/path: gone")).advance())()
    assert [notice["event"] for notice in server.notices] == ["waiting", "waiting"]
    mistyped, unreachable = (notice["text"] for notice in server.notices)
    assert "nothing of this plan" in mistyped
    assert "does not answer" in unreachable
    assert str(federation.exchange) not in mistyped
    assert "secret" not in unreachable


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


# ------------------------------------------------------------------------------------------------------------- notices


def test_a_webhook_gets_each_event_once(federation: Federation, clock: Clock, server: NoticeServer):
    """Trouble, a wait that is long, the end: as JSON that a chat service shows, without anything of the data."""
    configure(federation, f'webhook = "{server.address}"\nwaiting_s = 3600')
    for _ in range(2):
        ended(DataError, federation, clock, DataError(SECRET), step="preparation")
    clock.now += 3601
    ended(KeyboardInterrupt, federation, clock, NotYet("waiting for the roster"), KeyboardInterrupt())
    run(federation, clock, NotYet("waiting for the roster"), DONE)
    run(federation, clock, DONE)
    assert [(notice["event"], notice["about"]) for notice in server.notices] == [
        ("trouble", ME),
        ("waiting", ME),
        ("finished", ME),
    ]
    trouble, waiting, _ = server.notices
    assert (trouble["exit_code"], trouble["step"], trouble["round"]) == (3, "preparation", 1)
    assert "exit code 3" in trouble["text"]
    assert "the roster" in waiting["text"]
    assert set(server.types) == {"application/json"}
    assert "active" not in json.dumps(server.notices)
    assert str(federation.folder) not in json.dumps(server.notices)


def test_trouble_after_a_recovery_is_told_again(federation: Federation, clock: Clock, server: NoticeServer):
    """The same error later is another fact."""
    configure(federation, f'webhook = "{server.address}"')
    ended(DataError, federation, clock, DataError("x"))
    ended(KeyboardInterrupt, federation, clock, NotYet("waiting"), KeyboardInterrupt())
    ended(DataError, federation, clock, DataError("x"))
    assert [notice["event"] for notice in server.notices] == ["trouble", "trouble"]


def test_a_notice_is_not_repeated_if_it_cannot_be_noted(
    federation: Federation, clock: Clock, server: NoticeServer, monkeypatch: pytest.MonkeyPatch
):
    """A run on a full disk waits for long, and tells it once."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.runs.notices.write_json", full)
    configure(federation, f'webhook = "{server.address}"\nwaiting_s = 60')
    waits = [NotYet("x")] * 3
    ended(KeyboardInterrupt, federation, clock, 1000, *waits, KeyboardInterrupt())
    assert [notice["event"] for notice in server.notices] == ["waiting"]


def test_another_member_in_trouble_is_named(
    federation: Federation, clock: Clock, server: NoticeServer, capsys: pytest.CaptureFixture[str]
):
    """Who waits for P03 learns why, in the log and by a notice, once."""
    configure(federation, f'webhook = "{server.address}"')
    board = SignBoard(read_plan(federation.plan_file), open_exchange(f"file://{federation.exchange}"))
    trouble = board.post(load_private_keys(federation.home("P03").keys), Sign(int(clock.now), 1, 1, "training", 5))
    for _ in range(2):
        clock.now += ALIVE_S
        ended(KeyboardInterrupt, federation, clock, NotYet("x"), NotYet("x"), KeyboardInterrupt())
    (notice,) = server.notices
    assert (notice["event"], notice["about"], notice["sender"]) == ("trouble", "P03", ME)
    assert (notice["exit_code"], notice["step"]) == (trouble.exit_code, trouble.step)
    assert capsys.readouterr().err.count("P03 ended with exit code 5") == 2  # a line in each run's log


def test_a_void_is_told(federation: Federation, clock: Clock, server: NoticeServer):
    """With the members that did not deliver."""
    configure(federation, f'webhook = "{server.address}"\nevents = ["void"]')
    member, reporter = read_member(federation.config(ME), "partner"), ProgressReporter(ME)
    with Attendance(member, reporter, clock) as attendance:
        attendance.begin(open_partner_mailbox(member.config, clock))
        for attempt in (1, 1, 2):
            reporter.set_round(4, attempt)
            reporter.announce("void", f"round 4, attempt {attempt}: void, the aggregator misses P03", missing=["P03"])
        attendance.finished()
    assert [(notice["event"], notice["attempt"], notice["missing"]) for notice in server.notices] == [
        ("void", 1, ["P03"]),
        ("void", 2, ["P03"]),
    ]


def test_a_command_gets_the_notice(federation: Federation, clock: Clock):
    """On its standard input, in the folder of the configuration."""
    script = federation.folder / ME / "tell.sh"
    script.write_text("#!/bin/sh\ncat > told.$1\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    configure(federation, 'command = ["./tell.sh", "json"]')
    run(federation, clock, DONE)
    told = json.loads((script.parent / "told.json").read_text())
    assert (told["event"], told["about"], told["federation"]) == ("finished", ME, "small")


@pytest.mark.parametrize("code", [302, 404, 500])
def test_a_server_that_refuses_stops_nothing(
    federation: Federation, clock: Clock, code: int, capsys: pytest.CaptureFixture[str]
):
    """The log says so, without the address's secret path; a redirect is not followed."""
    with notice_server(code) as refusing:
        configure(federation, f'webhook = "{refusing.address}"')
        run(federation, clock, DONE)
    assert (len(refusing.notices), refusing.n_others) == (1, 0)
    warning = capsys.readouterr().err
    assert f"answers {code}" in warning
    assert "T0KEN" not in warning


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('webhook = "http://127.0.0.1:1/T0KEN"', "cannot be reached"),
        ('command = ["/nosuch/program"]', "cannot be started"),
        (f'command = ["{sys.executable}", "-c", "raise SystemExit(7)"]', "ended with 7"),
        ('metrics_file = "/nosuch/folder/hocket.prom"', "/nosuch/folder"),
    ],
)
def test_what_cannot_be_told_stops_nothing(
    federation: Federation, clock: Clock, lines: str, named: str, capsys: pytest.CaptureFixture[str]
):
    """The run ends as it would, and the log says why a notice failed."""
    configure(federation, lines)
    run(federation, clock, ON, DONE)
    assert sign_of(federation).step == "finished"
    warning = capsys.readouterr().err
    assert "warning: " in warning
    assert named in warning
    assert "T0KEN" not in warning


def test_an_exchange_that_takes_no_signs_stops_nothing(
    federation: Federation, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A storage that refuses replacement gives one warning, however often it is tried."""

    def refuse(_: Exchange, __: bytes, path: str) -> None:
        raise ExchangeUnreachable(f"{path}: cannot be written: not allowed")

    monkeypatch.setattr(Exchange, "replace", refuse)
    run(federation, clock, 700, NotYet("x"), 700, ON, 700, NotYet("x"), DONE)
    assert capsys.readouterr().err.count("cannot be written: not allowed") == 1


@pytest.mark.parametrize(
    "lines", ['webhook = "ftp://example/x"', 'events = ["nosuch"]', "waiting_s = 0", "command = [1]", 'comand = ["x"]']
)
def test_wrong_settings_are_refused(federation: Federation, lines: str):
    """Before anything begins."""
    configure(federation, lines)
    with pytest.raises(ConfigError, match=r"notify"):
        read_member(federation.config(ME), "partner")


# -------------------------------------------------------------------------------------------------- the whole commands


def test_a_partner_with_a_wrong_table_is_seen_by_all(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """`partner run` ends with 3, `status` names partner, code and step; when it goes on, nothing is left of it.

    `verify` checks the signs all the time.
    """
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)
    table = federation.folder / "P03" / "T1.csv"
    right = table.read_bytes()
    table.write_bytes(b"nothing,of,this\n1,2,3\n")
    assert hocket("partner", "run", federation.config("P03"), "--once").exit_code == ExitCode.DATA
    status = json.loads(printed("status", federation.plan_file, federation.exchange, "--json"))
    (member,) = (one for one in status["members"] if one["name"] == "P03")
    assert status["trouble"] == ["P03"]
    assert (member["sign"]["exit_code"], member["sign"]["step"]) == (3, "preparation")
    assert hocket("verify", federation.plan_file, federation.exchange).exit_code == ExitCode.DONE
    table.write_bytes(right)
    assert hocket("partner", "run", federation.config("P03"), "--once").exit_code == ExitCode.NOT_YET
    assert hocket("aggregator", "run", federation.config(AGGREGATOR), "--once").exit_code == ExitCode.NOT_YET
    status = json.loads(printed("status", federation.plan_file, federation.exchange, "--json"))
    assert (status["trouble"], status["late"]) == ([], {})
    signs = {one["name"]: one["sign"] and one["sign"]["step"] for one in status["members"]}
    assert (signs["P03"], signs[AGGREGATOR], signs["P01"]) == ("waiting", "waiting", None)
    assert hocket("verify", federation.plan_file, federation.exchange).exit_code == ExitCode.DONE


def test_a_later_start_tells_what_a_finished_run_could_not(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, server: NoticeServer
):
    """The last sign and the notice, once; then nothing is left to tell."""
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)
    configure(federation, f'webhook = "{server.address}"')
    home, hidden = federation.home(ME), federation.folder / "hidden"
    home.finished.write_text(json.dumps({"plan": read_plan(federation.plan_file).digest, "told": False}))
    federation.exchange.rename(hidden)
    federation.exchange.mkdir()
    assert hocket("partner", "run", federation.config(ME)).exit_code == ExitCode.DONE
    assert not json.loads(home.finished.read_text())["told"]
    federation.exchange.rmdir()
    hidden.rename(federation.exchange)
    for _ in range(2):
        assert hocket("partner", "run", federation.config(ME)).exit_code == ExitCode.DONE
    assert sign_of(federation).step == "finished"
    assert json.loads(home.finished.read_text())["told"]
    assert [notice["event"] for notice in server.notices] == ["finished"]


# ------------------------------------------------------------------------------------------------------------- metrics

LINE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\n"])*",?)*)\} (-?[0-9.]+(?:e[+-]?[0-9]+)?)')


def unescaped(text: str) -> str:
    """A label's value as it was."""
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def parsed(text: str) -> dict[str, tuple[dict[str, str], float]]:
    """The gauges of an OpenMetrics file by name; every line must be one that its specification allows."""
    lines, found = text.split("\n"), {}
    assert lines[-2:] == ["# EOF", ""]
    rows = iter(lines[:-2])
    for help_line in rows:
        name = help_line.split(" ")[2]
        assert help_line.startswith(f"# HELP {name} ")
        assert next(rows) == f"# TYPE {name} gauge"
        match = LINE.fullmatch(next(rows))
        assert match[1] == name
        assert name not in found
        pairs = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2])
        found[name] = (
            {key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text) for key, text in pairs},
            float(match[3]),
        )
    return found


def test_metrics_are_written_as_the_run_goes(federation: Federation, clock: Clock):
    """Round, waiting and trouble as they are, in a file that is there whole."""
    file = federation.folder / ME / "metrics" / "hocket.prom"
    file.parent.mkdir()
    configure(federation, 'metrics_file = "metrics/hocket.prom"')
    ended(DataError, federation, clock, NotYet("x"), DataError("x"), place=(7, 2))
    labels, round_no = parsed(file.read_text())["hocket_round"]
    assert (labels["member"], labels["role"], round_no) == (ME, "partner", 7)
    values = {name: value for name, (_, value) in parsed(file.read_text()).items()}
    assert (values["hocket_trouble"], values["hocket_waiting"], values["hocket_attempt"]) == (1, 1, 2)
    assert values["hocket_written_timestamp_seconds"] == pytest.approx(clock.now)
    run(federation, clock, ON, DONE)
    values = {name: value for name, (_, value) in parsed(file.read_text()).items()}
    assert (values["hocket_trouble"], values["hocket_waiting"]) == (0, 0)
    assert [path.name for path in file.parent.iterdir()] == ["hocket.prom"]


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_metrics_arrive_as_they_were(value: str, number: float):
    """Any name of a federation and any number are read again by the specification's rules."""
    text = openmetrics([Gauge("hocket_round", f"Meaning: {value}", number)], {"federation": value})
    assert parsed(text) == {"hocket_round": ({"federation": value}, number)}
