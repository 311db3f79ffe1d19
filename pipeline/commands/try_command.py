"""`hocket try`: a search for settings on a partner's own data, without federation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.commands.options import examples, interruptible, log_format, member_config
from pipeline.runtime.log import Log

T = TypeVar("T")


class _ListOf(click.ParamType[Any]):
    """Values separated by commas."""

    def __init__(self, name: str, one: Callable[[str], Any]) -> None:
        self.name, self._one = name, one

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:  # noqa: ANN401 -- click's
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._one(part.strip()) for part in str(value).split(","))
        except ValueError:
            self.fail(f"found {value!r}, expected {self.name}, separated by commas", param, ctx)


def _layers(text: str) -> tuple[int, ...]:
    return tuple(int(units) for units in text.split("x"))


@click.command(
    "try",
    short_help="Try settings on a partner's own data, without federation.",
    epilog=examples(
        "hocket try partner.toml",
        "hocket try partner.toml --hidden 256,512,1000x500 --dropout 0.2,0.6 --trials 27",
        "hocket try partner.toml --learning-rate 0.0003,0.001,0.003 --trials 3 --rounds 40",
    ),
)
@member_config
@click.option(
    "--hidden",
    type=_ListOf("units, layers joined by x", _layers),
    default=(),
    metavar="LIST",
    help="Units to try, 1000x500 for two layers  [default: a quarter, a half and all of the plan's].",
)
@click.option(
    "--dropout",
    type=_ListOf("shares", float),
    default=(),
    metavar="LIST",
    help="Shares to try  [default: 0.2,0.4,0.6].",
)
@click.option(
    "--learning-rate",
    type=_ListOf("numbers", float),
    default=(),
    metavar="LIST",
    help="Rates to try  [default: a third of the configuration's, that, and thrice that].",
)
@click.option(
    "--trials",
    "n_candidates",
    type=click.IntRange(1, 500),
    default=9,
    show_default=True,
    help="Combinations to begin with, the settings as they are among them.",
)
@click.option(
    "--rounds", "n_rounds", type=click.IntRange(1, 9999), help="Rounds of the last one  [default: the plan's]."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which combinations are drawn.")
@log_format
def try_command(config: Path, log: Log, **choices: Any) -> None:  # noqa: ANN401 -- the options, named as in Choices
    """Try settings on a partner's own data, without federation, and propose the best for plan and partner.toml.

    Successive halving: all combinations are trained for a few rounds, the best third three times as long, and so on.
    They are compared on the validation fold; the test fold is not looked at. Nothing is sent to any other member. The
    same command goes on where it was stopped. Needs the partner's keys and a plan, which may be a draft.
    """
    from rich.console import Console

    from pipeline.runs.tries.logged import log_tries
    from pipeline.runs.tries.proposal import print_tries
    from pipeline.runs.tries.search import Choices, try_settings

    with interruptible(log):
        tries = try_settings(config, Choices(**choices), log)
        if not log_tries(config, tries.folder):
            click.echo(
                f"hocket: MLflow's store lacks these trials, see {tries.folder.parent / 'tracking.log'}", err=True
            )
    print_tries(tries, Console(width=120))
    click.echo(f"written to {tries.folder}")
