"""`hocket ui`: show MLflow's pages on a member's store."""

from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples


@click.command(
    short_help="Serve MLflow's pages on a member's store.",
    epilog=examples("hocket ui partner.toml --port 5001  # then open the address that it prints"),
)
@click.argument("config", type=EXISTING_FILE)
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port of 127.0.0.1.")
def ui(config: Path, port: int) -> None:
    """Serve MLflow's UI on that member's store, on this machine only, until Ctrl-C.

    Prints the address to open. It holds a token, made at every start; without it nothing is answered.
    What the store does not have yet is sent to it first.
    """
    from pipeline.tracking.ui import serve_ui

    serve_ui(config, port)
