"""What several commands have in common.

Every command ends its help with examples: `@click.command(epilog=examples("hocket verify exchange plan.toml", ...))`.
Each is a line that a shell would take, with a `# comment` where it needs one; tests/pipeline/commands/test_help.py
checks that every command has one and that each names existing commands, options and choices and gives every required
argument.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.runtime.log import Log
from pipeline.runtime.signals import ABANDONED, BEGINS_ANEW, GRACE_S, STOPPED, Stoppable

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)
_OPTION = "--log-format"
_LOG = "hocket.log"  # of click's meta, which a command shares with its groups


def log_of(ctx: click.Context) -> Log:
    """Where the command that runs writes its lines."""
    found: Log = ctx.meta.setdefault(_LOG, Log())
    return found


def choose_log(ctx: click.Context, arguments: Sequence[str]) -> None:
    """Look for the format before anything is parsed, so that whatever is refused is said in it."""
    asked = " ".join(arguments).replace("=", " ")
    ctx.meta[_LOG] = log = Log(as_json=f"{_OPTION} json" in asked)
    log.take_over()


log_format = click.option(
    _OPTION,
    "log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=lambda ctx, _option, _chosen: log_of(ctx),
    help="What stderr holds: lines for people, or one JSON object on each line.",
)


def complain(log: Log, message: str, notes: Sequence[str], code: int) -> None:
    """Say on stderr why a command ends, and what to do."""
    if log.as_json:
        log.write(message, "error", notes=list(notes), exit_code=code)
        return
    click.echo(f"hocket: {message}", err=True)
    for note in notes:
        click.echo(f"  {note}", err=True)


def examples(*lines: str) -> str:
    """Epilog of a command's help: the examples, each on a line of its own."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))


@contextmanager
def interruptible(log: Log | None = None, grace_s: float = GRACE_S, *, goes_on: bool = True) -> Iterator[None]:
    """A stop by Ctrl-C or a batch system is a normal end: what is said of it fits the command.

    goes_on : whether the files are the command's state, from which its next start goes on
    """
    log = log or Log()
    stopped, abandoned = (STOPPED, ABANDONED) if goes_on else (BEGINS_ANEW, BEGINS_ANEW)

    def tell(message: str) -> None:
        log.write(message if log.as_json else f"hocket: {message}")

    stoppable = Stoppable(tell, grace_s, abandoned)
    try:
        with stoppable:
            yield
    except KeyboardInterrupt:
        tell(stopped)
        if stoppable.was_stopped:
            stoppable.end()
        sys.exit(6)
