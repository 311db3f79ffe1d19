"""What several commands have in common."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.log import Log
from pipeline.stopping import STOPPED, Stoppable

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)
_LOG = "hocket.log"  # of click's meta, which a command shares with its groups


def log_of(ctx: click.Context) -> Log:
    """Where the command that runs writes its lines."""
    found: Log = ctx.meta.setdefault(_LOG, Log())
    return found


def _set_log(ctx: click.Context, _: click.Parameter, chosen: str) -> Log:
    log = ctx.meta[_LOG] = Log(as_json=chosen == "json")
    log.take_over()
    return log


log_format = click.option(
    "--log-format",
    "log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    is_eager=True,  # so that a refusal of another option is said in that format too
    callback=_set_log,
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


@contextmanager
def interruptible(log: Log | None = None) -> Iterator[None]:
    """A stop by Ctrl-C or a batch system is a normal end: the files are the state, and the next start goes on."""
    log = log or Log()

    def tell(message: str) -> None:
        log.write(message if log.as_json else f"hocket: {message}")

    try:
        with Stoppable(tell):
            yield
    except KeyboardInterrupt:
        tell(STOPPED)
        sys.exit(6)
