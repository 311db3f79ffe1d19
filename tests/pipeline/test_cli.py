"""The hocket command: help, exit codes, runs, and refusals without a traceback."""

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import pipeline.report.report
import pipeline.runs.jobs
from data_prep.errors import TableError
from partners.errors import TrainingDiverged
from pipeline.cli import main
from pipeline.errors import ExchangeConflict, ExitCode, NotYet
from pipeline.tracking.tracker import note_all_sent, report_digest
from secure.errors import TagMismatch
from tests.support.cli_runner import hocket, light_process, refused
from tests.support.federation import AGGREGATOR, Federation
from tests.support.tracking.no_tracker import NoTracker

# ----------------------------------------------------------------------------------------------------------- help


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command and group."""
    found = [path]
    for name, command in group.commands.items():
        inner = (*path, name)
        found += commands(command, inner) if isinstance(command, click.Group) else [inner]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]):
    """With -h and --help, on stdout, exit code 0, every option explained."""
    done = hocket(*path, "--help")
    assert done.exit_code == ExitCode.DONE
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: ")
    assert hocket(*path, "-h").stdout == done.stdout


def test_all_commands_of_the_design_are_there():
    """Names that scripts may rely on."""
    expected = {"demo", "key new", "key deal", "prepare", "partner run", "aggregator run", "report", "inspect", "ui"}
    expected |= {"export sparsechem", "check-matrices"}
    assert expected | {"verify"} <= {" ".join(path) for path in commands()}


def test_help_explains_the_exit_codes():
    """A batch system reads them."""
    codes = hocket("--help").stdout.split("Exit codes:")[1]
    assert [int(code) for code in re.findall(r"\b\d\b", codes)] == sorted({1, *ExitCode})


def test_version():
    """The distribution's, on the first line."""
    assert re.fullmatch(r".*version \d+\.\d+\.\d+", hocket("--version").stdout.splitlines()[0])


# ---------------------------------------------------------------------------------------------------- usage: code 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["--nosuch"],
        ["key", "new"],
        ["key", "new", "P01", "--home", "h", "--role", "custodian"],
        ["demo", "--partners", "2"],
        ["demo", "--rounds", "0"],
        ["demo", "--data", "/nowhere"],
        ["prepare", "/nowhere/partner.toml"],
        ["partner", "run", "/nowhere/partner.toml"],
        ["aggregator", "run", "/nowhere/aggregator.toml", "--once"],
        ["report", "/nowhere/partner.toml"],
        ["inspect", "/nowhere/file"],
        ["verify", "plan.toml"],
        ["export", "sparsechem", "/nowhere/partner.toml", "model.pt"],
        ["check-matrices", "--x", "/nowhere/x.npz", "--folding", "/nowhere/folding.npy"],
        ["ui", "/nowhere/partner.toml"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str]):
    """The usage on stderr."""
    assert "Error: " in refused(ExitCode.CONFIGURATION, *arguments)


@pytest.mark.parametrize("command", [["prepare"], ["prepare", "--check"], ["partner", "run"], ["report"], ["ui"]])
def test_a_wrong_setting_names_file_and_key(fresh: Federation, command: list[str]):
    """Found, and expected, before anything is made."""
    config = fresh.config("P02")
    config.write_text(f"nosuch = 3\n{config.read_text()}")
    before = set(fresh.folder.rglob("*"))
    message = refused(ExitCode.CONFIGURATION, *command, config)
    assert all(part in message for part in (str(config), "nosuch", "expected one of name, plan"))
    assert set(fresh.folder.rglob("*")) == before


def test_a_partner_is_no_aggregator(enrolled: Federation):
    """A partner's configuration for the aggregator's job."""
    assert "data" in refused(ExitCode.CONFIGURATION, "aggregator", "run", enrolled.config("P01"))


def test_a_file_as_exchange_is_refused(fresh: Federation):
    """With its name."""
    fresh.exchange.write_text("")
    assert "exchange" in refused(ExitCode.CONFIGURATION, "prepare", fresh.config("P02"))


def test_ui_of_a_server_says_where_it_is(fresh: Federation):
    """Nothing is started for a store that is a server already."""
    config = fresh.config("P01")
    config.write_text(f'{config.read_text()}[tracking]\nuri = "http://mlflow.example:5000"\n')
    assert "http://mlflow.example:5000" in refused(ExitCode.CONFIGURATION, "ui", config)


# ------------------------------------------------------------------------------------------------- errors to codes


