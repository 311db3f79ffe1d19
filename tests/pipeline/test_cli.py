"""The hocket command: exit codes, the content of stdout and stderr, and refusals without a traceback."""

import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from scipy import sparse

import pipeline.report.report
import pipeline.runs.jobs
from data_prep.errors import TableError
from partners.errors import TrainingDiverged
from pipeline.audit.inspect_file import describe_file
from pipeline.cli import main
from pipeline.errors import ExchangeConflict, ExitCode, NotYet
from pipeline.home.json_files import write_json
from pipeline.home.round_files import RoundFiles
from pipeline.plan.plan import read_plan
from pipeline.tracking.tracker import note_all_sent, report_digest
from secure.ciphertexts.parameters import seal_parameters
from secure.errors import TagMismatch, WrongPassphrase
from secure.keys.keys import load_private_keys, parse_card
from tests.support.cli_runner import hocket, light_process, printed, refused
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import SUM, UPDATE, flip, say_again
from tests.support.tracking.no_tracker import NoTracker


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


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


# ------------------------------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize("role", ["partner", "aggregator"])
def test_key_new_prints_the_card(tmp_path: Path, role: str):
    """A genuine card on stdout, the same in the home; the private file for its owner only."""
    home = tmp_path / "home"
    done = hocket("key", "new", "acme", "--home", home, "--role", role)
    card = parse_card(done.stdout, "stdout")
    assert done.exit_code == ExitCode.DONE
    assert card.fingerprint in done.stderr
    assert (card.name, card.role) == ("acme", role)
    assert (card.agreement is None) == (role == "aggregator")
    assert (home / "keys" / "card.toml").read_text() == done.stdout
    load_private_keys(home / "keys", None, card)
    assert mode(home / "keys" / "private.key") == 0o600
    assert mode(home / "keys") == mode(home) == 0o700
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["card.toml", "private.key"]


def test_key_new_never_overwrites(tmp_path: Path):
    """Neither the private keys nor the card, not even for another name or role."""
    hocket("key", "new", "acme", "--home", tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    for arguments in (["acme"], ["other"], ["acme", "--role", "aggregator"]):
        assert "private.key" in refused(ExitCode.SECURITY, "key", "new", *arguments, "--home", tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


@pytest.mark.parametrize("name", ["a b", "../x", "", "x" * 33, "Zürich"])
def test_key_new_refuses_names_that_are_no_names(tmp_path: Path, name: str):
    """They become parts of file names; nothing is made."""
    done = hocket("key", "new", name, "--home", tmp_path / "home")
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert "name" in done.stderr
    assert "32" in done.stderr
    assert list(tmp_path.rglob("*.key")) == []


def test_a_passphrase_locks_the_keys(tmp_path: Path):
    """The right one opens, another or none is refused, and no file holds it."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("correct horse\r\nsecond line")
    assert hocket("key", "new", "acme", "--home", tmp_path, "--passphrase-file", secret).exit_code == ExitCode.DONE
    assert load_private_keys(tmp_path / "keys", "correct horse").name == "acme"
    for wrong in ("correct hors", None):
        with pytest.raises(WrongPassphrase):
            load_private_keys(tmp_path / "keys", wrong)
    assert all(b"correct horse" not in path.read_bytes() for path in (tmp_path / "keys").iterdir())


def test_an_empty_passphrase_makes_no_keys(tmp_path: Path):
    """An empty file is a mistake, not a wish for unlocked keys."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("")
    message = refused(
        ExitCode.CONFIGURATION, "key", "new", "acme", "--home", tmp_path, "--passphrase-file", tmp_path / "secret"
    )
    assert str(tmp_path / "secret") in message
    assert not (tmp_path / "keys" / "private.key").exists()


def test_the_custodian_deals_once(fresh: Federation):
    """A group secret for its owner only, a deal for all partners; dealing again changes nothing."""
    home = fresh.home("P01")
    for path in (home.group_secret, *home.outbox("enrol").iterdir()):
        path.unlink()
    first = hocket("key", "deal", fresh.plan_file, "--home", home.folder)
    assert first.exit_code == ExitCode.DONE
    assert re.search(r"\b[0-9a-f]{16}\b", first.stdout)
    assert all(name in first.stdout for name in fresh.partners)
    assert mode(home.group_secret) == 0o600
    before = {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())}
    assert {path.name for path in before} == {"group.secret", "deal.P01.envelopes", "deal.P01.json"}
    assert hocket("key", "deal", fresh.plan_file, "--home", home.folder).stdout == first.stdout
    assert {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())} == before


