"""`hocket partner run` and `hocket aggregator run`: take part in a federation."""

import os
import signal
import threading
from pathlib import Path

import click

from pipeline.commands.options import examples, interruptible, log_format, member_config
from pipeline.runtime.log import Log


@click.group()
def partner() -> None:
    """Run a partner."""


@click.group()
def aggregator() -> None:
    """Run the aggregator."""


_ONCE = click.option("--once", is_flag=True, help="Do what can be done now; exit code 6 if others are awaited.")
_TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after so long without progress: exit code 6 if others are awaited, 2 if the exchange does not "
    "answer or the disk is full. With --once it waits for exchange and disk only.  [default: no limit]",
)


_END_WITH_STDIN = click.option(
    "--end-with-stdin",
    is_flag=True,
    hidden=True,
    expose_value=False,
    callback=lambda _context, _option, wanted: _watch_stdin() if wanted else None,
    help="Stop, as by SIGTERM, when standard input ends: when the process that started this one is gone.",
)


def _watch_stdin() -> None:
    threading.Thread(target=_stop_when_stdin_ends, daemon=True).start()


def _stop_when_stdin_ends() -> None:
    while os.read(0, 1 << 12):  # never any data; sys.stdin would hold its lock at exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@partner.command(
    "run", epilog=examples("hocket partner run partner.toml", "hocket partner run partner.toml --once  # cron")
)
@member_config
@_ONCE
@_TIMEOUT
@_END_WITH_STDIN
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
@member_config
@_ONCE
@_TIMEOUT
@_END_WITH_STDIN
@log_format
def aggregator_run(config: Path, once: bool, timeout_s: float | None, log: Log) -> None:
    """Call rosters and add sealed updates until the plan's last round."""
    with interruptible(log):
        from pipeline.runs.jobs import run_aggregator

        run_aggregator(config, once=once, timeout_s=timeout_s, log=log)
