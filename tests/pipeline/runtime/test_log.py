"""Lines for programs: one JSON object on each line of stderr, and nothing else."""

import json
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.runs.jobs
from pipeline.errors import ExitCode, NotYet
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import COUNTING_ROUND
from pipeline.protocol.aggregator import AggregatorRun
from pipeline.protocol.open_mailbox import open_aggregator_mailbox, open_partner_mailbox
from pipeline.runs.partner_run import PartnerRun
from pipeline.runtime.log import Log, as_json_line, json_line
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine
from tests.support.cli_runner import hocket, python_process
from tests.support.federation import AGGREGATOR, Federation

KEYS = {"time", "level", "member", "message"}


@pytest.fixture(autouse=True)
def hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore Python's hook for tracebacks after a command in this process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects of the lines, each with the common keys, in order of time."""
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        assert one.keys() >= KEYS
        assert datetime.fromisoformat(one["time"]).utcoffset() == datetime.now(UTC).utcoffset()
        assert one["level"] in {"info", "warning", "error"}
    assert [one["time"] for one in found] == sorted(one["time"] for one in found)
    return found


@given(member=st.text(), text=st.text())
def test_any_text_is_one_line(member: str, text: str):
    """Line ends, quotes and control characters in a message keep it on one line."""
    line = json_line(member, text)
    assert len(line.splitlines()) <= 1 or "\n" not in line
    assert "\n" not in line
    found = json.loads(line)
    assert found["member"] == member
    assert found["message"] == text


def test_round_attempt_and_level_are_fields(capsys: pytest.CaptureFixture[str]):
    """Round and attempt are fields of every line until they change."""
    reporter = ProgressReporter("P01", Log(as_json=True))
    reporter.report("enrolled")
    reporter.set_round(COUNTING_ROUND, 1)
    reporter.report("void, the aggregator misses P02")
    reporter.set_round(12, 2)
    reporter.warn("the aggregator misses P02")
    reporter.report("in round 3, attempt 4", seconds=1.5)
    reporter.set_round()
    reporter.report("warning: so it begins, and is none")
    told = lines(capsys.readouterr().err)
    assert [(one["level"], {key: one[key] for key in one.keys() - KEYS}) for one in told] == [
        ("info", {}),
        ("info", {"round": 0, "attempt": 1}),
        ("warning", {"round": 12, "attempt": 2}),
        ("info", {"round": 12, "attempt": 2, "seconds": 1.5}),
        ("info", {}),
    ]
    assert told[2]["message"] == "the aggregator misses P02"
    assert {one["member"] for one in told} == {"P01"}