def test_a_plan_that_was_changed_is_not_dealt_again_in_silence(fresh: Federation):
    """Exit code 4, how to begin anew, and not a byte changed; what the message says to do works."""
    home = fresh.home("P01")
    fresh.plan_file.write_text(fresh.plan_file.read_text().replace("local_steps = 4", "local_steps = 5"))
    before = {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())}
    message = refused(ExitCode.SECURITY, "key", "deal", fresh.plan_file, "--home", home.folder)
    assert "plan was changed" in message
    assert str(home.outbox("enrol/deal.P01.json")) in message
    assert f"rm -r {home.outbox('enrol')} {home.group_secret}" in message
    assert {path: path.read_bytes() for path in (home.group_secret, *home.outbox("enrol").iterdir())} == before
    shutil.rmtree(home.outbox("enrol"))
    home.group_secret.unlink()
    assert hocket("key", "deal", fresh.plan_file, "--home", home.folder).exit_code == ExitCode.DONE


@pytest.mark.parametrize("name", ["P02", AGGREGATOR])
def test_only_the_custodian_deals(fresh: Federation, name: str):
    """Nobody else makes a group secret."""
    message = refused(ExitCode.CONFIGURATION, "key", "deal", fresh.plan_file, "--home", fresh.home(name).folder)
    assert str(fresh.home(name).keys) in message
    assert "P01" in message
    assert not fresh.home(name).group_secret.exists()
    assert not fresh.home(name).outbox("enrol").exists()


def test_keys_of_another_card_do_not_deal(fresh: Federation, tmp_path: Path):
    """The custodian's name with keys that are not in the plan."""
    hocket("key", "new", "P01", "--home", tmp_path / "other")
    message = refused(ExitCode.SECURITY, "key", "deal", fresh.plan_file, "--home", tmp_path / "other")
    assert str(tmp_path / "other" / "keys") in message
    assert not (tmp_path / "other" / "group.secret").exists()


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_structure_seed_has_32_bytes(fresh: Federation, tmp_path: Path, size: int):
    """A shorter key could be guessed, a longer file is another file; nothing is dealt."""
    home = fresh.home("P01")
    home.group_secret.unlink()
    shutil.rmtree(home.outbox(""))
    (tmp_path / "seed").touch(0o600)
    (tmp_path / "seed").write_bytes(b"s" * size)
    done = hocket("key", "deal", fresh.plan_file, "--home", home.folder, "--structure-seed-file", tmp_path / "seed")
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert re.findall(r"\b\d+\b", done.stderr) == [str(size), "32"]
    assert not home.group_secret.exists()
    assert not home.outbox("").exists()


# --------------------------------------------------------------------------------------------------------- prepare


def test_prepare_check_of_good_tables(fresh: Federation):
    """Exit code 0 with few rows lost: the forecast's tasks are the prepared ones, its labels near the prepared ones."""
    lines = printed("prepare", "--check", fresh.config("P01")).splitlines()
    checked = json.loads(hocket("prepare", "--check", "--json", fresh.config("P01")).stdout)
    assert lines[: len(checked["findings"])] == checked["findings"]
    assert (checked["usable"], checked["lost_assays"]) == (True, [])
    made = json.loads(hocket("prepare", "--json", fresh.config("P01")).stdout)
    assert checked["rejected_share"] == made["rejected_share"]
    for kind in ("classification", "regression"):
        assert [checked["forecast"][kind][n] for n in ("candidates", "trained")] == [
            made[kind][n] for n in ("candidates", "tasks")
        ]
    trained = sum(fold["labels"] for fold in made["folds"] if fold["fold"] > 1)
    assert checked["forecast"]["training_labels"] == pytest.approx(trained, rel=0.3)


