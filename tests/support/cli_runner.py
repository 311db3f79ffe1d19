"""hocket's commands, run in this process."""

from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.errors import ExitCode


def hocket(*arguments: object) -> Result:
    """Run the command in this process; what is no typed refusal is raised, as a traceback would be."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, words, catch_exceptions=False, prog_name="hocket")


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
