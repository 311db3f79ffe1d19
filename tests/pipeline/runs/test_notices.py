"""What a run tells its own people: notices and metrics; none of it stops a run."""

import errno
import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.runs.jobs
from data_prep.errors import DataError
from pipeline.errors import ConfigError, ExchangeUnreachable, ExitCode, NotYet
from pipeline.exchange.signs import ALIVE_S, Sign, SignBoard
from pipeline.exchange.storage import open_exchange
from pipeline.plan.plan import read_plan
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.runs.attendance import Attendance
from pipeline.runtime.openmetrics import Gauge, openmetrics
from pipeline.runtime.progress import ProgressReporter
from pipeline.tracking.tracker import read_member
from secure.keys.keys import load_private_keys
from tests.support.cli_runner import hocket, printed
from tests.support.federation import AGGREGATOR, Federation
from tests.support.runs.attended_runs import DONE, ME, ON, SECRET, Clock, Steps, configure, ended, run, sign_of
from tests.support.tracking.no_tracker import NoTracker
from tests.support.transport.notice_server import NoticeServer, notice_server


@pytest.fixture
def server() -> Iterator[NoticeServer]:
    """A server that takes notices."""
    with notice_server() as taking:
        yield taking


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


@pytest.mark.parametrize(
    "lines", ['webhook = "ftp://example/x"', 'events = ["nosuch"]', "waiting_s = 0", "command = [1]", 'comand = ["x"]']
)
def test_wrong_settings_are_refused(federation: Federation, lines: str):
    """Before anything begins."""
    configure(federation, lines)
    with pytest.raises(ConfigError, match=r"notify"):
        read_member(federation.config(ME), "partner")


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