def test_prepare_check_of_all_structures(fresh: Federation):
    """Exit code 3 if the structures leave out too much; all are looked at, and --all-structures needs --check."""
    table = fresh.folder / "P01" / "T2.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *(row.split(",")[0] + ",xxx" for row in rows)]))
    for options in (["--check"], ["--check", "--all-structures"]):
        done = hocket("prepare", *options, "--json", fresh.config("P01"))
        assert done.exit_code == ExitCode.DATA
        assert not json.loads(done.stdout)["usable"]
    assert "--check" in refused(ExitCode.CONFIGURATION, "prepare", "--all-structures", fresh.config("P01"))


def test_prepare_check_of_bad_tables(fresh: Federation):
    """Exit code 3; every problem on stdout, for it is the result; a list as JSON."""
    (fresh.folder / "P01" / "T0.csv").unlink()
    table = fresh.folder / "P01" / "T1.csv"
    table.write_text(table.read_text().replace(",=,", ",≈,", 1))
    done = hocket("prepare", "--check", fresh.config("P01"))
    assert done.exit_code == ExitCode.DATA
    lines = done.stdout.splitlines()
    assert any(line.startswith("T0: ") for line in lines)
    assert any(line.startswith("T1: ") for line in lines)
    as_json = hocket("prepare", "--check", "--json", fresh.config("P01"))
    assert as_json.exit_code == ExitCode.DATA
    assert json.loads(as_json.stdout)["findings"] == lines


def test_prepare_workers_and_cache(fresh: Federation):
    """The number of workers is an option, at least 1; structures are remembered for nobody but the owner."""
    assert hocket("prepare", "--workers", "0", fresh.config("P01")).exit_code == ExitCode.CONFIGURATION
    done = hocket("prepare", "--workers", "1", "--json", fresh.config("P01"))
    assert json.loads(done.stdout)["compounds"]["rows"] > 0
    assert mode(fresh.home("P01").structures_cache) == 0o600


def test_prepare_with_descriptors(fresh: Federation):
    """With `descriptors = true` under [data], and only then, the prepared folder has them."""
    config = fresh.config("P01")
    plain = json.loads(hocket("prepare", "--json", config).stdout)
    config.write_text(config.read_text().replace("[data]\n", "[data]\ndescriptors = true\n"))
    described = json.loads(hocket("prepare", "--json", config).stdout)
    assert [(Path(made["folder"]) / "descriptors.npy").exists() for made in (plain, described)] == [False, True]
    assert described["consistency"] == plain["consistency"]


def test_prepare_of_unreadable_tables(fresh: Federation):
    """Exit code 3, the table named, and no prepared folder."""
    (fresh.folder / "P01" / "T1.csv").write_text("nothing,of,this\n1,2,3\n")
    assert "T1" in refused(ExitCode.DATA, "prepare", fresh.config("P01"))
    assert list(fresh.home("P01").prepared.glob("*/manifest.json")) == []


def test_prepare_waits_for_the_deal(fresh: Federation):
    """Folds are keyed: exit code 6 before the group secret is there."""
    assert "deal of P01" in refused(ExitCode.NOT_YET, "prepare", fresh.config("P02"))


def test_prepare_says_what_it_made(fresh: Federation):
    """Counts and folder, as tables of 80 columns or as JSON; the second time it is only read."""
    first = hocket("prepare", "--json", fresh.config("P01"))
    assert first.exit_code == ExitCode.DONE
    found = json.loads(first.stdout)
    assert (Path(found["folder"]) / "manifest.json").exists()
    assert found["classification"]["tasks"] == 6
    assert found["regression"]["tasks"] == 2
    shown = hocket("prepare", fresh.config("P01")).stdout
    *lines, last = shown.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert last == f"folder: {found['folder']}"
    assert "6 tasks" in shown


