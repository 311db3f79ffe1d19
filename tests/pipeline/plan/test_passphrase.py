"""A passphrase from a command: its first line, in no message, and never a way to go on without one."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.passphrase import passphrase_from
from pipeline.setup.keys import change_passphrase
from tests.support.cli_runner import hocket
from tests.support.federation import Federation

WORDS = "correct horse"


def python(code: str) -> list[str]:
    """A command that runs Python code."""
    return [sys.executable, "-c", code]


def refusal(command: list[str], folder: Path, timeout_s: float = 60.0) -> str:
    """Everything that is said of a command that gives no passphrase; the secret is not part of it."""
    with pytest.raises(ConfigError) as caught:
        passphrase_from(command, folder, timeout_s)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert WORDS not in text
    assert "--token" not in text
    assert caught.value.__cause__ is None
    return text


def test_the_first_line_is_the_passphrase(tmp_path: Path):
    """The rest of the output and everything on standard error are dropped; no shell reads the arguments."""
    code = f"import sys; print({WORDS!r}); print('below'); print('noise', file=sys.stderr)"
    assert passphrase_from([*python(code), "$(hostname)"], tmp_path, 60.0) == WORDS
    assert passphrase_from([*python("import sys; print(sys.argv[1])"), "$HOME;"], tmp_path, 60.0) == "$HOME;"
    assert passphrase_from(python("import os; print(os.getcwd())"), tmp_path, 60.0) == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"print({WORDS!r}); raise SystemExit(3)", "ended with 3"),
        ("pass", "empty first line"),
        ("print(); print('below')", "empty first line"),
        (f"import sys; sys.stdout.buffer.write({WORDS!r}.encode() + b'\\xff')", "not UTF-8"),
    ],
)
def test_a_command_that_gives_none_is_refused(tmp_path: Path, code: str, words: str):
    """Whatever it wrote is not shown."""
    assert words in refusal(python(code), tmp_path)


def test_a_command_that_cannot_be_started_is_refused(tmp_path: Path):
    """Its name is shown, its arguments are not: one may be a token."""
    assert "./nosuch" in refusal(["./nosuch", "--token=hidden"], tmp_path)
    assert "cannot be started" in refusal([sys.executable, "--token\0"], tmp_path)


def test_a_command_that_hangs_is_ended(tmp_path: Path):
    """After the set time."""
    waits = "import threading; threading.Event().wait()"
    assert "within 0.5 s" in refusal(python(f"print({WORDS!r}, flush=True); {waits}"), tmp_path, 0.5)


def test_what_a_hanging_command_started_is_ended_too(tmp_path: Path):
    """It holds the other end of a pipe, which closes when it is killed."""
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    refusal(["/bin/sh", "-c", "exec 3>pipe; tail -f /dev/null & wait"], tmp_path, 0.5)
    os.set_blocking(pipe, True)
    with os.fdopen(pipe, "rb") as file:
        assert file.read() == b""


def test_keys_are_unlocked_by_a_command(fresh: Federation):
    """`doctor` opens the keys with it, a wrong passphrase is exit code 4, and file and command exclude each other."""
    config, folder = fresh.config("P01"), fresh.folder / "P01"
    (folder / "pass").touch(0o600)
    (folder / "pass").write_text(WORDS)
    change_passphrase(fresh.home("P01").folder, None, folder / "pass")

    def with_command(code: str) -> None:
        command = json.dumps(python(code))
        before = config.read_text().split("[keys]")[0]
        config.write_text(f"{before}[keys]\npassphrase_command = {command}\n")

    with_command("print(open('pass').read())")
    assert PartnerConfig.read(config).passphrase() == WORDS
    done = hocket("doctor", config)
    assert "unlocked by the passphrase command" in done.stdout
    with_command("print('another')")
    wrong = hocket("partner", "run", config, "--once")
    assert wrong.exit_code == ExitCode.SECURITY
    assert "another" not in wrong.stderr
    config.write_text('passphrase_file = "pass"\n' + config.read_text())
    with pytest.raises(ConfigError, match="passphrase_command: found both"):
        PartnerConfig.read(config)


@pytest.mark.parametrize(
    "setting", ['keys.passphrase_command = "--token hidden"', "notify.webhook = ['hidden']", 'keys = "hidden"']
)
def test_an_error_does_not_show_a_token(fresh: Federation, setting: str):
    """The key is named, its value is not."""
    config = fresh.config("P01")
    config.write_text(f"{setting}\n{config.read_text()}")
    with pytest.raises(ConfigError) as caught:
        PartnerConfig.read(config)
    assert setting.split(" ", maxsplit=1)[0] in str(caught.value)
    assert "hidden" not in str(caught.value)
