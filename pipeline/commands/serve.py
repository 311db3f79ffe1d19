"""`hocket serve`: serve a partner's finished model to scripts."""

from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples, port_option


@click.command(
    short_help="Serve a partner's finished model to scripts.",
    epilog=examples("hocket serve partner.toml  # then send SMILES as the printed curl command does"),
)
@click.argument("config", type=EXISTING_FILE)
@port_option(5002)
def serve(config: Path, port: int) -> None:
    """Serve the model that the gate keeps, on this machine only, until Ctrl-C.

    Answers a POST of SMILES with the columns of `hocket predict --format wide`, as `mlflow models serve` does with that
    partner's store. Each request needs the header in HOME/serve-PORT.header, a file for that account alone, with a
    token that is new at every start. First sends to the store what it does not have yet.
    """
    from pipeline.tracking.serve import serve_model

    serve_model(config, port)