NEW = "input_compound_id,smiles\nN1,CCO\nN2,C(\nN1,c1ccccc1CN\n"


def test_prepare_of_new_structures(fresh: Federation, tmp_path: Path):
    """Folder, counts and consistency digest, in words or as JSON; what was refused is counted and listed."""
    (tmp_path / "new.csv").write_text(NEW)
    command = ["prepare", fresh.config("P01"), "--structures", tmp_path / "new.csv", "--output", tmp_path / "out"]
    first = hocket(*command, "--json")
    assert first.exit_code == ExitCode.DONE
    found = json.loads(first.stdout)
    digest = json.loads(hocket("prepare", "--json", fresh.config("P01")).stdout)["consistency"]
    assert found == {
        "folder": str(tmp_path / "out"),
        "rows": 3,
        "accepted": 2,
        "rejected": {"unparsable": 1},
        "consistency": digest,
    }
    assert sparse.load_npz(tmp_path / "out/x.npz").shape == (2, 512)
    lines = dict(line.split(": ", 1) for line in hocket(*command).stdout.splitlines())
    assert lines == {key: str(value) for key, value in found.items()}
    for file in (tmp_path / "out").iterdir():
        assert "(private)" in str(describe_file(file)["what"])


def test_prepare_of_new_structures_never_removes_what_is_no_output(fresh: Federation, tmp_path: Path):
    """Exit code 2 for an occupied folder, 3 for an unreadable table, 2 for one option without the other."""
    (tmp_path / "new.csv").write_text(NEW)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    prepare = ["prepare", fresh.config("P01")]
    new, out = ["--structures", tmp_path / "new.csv"], ["--output", tmp_path / "out"]
    assert str(tmp_path / "mine") in refused(ExitCode.CONFIGURATION, *prepare, *new, "--output", tmp_path / "mine")
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
    assert "bad.csv" in refused(ExitCode.DATA, *prepare, "--structures", tmp_path / "bad.csv", *out)
    for half in (new, out, ["--check", *new, *out]):
        said = refused(ExitCode.CONFIGURATION, *prepare, *half)
        assert all(option in said for option in ("--structures", "--output"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "federation", "mine", "new.csv"]


def test_prepare_of_new_structures_waits_for_the_deal(fresh: Federation, tmp_path: Path):
    """Bits are keyed: exit code 6 before the group secret is there, and no output."""
    (tmp_path / "new.csv").write_text(NEW)
    options = ["--structures", tmp_path / "new.csv", "--output", tmp_path / "out"]
    assert "deal of P01" in refused(ExitCode.NOT_YET, "prepare", fresh.config("P02"), *options)
    assert not (tmp_path / "out").exists()


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


# --------------------------------------------------------------------------------------------------------- inspect

FOREIGN = {"T0.csv", "T1.csv", "T2.csv", "lock", "README.md"}  # a partner's tables, an empty file, words for people
PRIVATE = {"private.key", "group.secret", "pair.seeds"}


def files_of(federation: Federation) -> list[Path]:
    """Every file of hocket's in a federation's folder."""
    found = (path for path in sorted(federation.folder.rglob("*")) if path.is_file())
    return [path for path in found if path.name not in FOREIGN]


def test_inspect_knows_every_file_of_a_finished_federation(finished: Federation):
    """Every file of every home and of the exchange is described; text and JSON agree."""
    kinds: dict[str, int] = {}
    for path in files_of(finished):
        found = json.loads(hocket("inspect", "--json", path).stdout)
        kinds[found["what"]] = kinds.get(found["what"], 0) + 1
        lines = hocket("inspect", path).stdout.splitlines()
        assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == list(found), path
        assert f"what: {found['what']}" in lines
    assert set(kinds) == {
        "federated model of a partner (private)",
        "description of a partner's finished model (private)",
        "fingerprints of a partner's training compounds (private)",
        "plan",
        "configuration of partner",
        "configuration of aggregator",
        "card",
        "private keys",
        "cache of a partner's standardised structures (private)",
        "group secret",
        "pair seeds",
        "payload: hocket.deal",
        "payload: hocket.pairing",
        *(f"manifest: {kind}" for kind in ("deal", "pairing", "ready", "roster", "update", "sum", "release")),
        "hocket.sealed-update",
        "hocket.sealed-sum",
        "state at the start of a round (private)",
        "local-only model of a partner (private)",
        "models of a partner's single assays (private)",
        "prepared matrices of a partner (private)",
        "part of prepared matrices (private)",
        "trunk at the start of a round, kept for the audit (private)",
        "sizes of the trunks that a partner trained on (private)",
        "record of a member's step, for MLflow (private)",
        "report of a partner (private)",
        "summary of a partner's report (may be shared)",
        "end of a member's run",
    }
    assert kinds["hocket.sealed-update"] == 6
    assert kinds["private keys"] == 4


def test_inspect_tells_the_two_summaries_apart(finished: Federation):
    """The report's may be shared, the preparation's, of the same name, never."""
    home = finished.home("P01")
    summaries = [path for path in files_of(finished) if path.name == "summary.json" and home.folder in path.parents]
    kinds = {path.parent.parent == home.prepared: hocket("inspect", path).stdout.splitlines()[0] for path in summaries}
    assert kinds[True].endswith("prepared matrices (private)")
    assert kinds[False].endswith("report (may be shared)")


def test_inspect_of_a_plan(finished: Federation):
    """Digest, members with their cards' fingerprints, and how updates are sealed and how large they get."""
    plan = read_plan(finished.plan_file)
    found = json.loads(hocket("inspect", "--json", finished.plan_file).stdout)
    assert (found["digest"], found["custodian"], found["min_partners"]) == (plan.digest, "P01", 3)
    assert found["fingerprints"] == {name: card.fingerprint for name, card in plan.cards.items()}
    assert found["sealed_with"] == seal_parameters(plan.seal).to_dict()
    update = json.loads(hocket("inspect", "--json", finished.exchange / UPDATE.payload).stdout)
    assert update["parameters"] == found["sealed_with"]
    assert found["bytes_per_parameter"]["update"] == pytest.approx(update["bytes_per_parameter"], rel=0.1)
    card = json.loads(hocket("inspect", "--json", finished.home("P01").keys / "card.toml").stdout)
    assert card["fingerprint"] == plan.cards["P01"].fingerprint
    assert f"  P01: {card['fingerprint']}" in hocket("inspect", finished.plan_file).stdout.splitlines()


def test_inspect_hides_a_password_in_the_exchange(done: Federation):
    """A configuration is shown around when something does not work."""
    config = done.config("P01")
    config.write_text(config.read_text().replace('"../exchange"', '"ftp://me:secret@host/room"'))
    shown = hocket("inspect", config).stdout
    assert "exchange: ftp://***@host/room" in shown
    assert "secret" not in shown


def test_inspect_shows_no_secret(finished: Federation):
    """Not a line of a private file's content, no task of a report."""
    for name in finished.partners:
        home = finished.home(name)
        for path in files_of(finished):
            if path.name in PRIVATE:
                shown = hocket("inspect", path).stdout.encode()
                content = path.read_bytes()
                assert not any(content[i : i + 16] in shown for i in range(64, len(content) - 16, 16))
        assert f"{name}-A" not in hocket("inspect", home.report / "report.json").stdout


def test_inspect_of_a_foreign_file(finished: Federation, tmp_path: Path):
    """A clear message, no guess."""
    for name in ("T0.csv", "T1.csv"):
        assert name in refused(ExitCode.CONFIGURATION, "inspect", finished.folder / "P01" / name)
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt" in refused(ExitCode.CONFIGURATION, "inspect", tmp_path / "notes.txt")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xff\xff\xff", b"\xff" * 100, b"[" * 50_000])
@pytest.mark.parametrize(
    "name",
    ["plan.toml", "card.toml", "x.safetensors", "report.json", "manifest.json", "step-0001.json", "ready.P01.json",
     "update.P01.arrow", "private.key", "group.secret"],
)  # fmt: skip
def test_inspect_of_rubbish_is_a_refusal(tmp_path: Path, name: str, content: bytes):
    """Exit code 2 or 4, the file named, no traceback, for every file name."""
    (tmp_path / name).write_bytes(content)
    done = hocket("inspect", tmp_path / name)
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert name in done.stderr
    assert done.stdout == ""


