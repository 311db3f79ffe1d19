"""The commands that look: at files, transcripts, stores."""

import json
from contextlib import suppress
from pathlib import Path

import click

from pipeline.commands.words import EXISTING_FILE, examples


@click.command(epilog=examples("hocket inspect plan.toml", "hocket inspect exchange/enrol/deal.P01.json --json"))
@click.argument("file", type=EXISTING_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Say what any hocket file is, without a key."""
    from pipeline.inspection import as_lines, inspect_file

    found = inspect_file(file)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(as_lines(found)))


@click.command(
    short_help="Check a whole transcript, without any secret.",
    epilog=examples("hocket verify exchange plan.toml", "hocket verify s3://bucket/all plan.toml --quick"),
)
@click.argument("exchange")
@click.argument("plan", type=EXISTING_FILE)
@click.option("--quick", is_flag=True, help="Do not add the updates of every sum again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(exchange: str, plan: Path, quick: bool, as_json: bool) -> None:
    """Check the whole transcript in EXCHANGE (folder or URL) against PLAN, without any secret.

    Signatures, files, rosters, order, and every sum: it is added again from its updates. Prints what took part when.
    """
    import os
    import time

    from rich.console import Console

    from pipeline.audit import audit
    from pipeline.audit_trail import print_trail, trail_json
    from pipeline.console import Narrator
    from pipeline.exchange import exchange_at
    from pipeline.plan import read_plan

    agreed, place, n_cores = read_plan(plan), exchange_at(exchange, Path()), len(os.sched_getaffinity(0))
    with Narrator("verify").progress("attempts") as progress:
        trail = audit(agreed, place, now=time.time(), recompute=not quick, workers=n_cores, progress=progress)
    if as_json:
        click.echo(json.dumps(trail_json(trail, agreed), indent=1))
    else:
        print_trail(trail, agreed, Console(highlight=False))


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

    from pipeline.exchange import exchange_at
    from pipeline.plan import read_plan
    from pipeline.status import StatusReader
    from pipeline.status_view import print_status, status_json, watch

    if watching and as_json:
        raise click.UsageError("--watch and --json do not go together: ask again for the next JSON")
    reader, console = StatusReader(read_plan(plan), exchange_at(exchange, Path())), Console(highlight=False)
    if watching:
        with suppress(KeyboardInterrupt):
            watch(reader, console, every_s=every_s)
    elif as_json:
        click.echo(json.dumps(status_json(reader.look(), reader.plan, time.time()), indent=1))
    else:
        print_status(reader.look(), reader.plan, time.time(), console)


@click.command(
    short_help="Serve MLflow's pages on a member's store.",
    epilog=examples("hocket ui partner.toml --port 5001  # then open the address that it prints"),
)
@click.argument("config", type=EXISTING_FILE)
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port of 127.0.0.1.")
def ui(config: Path, port: int) -> None:
    """Serve MLflow's UI on that member's store, on this machine only, until Ctrl-C.

    Prints the address to open. It holds a token, made anew at every start, without which nothing is answered. What the
    store does not have yet is sent to it first.
    """
    from pipeline.ui import serve_ui

    serve_ui(config, port)
