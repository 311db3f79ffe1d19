"""`hocket status`: show where the federation and each member stand."""

import json
from contextlib import suppress
from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples


@click.command(
    short_help="Show where the federation and each member stand.",
    epilog=examples(
        "hocket status plan.toml exchange",
        "hocket status plan.toml s3://bucket/example --watch",
    ),
)
@click.argument("plan", type=EXISTING_FILE)
@click.argument("exchange")
@click.option("--watch", "watching", is_flag=True, help="Follow the federation until it is finished or Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks of --watch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(plan: Path, exchange: str, watching: bool, every_s: float, as_json: bool) -> None:
    """Show where the federation and each of its members stand, from the signed messages in EXCHANGE (folder or URL).

    Needs no key and reads no sealed file. What is not signed as it must be is named, and not believed.
    """
    import time

    from rich.console import Console

    from pipeline.audit.status import StatusReader
    from pipeline.audit.status_view import print_status, status_json, watch
    from pipeline.exchange.storage import exchange_at
    from pipeline.plan.plan import read_plan

    if watching and as_json:
        raise click.UsageError("--watch and --json do not go together: ask again for the next JSON")
    reader, console = StatusReader(read_plan(plan), exchange_at(exchange, Path())), Console(highlight=False)
    if watching:
        with suppress(KeyboardInterrupt):
            watch(reader, console, every_s=every_s)
    elif as_json:
        click.echo(json.dumps(status_json(reader.read_status(), reader.plan, time.time()), indent=1))
    else:
        print_status(reader.read_status(), reader.plan, time.time(), console)
