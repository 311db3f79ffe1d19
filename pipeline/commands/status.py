"""`hocket status`: show the state of the federation and of each member."""

import json
from contextlib import suppress
from pathlib import Path

import click

from pipeline.commands.options import PLAN_FILE, examples


@click.command(
    short_help="Show the state of the federation and of each member.",
    epilog=examples(
        "hocket status plan.toml exchange",
        "hocket status plan.toml s3://bucket/example --watch",
    ),
)
@click.argument("plan", type=PLAN_FILE)
@click.argument("exchange")
@click.option("--watch", "watching", is_flag=True, help="Follow the federation until it is finished or Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two updates of --watch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(plan: Path, exchange: str, watching: bool, every_s: float, as_json: bool) -> None:
    """Show the state of the federation and of each member, from the signed messages in EXCHANGE (folder or URL).

    Needs no key and reads no sealed file. A place such as 6.1 is round 6, attempt 1. Messages with a wrong signature
    are listed and otherwise ignored.
    """
    import time

    from rich.console import Console

    from pipeline.audit.status import StatusReader
    from pipeline.audit.status_view import print_status, status_json, watch
    from pipeline.exchange.storage import exchange_at
    from pipeline.plan.plan import read_plan

    if watching and as_json:
        raise click.UsageError("--watch and --json do not go together: run --json again instead")
    reader, console = StatusReader(read_plan(plan), exchange_at(exchange, Path())), Console(highlight=False)
    if watching:
        with suppress(KeyboardInterrupt):
            watch(reader, console, every_s=every_s)
    elif as_json:
        click.echo(json.dumps(status_json(reader.read_status(), reader.plan, time.time()), indent=1))
    else:
        print_status(reader.read_status(), reader.plan, time.time(), console)
