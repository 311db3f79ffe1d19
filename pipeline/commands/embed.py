"""`hocket embed`: the federated trunk's hidden layer for structures."""

from pathlib import Path

import click

from pipeline.commands.options import (
    ANY_PATH,
    EXISTING_FILE,
    column_options,
    examples,
    interruptible,
    log_format,
    member_config,
)
from pipeline.runtime.log import Log


@click.command(
    short_help="Write the trunk's hidden layer for structures.",
    epilog=examples(
        "hocket embed partner.toml new.smi --output hidden.parquet",
        "hocket embed partner.toml new.csv --output new.npz",
    ),
)
@member_config
@click.argument("structures", type=EXISTING_FILE, metavar="INPUT")
@click.option("--output", type=ANY_PATH, required=True, help="A .parquet or .npz file.")
@column_options
@log_format
def embed(
    config: Path, structures: Path, output: Path, id_column: str | None, smiles_column: str | None, log: Log
) -> None:
    """Write the federated trunk's hidden layer for structures: inputs for models of your own.

    INPUT is a file that `hocket predict` takes. A .parquet file has columns input_row, input_compound_id, h0000, h0001
    and so on; an .npz file arrays input_row, ids and hidden. Rows that cannot be used are listed with the reason in
    OUTPUT's folder, in a .rejected.csv.
    """
    from pipeline.model.embed import embed_structures

    with interruptible(log, goes_on=False):
        embed_structures(config, structures, output, log, id_column=id_column, smiles_column=smiles_column)