def test_inspect_of_a_cut_file_is_a_refusal(done: Federation):
    """Every file cut in half is refused with its name; of the rest only the listing or the first bytes are read."""
    described = set()
    for path in files_of(done):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ended = hocket("inspect", path)
        assert ended.exit_code in (ExitCode.DONE, ExitCode.CONFIGURATION, ExitCode.SECURITY)
        assert ended.exit_code == ExitCode.DONE or path.name in ended.stderr or path.parent.name in ended.stderr
        if ended.exit_code == ExitCode.DONE:
            described.add(json.loads(hocket("inspect", "--json", path).stdout)["what"])
    assert described <= {
        "group secret",
    }


def test_inspect_of_a_changed_file_is_a_refusal(done: Federation):
    """One byte flipped in the middle of what has a digest, a layout or a checksum of its own."""
    home = done.home("P01")
    prepared = next(home.prepared.iterdir())
    changed = [home.start_file(3), home.baseline / "local.safetensors", prepared / "x.npz", prepared / "tasks.parquet"]
    for path in changed:
        flip(path, path.stat().st_size // 2)
        assert str(path) in refused(ExitCode.CONFIGURATION, "inspect", path)
    for path in (done.exchange / name for name in (UPDATE.payload, SUM.payload, UPDATE.manifest)):
        flip(path, 3)
        assert path.name in refused(ExitCode.SECURITY, "inspect", path)


@pytest.mark.parametrize("name", ["report.json", "summary.json", "manifest.json", "finished.json", "step-0001.json"])
def test_inspect_of_an_empty_note_is_a_refusal(tmp_path: Path, name: str):
    """A JSON object without the keys that files of its name have."""
    (tmp_path / name).write_text("{}")
    assert name in refused(ExitCode.CONFIGURATION, "inspect", tmp_path / name)


def test_inspect_of_what_only_some_homes_hold(done: Federation):
    """The record that MLflow has everything, and the residual of an unfinished attempt."""
    write_json(done.home("P01").tracked, {"run": "0123"})
    assert "MLflow run" in hocket("inspect", done.home("P01").tracked).stdout
    attempt = RoundFiles(done.home("P01").training(3), read_plan(done.plan_file).layout)
    attempt.write_residual(np.zeros(4, np.float32), 0.5)
    leftover = attempt.folder / "leftover.safetensors"
    kind = hocket("inspect", leftover).stdout.splitlines()[0]
    assert "left over" in kind
    assert kind.endswith("(private)")


def test_inspect_of_a_file_that_is_not_listed(done: Federation):
    """A matrix that somebody put into a prepared folder."""
    folder = next(done.home("P01").prepared.iterdir())
    (folder / "extra.npz").write_bytes(b"x")
    assert "extra.npz" in refused(ExitCode.CONFIGURATION, "inspect", folder / "extra.npz")


def test_inspect_needs_no_torch_and_no_key(finished: Federation):
    """An update is read from its container, with the heavy libraries unimportable."""
    update = finished.exchange / "round-0001" / "attempt-01" / "update.P01.arrow"
    ended = light_process("inspect", "--json", update)
    assert ended.returncode == ExitCode.DONE, ended.stderr
    found = json.loads(ended.stdout)
    assert found == json.loads(json.dumps(describe_file(update)))
    assert found["members"] == ["P01"]
    assert (found["round"], found["attempt"], found["n_params"]) == (1, 1, 512 * 16 + 16)


# ---------------------------------------------------------------------------------------------------------- verify


def test_verify_prints_the_audit_trail(finished: Federation, monkeypatch: pytest.MonkeyPatch):
    """A round in three lines, the verdict in the last, from any folder."""
    done = hocket("verify", finished.plan_file, finished.exchange)
    assert done.exit_code == ExitCode.DONE
    assert "warning" not in done.stderr  # progress may stand there, where a machine is slow
    lines = done.stdout.splitlines()
    rounds = [line for line in lines if line.startswith("round")]
    assert [line.split(",")[0] for line in rounds] == ["round 1", "round 2"]
    assert all(name in line for line in rounds for name in finished.partners)
    assert "2 sums" in lines[-1]
    monkeypatch.chdir(finished.folder)
    assert hocket("verify", "plan.toml", "exchange").stdout == done.stdout
    assert "0 sums" in hocket("verify", "--quick", "plan.toml", "exchange").stdout.splitlines()[-1]


def test_verify_as_json(finished: Federation):
    """For a program; the sums are added again unless asked otherwise."""
    for options, n_recomputed in (((), 2), (("--quick",), 0)):
        found = json.loads(hocket("verify", "--json", *options, finished.plan_file, finished.exchange).stdout)
        assert [(at["round_no"], at["outcome"]) for at in found["attempts"]] == [(1, "sum"), (2, "sum")]
        assert found["n_recomputed"] == n_recomputed


def test_verify_of_a_wrong_sum(done: Federation):
    """Signed by the aggregator and laid out as it must be, but not the sum of the updates: exit code 4."""
    flip(done.exchange / SUM.payload, -1000)
    say_again(done, SUM)
    folder = str((done.exchange / SUM.payload).parent)
    assert f"{folder}:" in refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange)
    assert hocket("verify", "--quick", done.plan_file, done.exchange).exit_code == ExitCode.DONE


