"""`hocket verify`: check all messages of a federation without any secret."""

import json
from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, PLAN_FILE, examples


@click.command(
    short_help="Check all messages of a federation, without any secret.",
    epilog=examples(
        "hocket verify plan.toml exchange",
        "hocket verify plan.toml s3://bucket/example --quick",
        "hocket verify plan.toml exchange --model P01/home/model --html audit.html",
    ),
)
@click.argument("plan", type=PLAN_FILE)
@click.argument("exchange")
@click.option("--quick", is_flag=True, help="Do not add the updates of every sum again.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Also check a finished model (HOME/model) against its signed provenance, and that against EXCHANGE.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", "page", type=ANY_PATH, metavar="FILE", help="Also write the result as a page.")
def verify(plan: Path, exchange: str, quick: bool, models: tuple[Path, ...], as_json: bool, page: Path | None) -> None:
    """Check all messages in EXCHANGE (folder or URL) against PLAN, without any secret.

    Checks signatures, files, rosters, order, and every sum, which is added again from its updates. Prints every attempt
    with its members and times. If something is wrong, it ends with exit code 4 and writes no page.
    """
    import os
    import time

    from rich.console import Console

    from pipeline.audit.provenance import check_model
    from pipeline.audit.verify import audit
    from pipeline.audit.verify_view import print_trail, trail_json
    from pipeline.exchange.storage import exchange_at
    from pipeline.plan.plan import read_plan
    from pipeline.runtime.progress import ProgressReporter

    if page is not None and page.is_file():
        page.unlink()  # of an earlier audit: it must not outlive this one, if that fails
    agreed, opened, n_cores = read_plan(plan), exchange_at(exchange, Path()), len(os.sched_getaffinity(0))
    now = time.time()
    with ProgressReporter("verify").progress("attempts") as progress:
        trail = audit(agreed, opened, now=now, recompute=not quick, workers=n_cores, progress=progress)
    checked = [check_model(folder, agreed, trail) for folder in models]
    if page is not None:
        from pipeline.pages.verify_page import write_verify_page

        write_verify_page(page, trail, agreed, checked, now)
    if as_json:
        click.echo(json.dumps(trail_json(trail, agreed, checked), indent=1))
    else:
        print_trail(trail, agreed, Console(highlight=False), checked)
