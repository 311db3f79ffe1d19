"""`hocket verify`: check all messages of a federation without any secret."""

import json
from pathlib import Path

import click

from pipeline.commands.options import PLAN_FILE, examples


@click.command(
    short_help="Check all messages of a federation, without any secret.",
    epilog=examples("hocket verify plan.toml exchange", "hocket verify plan.toml s3://bucket/example --quick"),
)
@click.argument("plan", type=PLAN_FILE)
@click.argument("exchange")
@click.option("--quick", is_flag=True, help="Do not add the updates of every sum again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(plan: Path, exchange: str, quick: bool, as_json: bool) -> None:
    """Check all messages in EXCHANGE (folder or URL) against PLAN, without any secret.

    Checks signatures, files, rosters, order, and every sum, which is added again from its updates. Prints every attempt
    with its members and times.
    """
    import os
    import time

    from rich.console import Console

    from pipeline.audit.verify import audit
    from pipeline.audit.verify_view import print_trail, trail_json
    from pipeline.exchange.storage import exchange_at
    from pipeline.plan.plan import read_plan
    from pipeline.runtime.progress import ProgressReporter

    agreed, opened, n_cores = read_plan(plan), exchange_at(exchange, Path()), len(os.sched_getaffinity(0))
    with ProgressReporter("verify").progress("attempts") as progress:
        trail = audit(agreed, opened, now=time.time(), recompute=not quick, workers=n_cores, progress=progress)
    if as_json:
        click.echo(json.dumps(trail_json(trail, agreed), indent=1))
    else:
        print_trail(trail, agreed, Console(highlight=False))
