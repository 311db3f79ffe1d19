"""What several commands have in common."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a normal end: the files are the state, and the next start goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("hocket: stopped; start the same command again to go on", err=True)
        sys.exit(6)
