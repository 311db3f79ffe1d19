"""Completion in the shell, and `hocket --version`."""

import os
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import pipeline.runtime.versions
from pipeline.errors import ExitCode
from pipeline.runtime.versions import LIBRARIES, installed, version_lines, versions
from tests.support.cli_runner import finished_process, printed, python_process, refused
from tests.support.command_lines import commands

BASH = shutil.which("bash") or ""
_HOCKET = "import sys; sys.argv[0] = 'hocket'; from pipeline.cli import main; main()"


def script(shell: str) -> str:
    """What `hocket completion` prints."""
    return printed("completion", shell)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hocket ke", {"key"}),
        ("hocket key ", {"new", "deal", "show", "passphrase"}),
        ("hocket key new P01 --r", {"--role"}),
        ("hocket key new P01 --role ", {"partner", "aggregator"}),
        ("hocket completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_what_is_completed(typed: str, expected: set[str]):
    """Asked as the shell's script asks: commands, options, choices."""
    words = typed.split(" ")
    environment = os.environ | {
        "_HOCKET_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = python_process(_HOCKET, environment=environment)
    assert {line.removeprefix("plain,") for line in done.stdout.split()} == expected


@pytest.mark.skipif(not BASH, reason="needs bash")
def test_the_script_works_in_bash(tmp_path: Path):
    """Sourced in a real bash, with hocket on its path: the reply is what TAB would show."""
    (tmp_path / "hocket").write_text(f"#!{sys.executable} -P\n{_HOCKET}\n")
    (tmp_path / "hocket").chmod(0o755)
    (tmp_path / "completion").write_text(script("bash"))
    asks = (
        'source "$0"; COMP_WORDS=(hocket partner ""); COMP_CWORD=2; _hocket_completion hocket; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = finished_process([BASH, "-c", asks, tmp_path / "completion"], environment=environment)
    assert (done.stdout, done.returncode) == ("run\n", 0), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str):
    """It asks hocket, and is for hocket whatever way this process was started."""
    text = script(shell)
    assert f"_HOCKET_COMPLETE={shell}_complete" in text
    assert re.search(r"(complete .*|compdef .*|--command )hocket\b", text)


def test_another_shell_is_refused():
    """With those that are known."""
    assert "bash" in refused(ExitCode.CONFIGURATION, "completion", "tcsh")


def test_versions_are_those_of_the_metadata():
    """Of every library that matters; nothing is imported for it."""
    by_library = versions()
    assert by_library["hocket"] == version("hocket")
    assert by_library["python"] == ".".join(map(str, sys.version_info[:3]))
    assert all(
        by_library[library] == version(library) for library in ("numpy", "torch", "rdkit", "tenseal", "cryptography")
    )
    assert by_library.keys() == {"hocket", "python", "system", *LIBRARIES}


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch):
    """An aggregator's machine has no torch."""
    assert installed("no-such-distribution") is None
    monkeypatch.setattr(pipeline.runtime.versions, "installed", {"hocket": "0.1.0"}.get)
    lines = version_lines()
    assert lines[0] == "hocket, version 0.1.0"
    assert any(line.split() == ["torch", "not", "installed"] for line in lines)


def test_the_version_imports_nothing():
    """`hocket --version` reads metadata: it answers as fast as --help."""
    code = (
        "import sys, pipeline.cli\n"
        "try: pipeline.cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({name.split('.')[0] for name in sys.modules}"
        " & {'numpy', 'torch', 'rdkit', 'polars', 'pydantic', 'mlflow', 'rich', 'tenseal', 'fsspec'}))"
    )
    done = python_process(code)
    assert done.stdout.startswith("hocket, version ")
    assert done.stdout.endswith("HEAVY []\n")


def test_the_new_commands_are_there():
    """Names that scripts may rely on."""
    assert {"init plan", "init partner", "init aggregator", "doctor", "completion"} <= dict(commands()).keys()
