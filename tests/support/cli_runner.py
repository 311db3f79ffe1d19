"""hocket's commands and other code, run in this process or in one of its own."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.errors import ExitCode


def hocket(*arguments: object, terminal_width: int | None = None) -> Result:
    """Run the command in this process; what is no typed refusal is raised, as a traceback would be."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, words, catch_exceptions=False, prog_name="hocket", terminal_width=terminal_width)


def hocket_command(*arguments: object) -> list[str]:
    """The command line of a hocket process."""
    return [sys.executable, "-P", "-m", "pipeline.cli", *(str(argument) for argument in arguments)]


def finished_process(
    command: Sequence[object], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command line to its end."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def hocket_process(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, as a user does."""
    return finished_process(hocket_command(*arguments), environment=environment)


def python_process(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run Python code in a process of its own."""
    return finished_process([sys.executable, "-P", "-c", code, *arguments], environment=environment)


def light_process(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process in which no heavy library can be imported."""
    blocked = ["torch", "rdkit", "polars", "sklearn", "mlflow"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nfrom pipeline.cli import main\nmain()"
    return python_process(code, *arguments)


def write_script(path: Path, command: Sequence[object]) -> None:
    """Write an executable file that runs the command with more arguments; a test puts its folder on the PATH."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    path.chmod(0o755)


def printed(*arguments: object) -> str:
    """Standard output of a command that must end well and write nothing to standard error."""
    done = hocket(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def refused(code: ExitCode, *arguments: object) -> str:
    """Standard error of a command that must end with this code; nothing is printed as a result."""
    done = hocket(*arguments)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr
