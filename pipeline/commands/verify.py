"""`hocket verify`: check a whole federation's messages without any secret."""

import json
from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples


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

    from pipeline.audit.verify import audit
    from pipeline.audit.verify_view import print_trail, trail_json
    from pipeline.exchange.storage import exchange_at
    from pipeline.plan.plan import read_plan
    from pipeline.runtime.progress import ProgressReporter

    agreed, place, n_cores = read_plan(plan), exchange_at(exchange, Path()), len(os.sched_getaffinity(0))
    with ProgressReporter("verify").progress("attempts") as progress:
        trail = audit(agreed, place, now=time.time(), recompute=not quick, workers=n_cores, progress=progress)
    if as_json:
        click.echo(json.dumps(trail_json(trail, agreed), indent=1))
    else:
        print_trail(trail, agreed, Console(highlight=False))