def test_the_rounds_say_which_they_are(ready: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Lines of aggregator and partner have round and attempt, after a restart and while waiting too."""
    federation = ready.moved(tmp_path / "federation")
    for name in (AGGREGATOR, "P01"):
        log = Log(as_json=True)
        reporter = ProgressReporter(name, log)
        machine: Machine
        if name == AGGREGATOR:
            machine = AggregatorRun(open_aggregator_mailbox(AggregatorConfig.read(federation.config(name))), reporter)
        else:
            config = PartnerConfig.read(federation.config(name))
            machine = PartnerRun(config, open_partner_mailbox(config), reporter)
        try:
            while machine.advance():
                pass
        except NotYet as wait:
            log.write(str(wait), "error")
        *before, last = lines(capsys.readouterr().err)
        assert last.items() >= {"member": name, "level": "error", "round": 1, "attempt": 1}.items()
        assert all(("round" in one) == one["message"].startswith("round 1") for one in before)
        assert before


def test_people_read_the_same_words(capsys: pytest.CaptureFixture[str]):
    """As text, a line has its time, its member and, for a warning, that word; no fields."""
    reporter = ProgressReporter("P01")
    reporter.set_round(12, 2)
    reporter.report("the aggregator misses P02", seconds=1.5)
    reporter.warn("the aggregator misses P02")
    reporter.warn("the aggregator misses P02")
    told = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert told == ["P01: the aggregator misses P02", "P01: warning: the aggregator misses P02"]


def test_progress_is_lines_with_counts(capsys: pytest.CaptureFixture[str]):
    """Progress has no bar, not even on a terminal; done, total, note and seconds left are fields."""
    now = iter(range(0, 1000, 6))
    reporter = ProgressReporter("P01", Log(as_json=True), clock=lambda: next(now))
    reporter.set_round(3)
    reporter._console._force_terminal = True
    with reporter.progress("round 3: training") as progress:
        for step in range(1, 5):
            progress(step, 5, f"loss {step}")
    *told, last = lines(capsys.readouterr().err)
    assert told
    assert all(one["round"] == 3 and one["total"] == 5 and one["note"] == f"loss {one['done']}" for one in told)
    assert all(one["seconds_left"] > 0 for one in told)
    assert last["seconds"] > 1


def test_what_is_no_json_is_wrapped():
    """A library's line in a member's log becomes a JSON line of that member."""
    line = json_line("P02", "round 1: training")
    assert as_json_line("P01", line) == line
    for strange in ("oneDNN: no such core", "[1, 2]", "3", '{"cut":'):
        assert json.loads(as_json_line("P01", strange))["message"] == strange


# ---------------------------------------------------------------------------------------------------- the command


def test_errors_at_the_end_are_lines(enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """The line of an error has message, notes and exit code."""
    error = NotYet("round 1: waiting for P02 to be ready")
    error.add_note("what to do")

    def fail(_config: Path, *, log: Log, **_: object) -> None:
        log.set_round(1)
        raise error

    monkeypatch.setattr(pipeline.runs.jobs, "run_partner", fail)
    done = hocket("partner", "run", enrolled.config("P01"), "--log-format", "json")
    assert done.exit_code == ExitCode.NOT_YET
    (found,) = lines(done.stderr)
    expected = {"level": "error", "notes": ["what to do"], "exit_code": 6, "round": 1, "message": str(error)}
    assert found.items() >= expected.items()


@pytest.mark.parametrize("command", [["partner", "run"], ["aggregator", "run"], ["prepare"], ["demo"]], ids=" ".join)
def test_wrong_usage_is_a_line(command: list[str]):
    """Errors of click itself are JSON lines too, wherever the option is."""
    for arguments in (["--log-format", "json", "--nosuch"], ["--nosuch", "--log-format=json"]):
        done = hocket(*command, *arguments)
        assert done.exit_code == ExitCode.CONFIGURATION
        (found,) = lines(done.stderr)
        assert "nosuch" in found["message"]


def test_a_missing_file_is_a_line():
    """A wrong path is an error of click, after the format is known."""
    done = hocket("partner", "run", "/nowhere/partner.toml", "--log-format", "json")
    (found,) = lines(done.stderr)
    assert "/nowhere/partner.toml" in found["message"]
    assert found["exit_code"] == done.exit_code == ExitCode.CONFIGURATION


def test_warnings_and_bugs_are_lines():
    """A library's warning and the traceback of a bug are JSON lines; the bug still ends with code 1."""
    code = (
        "import warnings\nfrom pipeline.runtime.log import Log\nLog(as_json=True, member='P01').take_over()\n"
        "warnings.warn('old')\nraise ZeroDivisionError('bug')"
    )
    done = python_process(code)
    assert done.returncode == ExitCode.BUG
    warning, bug = lines(done.stderr)
    assert (warning["level"], warning["message"], warning["category"]) == ("warning", "old", "UserWarning")
    assert (bug["level"], bug["message"]) == ("error", "ZeroDivisionError: bug")
    assert "Traceback" in bug["traceback"]


def test_text_takes_nothing_over():
    """Without the option Python's own hooks stay."""
    shown, hook = warnings.showwarning, sys.excepthook
    Log().take_over()
    assert (warnings.showwarning, sys.excepthook) == (shown, hook)


@pytest.mark.slow
def test_a_real_run_says_only_json(fresh: Federation):
    """Every line of a partner's and the aggregator's process is a JSON object."""
    for role, name in (("partner", "P01"), ("aggregator", AGGREGATOR)):
        done = fresh.hocket(role, "run", str(fresh.config(name)), "--once", "--log-format", "json")
        assert done.returncode == ExitCode.NOT_YET
        assert done.stdout == ""
        found = lines(done.stderr)
        assert {one["member"] for one in found} == {name}
        assert "waiting for" in found[-1]["message"]
        assert found[-1]["exit_code"] == ExitCode.NOT_YET
