"""`hocket serve` and `hocket ui`: serve a partner's finished model, or MLflow's pages, on this machine."""

from pathlib import Path

import click

from pipeline.commands.options import examples, member_config, port_option


@click.command(
    short_help="Serve a partner's finished model to scripts.",
    epilog=examples("hocket serve partner.toml  # then send SMILES as the printed curl command does"),
)
@member_config
@port_option(5002)
def serve(config: Path, port: int) -> None:
    """Serve the model that the gate keeps, on this machine only, until Ctrl-C.

    Answers a POST of SMILES with the columns of `hocket predict --format wide`, as `mlflow models serve` does with that
    partner's store. Each request needs the header in HOME/serve-PORT.header, a file for that account alone, with a
    token that is new at every start. First sends to the store what it does not have yet.
    """
    from pipeline.tracking.serve import serve_model

    serve_model(config, port)


@click.command(
    short_help="Serve MLflow's pages for a member's store.",
    epilog=examples("hocket ui partner.toml --port 5001  # then open the address that it prints"),
)
@member_config
@port_option(5000)
def ui(config: Path, port: int) -> None:
    """Serve MLflow's pages for that member's store, on this machine only, until Ctrl-C.

    Prints the address to open. The address holds a token, new at every start, without which nothing is answered.
    First sends to the store what it does not have yet.
    """
    from pipeline.tracking.ui import serve_ui

    serve_ui(config, port)
