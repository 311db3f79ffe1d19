"""`hocket status`: show the state of the federation and of each member."""

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import ANY_PATH, PLAN_FILE, examples

if TYPE_CHECKING:
    from pipeline.audit.member_states import Status
    from pipeline.plan.plan import Plan

_PAGE_S = 60.0  # between two loads of a page that --watch does not write
_SHORTEST_PAGE_S = 10.0


@click.command(
    short_help="Show the state of the federation and of each member.",
    epilog=examples(
        "hocket status plan.toml exchange",
        "hocket status plan.toml s3://bucket/example --watch",
        "hocket status plan.toml exchange --watch --every 60 --html status.html",
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
@click.option(
    "--html",
    "page",
    type=ANY_PATH,
    metavar="FILE",
    help="Write a page that reloads itself; --watch keeps it up to date.",
)
def status(plan: Path, exchange: str, watching: bool, every_s: float, as_json: bool, page: Path | None) -> None:
    """Show the state of the federation and of each member, from the signed messages in EXCHANGE (folder or URL).

    Tells who is awaited and since when, what happens by when, who is late or in trouble. Needs no key and reads no
    sealed file. A place such as 6.1 is round 6, attempt 1. Messages with a wrong signature are listed and otherwise
    ignored. Exit code 2 if there is nothing of this plan.
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
            watch(reader, console, every_s=every_s, seen=partial(_write_page, page, reader.plan, every_s))
        return
    found, now = reader.read_status(), time.time()
    _write_page(page, reader.plan, _PAGE_S, found, now)
    if as_json:
        click.echo(json.dumps(status_json(found, reader.plan, now), indent=1))
    else:
        print_status(found, reader.plan, now, console)


def _write_page(page: Path | None, plan: "Plan", every_s: float, status: "Status", now: float) -> None:
    if page is not None:
        from pipeline.pages.status_page import write_status_page

        write_status_page(page, status, plan, now, refresh_s=max(every_s, _SHORTEST_PAGE_S))
