"""Help that can be followed: every command has examples, and they run."""

import re
from itertools import chain

import click
import pytest

from pipeline.cli import main
from pipeline.commands.options import examples
from tests.support.cli_runner import hocket, printed
from tests.support.command_lines import commands, examples_of, parse, words_of

ALL = dict(commands())
GROUPS = [(), *dict.fromkeys(tuple(name.split()[:-1]) for name in ALL if " " in name)]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_of_itself(name: str):
    """In its help, under a heading, and it names existing options and gives every required argument."""
    lines = examples_of(ALL[name])
    assert lines, f"hocket {name}: give examples, see pipeline/commands/options.py"
    assert [parse(line) for line in lines] == [ALL[name]] * len(lines)
    shown = [line.strip() for line in printed(*name.split(), "--help").splitlines()]
    assert ("Examples:" if len(lines) > 1 else "Example:") in shown
    assert set(lines) <= set(shown)


@pytest.mark.parametrize("name", ALL)
def test_help_fits_a_terminal(name: str):
    """Nothing is wider than 100 columns, an example included."""
    shown = hocket(*name.split(), "--help", terminal_width=100).stdout
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_says_in_whole_sentences_what_its_commands_do(path: tuple[str, ...]):
    """On 80 columns; a command whose first sentence is longer has a short_help."""
    shown = hocket(*path, "--help", terminal_width=80).stdout
    listed = shown.split("Options:")[1]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


def test_the_commands_stand_in_three_groups():
    """Every command once, and the column of their descriptions has room in each."""
    shown = hocket("--help", terminal_width=80).stdout
    names = {
        title: re.findall(r"^  (\S+)  ", shown.split(f"\n{title}:\n")[1].split("\n\n")[0], re.MULTILINE)
        for title in ("Set up", "Run", "Use the model")
    }
    assert {"key", "init", "doctor"} <= set(names["Set up"])
    assert {"partner", "aggregator", "status"} <= set(names["Run"])
    assert {"report", "predict"} <= set(names["Use the model"])
    assert sorted(chain.from_iterable(names.values())) == sorted(main.commands)


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str):
    """What it is for, in words."""
    options = [one for one in ALL[name].params if isinstance(one, click.Option)]
    assert [one.opts for one in options if not one.help] == []


def test_examples_stand_on_lines_of_their_own():
    """Click leaves them as they are."""
    assert examples("hocket ui a.toml") == "\b\nExample:\n  hocket ui a.toml"
    assert examples("hocket a", "hocket b  # c") == "\b\nExamples:\n  hocket a\n  hocket b  # c"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hocket nosuch", "nosuch"),
        ("hocket key nosuch", "nosuch"),
        ("hocket verify plan.toml exchange --nosuch", "nosuch"),
        ("hocket verify plan.toml", "exchange is missing"),
        ("hocket verify plan.toml exchange more", "too many"),
        ("hocket key new P01", "home is missing"),
        ("hocket key new P01 --home h --role custodian", "custodian"),
        ("hocket ui a.toml --port 0", "0"),
        ("rm -r exchange", "expected a hocket command"),
    ],
)
def test_a_wrong_example_is_noticed(line: str, said: str):
    """The checker itself: unknown names, wrong values, missing and needless arguments."""
    with pytest.raises(click.UsageError) as refusal:
        parse(line)
    assert said in refusal.value.format_message().lower()


def test_a_line_of_the_shell():
    """Comments, pipes, redirections and substitutions are the shell's."""
    assert words_of("hocket key new P01 --home h > P01.card") == ["hocket", "key", "new", "P01", "--home", "h"]
    assert words_of("hocket ui a.toml  # look") == ["hocket", "ui", "a.toml"]
    assert words_of("hocket report a.toml --json | jq .") == ["hocket", "report", "a.toml", "--json"]
    assert words_of("hocket init plan --name 'two words' &") == ["hocket", "init", "plan", "--name", "two words"]
