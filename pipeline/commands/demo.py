"""`hocket demo`: run a whole federation on this machine."""

from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, examples, interruptible, log_format
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
@click.option("--set-up-only", is_flag=True, help="Make tables, keys, plan and configurations, and run no member.")
@log_format
def demo(
    folder: Path, partners: int, rounds: int | None, seed: int, data: Path | None, set_up_only: bool, log: Log
) -> None:
    """Run a whole federation on this machine: three partners, an aggregator, real ChEMBL data."""
    with interruptible(log, GRACE_S + 2):  # its members end within GRACE_S
        from pipeline.demo.demo import run_demo

        run_demo(
            folder,
            n_partners=partners,
            n_rounds=rounds,
            seed=seed,
            source=data,
            log=log,
            only_set_up=set_up_only,
        )