def test_warnings_are_no_failure(voided: Federation, monkeypatch: pytest.MonkeyPatch):
    """Exit code 0, the warning and the verdict on stdout."""
    monkeypatch.setattr(time, "time", lambda: 1e9)
    done = hocket("verify", voided.plan_file, voided.exchange)
    assert done.exit_code == ExitCode.DONE
    assert re.search(rf"^warning: .*\b{AGGREGATOR}\b", done.stdout, re.MULTILINE)


def test_verify_of_a_damaged_transcript(done: Federation):
    """Exit code 4, the file named, nothing on stdout."""
    path = done.exchange / "round-0002" / "attempt-01" / "sum.agg.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "sum.agg.arrow" in refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange)


@pytest.mark.parametrize("command", ["status", "verify"])
@pytest.mark.parametrize("exchange", ["exchange", "s3://bucket/example"])
def test_plan_and_exchange_swapped(
    finished: Federation, monkeypatch: pytest.MonkeyPatch, command: str, exchange: str
) -> None:
    """Exit code 2, and the order in which they are expected; nothing is asked over a network."""
    monkeypatch.chdir(finished.folder)
    message = refused(ExitCode.CONFIGURATION, command, exchange, "plan.toml")
    assert message.index("PLAN (") < message.index("EXCHANGE second")


def test_verify_of_nothing(finished: Federation, tmp_path: Path):
    """A mistyped folder is not a sound transcript."""
    assert str(tmp_path / "typo") in refused(ExitCode.CONFIGURATION, "verify", finished.plan_file, tmp_path / "typo")


def test_a_real_process_refuses_without_traceback(finished: Federation):
    """The installed module end to end: one line on stderr, the code for the shell."""
    done = finished.hocket("verify", str(finished.plan_file), str(finished.folder / "typo"))
    assert done.returncode == ExitCode.CONFIGURATION
    assert done.stdout == ""
    assert done.stderr.startswith("hocket: ")
    assert "Traceback" not in done.stderr
