"""The commands that take part in a federation."""

from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, examples, interruptible, log_format
from pipeline.runtime.log import Log
from pipeline.runtime.signals import GRACE_S


@click.command(
    short_help="Run a whole federation on this machine, on real data.",
    epilog=examples("hocket demo", "hocket demo /tmp/demo --partners 5 --data MoleculeACE-3.0.0-py3-none-any.whl"),
)
@click.argument("folder", type=ANY_PATH, default="demo")
@click.option("--partners", default=3, show_default=True, type=click.IntRange(3, 16), help="Number of partners.")
@click.option("--rounds", default=None, type=click.IntRange(1, 500), help="Number of rounds  [default: the demo's].")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Same seed, same result.")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Local MoleculeACE 3.0.0 wheel, or a folder of partner folders with T0, T1, T2.",
)
@log_format
def demo(folder: Path, partners: int, rounds: int | None, seed: int, data: Path | None, log: Log) -> None:
    """Run a whole federation on this machine: three partners, an aggregator, real ChEMBL data."""
    with interruptible(log, GRACE_S + 2):  # its members have GRACE_S
        from pipeline.demo.demo import run_demo

        run_demo(folder, n_partners=partners, n_rounds=rounds, seed=seed, source=data, log=log)


@click.group()
def partner() -> None:
    """The partner's batch run."""


@click.group()
def aggregator() -> None:
    """The aggregator's job."""


_ONCE = click.option("--once", is_flag=True, help="Do what can be done now; exit 6 if others are awaited.")
_TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after so long without any progress: exit 6 if others are awaited, 2 if the exchange does not answer "
    "or the disk is full. With --once, only exchange and disk are waited for.  [default: wait for ever]",
)


@partner.command(
    "run", epilog=examples("hocket partner run partner.toml", "hocket partner run partner.toml --once  # cron")
)
@click.argument("config", type=EXISTING_FILE)
@_ONCE
@_TIMEOUT
@log_format
def partner_run(config: Path, once: bool, timeout_s: float | None, log: Log) -> None:
    """Take part until the plan's last round, then report."""
    with interruptible(log):
        from pipeline.runs.jobs import run_partner

        run_partner(config, once=once, timeout_s=timeout_s, log=log)


@aggregator.command(
    "run",
    epilog=examples("hocket aggregator run aggregator.toml", "hocket aggregator run aggregator.toml --once  # cron"),
)
@click.argument("config", type=EXISTING_FILE)
@_ONCE
@_TIMEOUT
@log_format
def aggregator_run(config: Path, once: bool, timeout_s: float | None, log: Log) -> None:
    """Call rosters and add sealed updates until the plan's last round."""
    with interruptible(log):
        from pipeline.runs.jobs import run_aggregator

        run_aggregator(config, once=once, timeout_s=timeout_s, log=log)