def raising(error: BaseException) -> Callable[..., None]:
    """A function that fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TableError("T1: no such column"), ExitCode.DATA),
        (TagMismatch("sum.agg.arrow: not the sum"), ExitCode.SECURITY),
        (ExchangeConflict("ready.P01.json: differs"), ExitCode.SECURITY),
        (TrainingDiverged("loss is not a number"), ExitCode.TRAINING),
        (NotYet("waiting for P02"), ExitCode.NOT_YET),
        (OSError(28, "No space left on device"), ExitCode.CONFIGURATION),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_family_of_errors_has_its_code(
    enrolled: Federation, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode
):
    """The message and its notes on stderr, nothing on stdout."""
    error.add_note("what to do")
    monkeypatch.setattr(pipeline.report.report, "read_report", raising(error))
    assert refused(code, "report", enrolled.config("P01")) == f"hocket: {error}\n  what to do\n"


def test_a_bug_keeps_its_traceback(enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """An unexpected error keeps its traceback."""
    monkeypatch.setattr(pipeline.report.report, "read_report", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        hocket("report", enrolled.config("P01"))


@pytest.mark.parametrize(("role", "name"), [("partner", "P01"), ("aggregator", AGGREGATOR)])
def test_ctrl_c_is_a_pause(enrolled: Federation, monkeypatch: pytest.MonkeyPatch, role: str, name: str):
    """The files are the state: the same command goes on."""
    monkeypatch.setattr(pipeline.runs.jobs, f"run_{role}", raising(KeyboardInterrupt()))
    assert refused(ExitCode.NOT_YET, role, "run", enrolled.config(name))


# ------------------------------------------------------------------------------------------------------------ runs


@pytest.mark.parametrize(("name", "awaited"), [("P01", "P02"), ("P02", "deal of P01")])
def test_once_ends_where_others_are_awaited(
    fresh: Federation, monkeypatch: pytest.MonkeyPatch, name: str, awaited: str
):
    """Exit code 6 and for whom, on stderr; again and again the same."""
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)
    for _ in range(2):
        assert awaited in refused(ExitCode.NOT_YET, "partner", "run", "--once", fresh.config(name))
    assert not fresh.home(name).finished.exists()


@pytest.mark.slow
def test_a_federation_of_once_commands_reaches_its_end(fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """Cron is enough: each member's command, each time as far as it can go, with exit code 6 until it is 0."""
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)
    members = dict.fromkeys(fresh.partners, "partner") | {AGGREGATOR: "aggregator"}
    for _ in range(12):
        codes = {name: hocket(role, "run", "--once", fresh.config(name)).exit_code for name, role in members.items()}
        assert set(codes.values()) <= {ExitCode.DONE, ExitCode.NOT_YET}
        if set(codes.values()) == {ExitCode.DONE}:
            break
    assert set(codes.values()) == {ExitCode.DONE}
    assert len(fresh.trunks(2)) == 1


@pytest.mark.slow
def test_a_real_aggregator_waits_with_code_6(fresh: Federation):
    """A process of its own: the wait on stderr, nothing on stdout, no traceback."""
    done = fresh.hocket("aggregator", "run", "--once", str(fresh.config(AGGREGATOR)))
    assert done.returncode == ExitCode.NOT_YET
    assert done.stdout == ""
    assert all(name in done.stderr for name in fresh.partners)
    assert "Traceback" not in done.stderr
    assert (fresh.home(AGGREGATOR).folder / "tracking.log").exists()


def test_a_wrong_passphrase_ends_with_code_4(fresh: Federation, tmp_path: Path):
    """Unlocked keys with a passphrase file are refused too: one of the two is a mistake."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("superfluous")
    config = fresh.config("P02")
    config.write_text(f'passphrase_file = "{tmp_path}/secret"\n{config.read_text()}')
    message = refused(ExitCode.SECURITY, "partner", "run", config)
    assert "passphrase" in message
    assert "superfluous" not in message.replace("is superfluous", "")


def test_a_busy_home_is_refused(fresh: Federation):
    """Two processes of one member could post two different messages."""
    with fresh.home("P02").alone():
        said = refused(ExitCode.NOT_YET, "partner", "run", fresh.config("P02"))
    assert f"process {os.getpid()} on {socket.gethostname()}" in said


@pytest.mark.parametrize(("role", "name"), [("partner", "P01"), ("aggregator", AGGREGATOR)])
def test_a_run_after_the_end_is_at_once_done(done: Federation, role: str, name: str):
    """Exit code 0, no file changed, and neither torch nor MLflow loaded: they cannot be, in this process."""
    home = done.home(name)  # as the tracking process leaves it:
    note_all_sent(home, "0123", report=report_digest(home), model="")
    (home.folder / "mlflow.db").touch()
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*") if path.is_file()}
    ended = light_process(role, "run", done.config(name))
    assert ended.returncode == ExitCode.DONE, ended.stderr
    assert ended.stdout == ""
    assert f" {name}: " in ended.stderr
    assert {path: path.stat().st_mtime_ns for path in done.folder.rglob("*") if path.is_file()} == before


def test_an_aggregators_installation_refuses_what_is_a_partners(finished: Federation, tmp_path: Path):
    """Exit code 2 with the missing library's name; its own keys it makes."""
    (tmp_path / "new.smi").write_text("CCO\n")
    ended = light_process("predict", finished.config("P01"), tmp_path / "new.smi")
    assert ended.returncode == ExitCode.CONFIGURATION
    assert "Traceback" not in ended.stderr
    assert "[partner]" in ended.stderr
    ended = light_process("key", "new", "hub", "--home", tmp_path / "home", "--role", "aggregator")
    assert ended.returncode == ExitCode.DONE, ended.stderr


# ---------------------------------------------------------------------------------------------------------- report


def test_report_before_the_end(enrolled: Federation):
    """Exit code 6 and when it will be there."""
    message = refused(ExitCode.NOT_YET, "report", enrolled.config("P01"))
    assert "report.json" in message
    assert "hocket partner run" in message


def test_report_as_table_and_as_json(done: Federation):
    """The table names the partner; JSON is report.json itself."""
    table = hocket("report", done.config("P02"))
    assert (table.exit_code, table.stderr) == (ExitCode.DONE, "")
    assert "P02" in table.stdout
    as_json = json.loads(hocket("report", "--json", done.config("P02")).stdout)
    assert as_json == json.loads((done.home("P02").report / "report.json").read_text())
