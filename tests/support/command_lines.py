"""Command lines as they stand in help texts and documents, checked against the commands that there are."""

import shlex
from collections.abc import Iterator

import click

from pipeline.cli import main

# types whose values need nothing but the command line to be judged
_JUDGED = (click.Choice, click.IntRange, click.FloatRange, click.types.IntParamType, click.types.FloatParamType)


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Name and command of everything that can be run, groups left out."""
    for name, command in group.commands.items():
        inner = (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, inner)
        else:
            yield " ".join(inner), command


def examples_of(command: click.Command) -> list[str]:
    """The examples in a command's help, as in pipeline.commands.options.examples."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    return [line for line in lines if line.startswith("hocket ")]


def words_of(line: str) -> list[str]:
    """What the shell would hand to hocket: without the comment, what follows a pipe or goes to a file."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("();<>|&"):
            break
        words.append(word)
    return words


def parse(line: str) -> click.Command:
    """The command that a line runs.

    Raises click.UsageError where it names no command, an unknown option or choice, or lacks or exceeds arguments.
    """
    command, context, words = _resolve(line)
    _check_values(line, command, context, words)
    return command


def command_of(line: str) -> click.Command:
    """The command or group that a line names; its arguments are not looked at. Raises click.UsageError for none."""
    return _resolve(line)[0]


def _resolve(line: str) -> tuple[click.Command, click.Context, list[str]]:
    program, *words = words_of(line)
    if program != "hocket":
        raise click.UsageError(f"{line}: expected a hocket command")
    command: click.Command = main
    # with the group's own settings: click keeps the help option of the first context for every later one
    context = click.Context(main, info_name="hocket", resilient_parsing=True, **main.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        if found is None:
            raise click.UsageError(f"{line}: no command {name}")
        command, context = found, click.Context(found, info_name=name, parent=context, resilient_parsing=True)
    return command, context, words


def _check_values(line: str, command: click.Command, context: click.Context, words: list[str]) -> None:
    given, left, _ = command.make_parser(context).parse_args(list(words))
    if left:
        raise click.UsageError(f"{line}: too many arguments: {left}")
    for parameter in command.get_params(context):
        value = given.get(parameter.name or "")
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.required and not isinstance(value, str | list | tuple):
            raise click.UsageError(f"{line}: {parameter.human_readable_name} is missing")
        for one in values if isinstance(parameter.type, _JUDGED) else ():
            if isinstance(one, str):
                parameter.type.convert(one, parameter, context)
