"""The commands that look: at files, transcripts, stores."""

import json
from pathlib import Path

import click

from pipeline.commands.words import EXISTING_FILE, interruptible


@click.command()
@click.argument("file", type=EXISTING_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Say what any hocket file is, without a key."""
    from pipeline.inspection import as_lines, inspect_file

    found = inspect_file(file)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(as_lines(found)))


@click.command()
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


@click.command()
@click.argument("config", type=EXISTING_FILE)
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(config: Path, port: int) -> None:
    """Serve MLflow's UI on that member's store, on this machine only, until Ctrl-C.

    Prints where to look. What the store does not have yet is sent to it first.
    """
    from pipeline.ui import serve_ui

    with interruptible():
        serve_ui(config, port)
