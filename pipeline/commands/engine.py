"""`hocket engine`: run a federation whose members share no folder or bucket."""

from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, examples


@click.group()
def engine() -> None:
    """Connect members that share no folder or bucket."""


@engine.group()
def nvflare() -> None:
    """Let NVFlare carry the messages between members."""


@nvflare.command(
    "export",
    short_help="Write the files with which NVFlare carries a federation.",
    epilog=examples(
        "hocket engine nvflare export plan.toml nvflare --host hub.example.org",
        "hocket engine nvflare export plan.toml trial --host 127.0.0.1 --port 9002 --storage /srv/nvflare",
    ),
)
@click.argument("plan", type=EXISTING_FILE)
@click.argument("folder", type=ANY_PATH)
@click.option("--host", required=True, help="Name or address at which all sites reach the aggregator's server.")
@click.option("--port", default=8002, show_default=True, type=click.IntRange(1, 65535), help="The server's only port.")
@click.option(
    "--storage",
    default="/var/lib/hocket-nvflare",
    show_default=True,
    help="Absolute folder on the server's machine for NVFlare's jobs and snapshots.",
)
def nvflare_export(plan: Path, folder: Path, host: str, port: int, storage: str) -> None:
    """Write project, job, local settings and a README for PLAN into the new FOLDER."""
    from pipeline.plan.plan import read_plan
    from pipeline.transport.nvflare.export import ServerAddress, export_nvflare

    export_nvflare(read_plan(plan), ServerAddress(host, port, storage), folder)
    click.echo(f"{folder}: files for a server at {host}:{port}")
    click.echo(f"next: follow {folder / 'README.md'}", err=True)
