"""What several commands have in common.

Every command ends its help with examples: `@click.command(epilog=examples("hocket verify exchange plan.toml", ...))`.
Each is a line that a shell would take, with a `# comment` where it needs one; tests/pipeline/test_help.py checks that
every command has one and that each names existing commands, options and choices and gives every required argument.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


def examples(*lines: str) -> str:
    """Epilog of a command's help: the examples, each on a line of its own."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a normal end: the files are the state, and the next start goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("hocket: stopped; start the same command again to go on", err=True)
        sys.exit(6)
