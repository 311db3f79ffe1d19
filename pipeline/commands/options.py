"""Options, logging and help examples that several commands share.

Every command ends its help with examples: `@click.command(epilog=examples("hocket verify plan.toml exchange", ...))`.
Each is a line for a shell, with a `# comment` if it needs one. tests/pipeline/commands/test_help.py checks that every
command has an example, and that each is a valid command with all required arguments.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.runtime.log import Log
from pipeline.runtime.printable import printable
from pipeline.runtime.signals import ABANDONED, BEGINS_ANEW, GRACE_S, STOPPED, Stoppable

FC = TypeVar("FC", bound=Callable[..., Any])  # a command, or the function that becomes one
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class _PlanFile(click.Path):
    """An existing file; a folder or URL gets a separate error, because people swap the two arguments."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 -- click's
        if "://" in str(value) or Path(value).is_dir():
            self.fail(
                f"{str(value)!r} is a folder or URL, but PLAN (a file) comes first and EXCHANGE second.", param, ctx
            )
        return super().convert(value, param, ctx)


PLAN_FILE = _PlanFile(exists=True, dir_okay=False, path_type=Path)
member_config = click.argument("config", type=EXISTING_FILE)  # partner.toml or aggregator.toml
_OPTION = "--log-format"


def column_options(command: FC) -> FC:
    """Add the options that name the columns of INPUT."""
    id_column = click.option(
        "--id-column", help="INPUT's column, or SD field, with the compounds' ids  [default: input_compound_id]."
    )
    smiles_column = click.option("--smiles-column", help="INPUT's column with the structures  [default: smiles].")
    return id_column(smiles_column(command))


def port_option(default: int) -> Callable[[FC], FC]:
    """Make the option for the port of a server on this machine."""
    ports = click.IntRange(1, 65535)
    return click.option("--port", default=default, show_default=True, type=ports, help="Port on 127.0.0.1.")


_LOG = "hocket.log"  # key in click's meta, which a command shares with its groups
OWN_PROCESS = "own process"  # click's obj of a command that is the whole process


def get_log(ctx: click.Context) -> Log:
    """The log of the running command."""
    log: Log = ctx.meta.setdefault(_LOG, Log())
    return log


def choose_log(ctx: click.Context, arguments: Sequence[str]) -> None:
    """Set up the log in the format of --log-format, before parsing, so that usage errors have this format too."""
    line = " ".join(arguments).replace("=", " ")
    ctx.meta[_LOG] = log = Log(as_json=f"{_OPTION} json" in line)
    log.take_over()


log_format = click.option(
    _OPTION,
    "log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=lambda ctx, _option, _chosen: get_log(ctx),
    help="Format of stderr: text, or one JSON object on each line.",
)


def report_error(log: Log, message: str, notes: Sequence[str], code: int) -> None:
    """Write on stderr why a command failed, and what to do."""
    if log.as_json:
        log.write(message, "error", notes=list(notes), exit_code=code)
        return
    for line in (f"hocket: {message}", *(f"  {note}" for note in notes)):
        click.echo(printable(line), err=True)


def echo(text: str) -> None:
    """Write a text on stdout that may hold names, ids or messages of others."""
    click.echo(printable(text))


def examples(*lines: str) -> str:
    """Epilog of a command's help: the examples, one on each line."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))


@contextmanager
def interruptible(log: Log | None = None, grace_s: float = GRACE_S, *, goes_on: bool = True) -> Iterator[None]:
    """Turn a stop by Ctrl-C or a batch system into a short message and exit code 6.

    goes_on : whether the next start of the command goes on from its files, or begins again
    """
    log = log or Log()
    stopped, abandoned = (STOPPED, ABANDONED) if goes_on else (BEGINS_ANEW, BEGINS_ANEW)

    def report(message: str) -> None:
        log.write(message if log.as_json else f"hocket: {message}")

    ctx = click.get_current_context(silent=True)
    stoppable = Stoppable(report, grace_s, abandoned, ends_process=ctx is not None and ctx.obj == OWN_PROCESS)
    try:
        with stoppable:
            yield
    except KeyboardInterrupt:
        report(stopped)
        if stoppable.was_stopped:
            stoppable.end()
        sys.exit(6)
