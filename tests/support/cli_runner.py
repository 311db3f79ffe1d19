"""hocket's commands, run in this process or in one of their own."""

import subprocess
import sys

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


def hocket_process(*arguments: object, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, as a user does."""
    command = hocket_command(*arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


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
