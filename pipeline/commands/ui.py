"""`hocket ui`: serve MLflow's pages for a member's store."""

from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples, port_option


@click.command(
    short_help="Serve MLflow's pages for a member's store.",
    epilog=examples("hocket ui partner.toml --port 5001  # then open the address that it prints"),
)
@click.argument("config", type=EXISTING_FILE)
@port_option(5000)
def ui(config: Path, port: int) -> None:
    """Serve MLflow's pages for that member's store, on this machine only, until Ctrl-C.

    Prints the address to open. The address holds a token, new at every start, without which nothing is answered.
    First sends to the store what it does not have yet.
    """
    from pipeline.tracking.ui import serve_ui

    serve_ui(config, port)
