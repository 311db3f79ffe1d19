"""`hocket predict`: predict for new structures."""

from pathlib import Path

import click

from pipeline.commands.options import (
    ANY_PATH,
    EXISTING_FILE,
    examples,
    id_column,
    interruptible,
    log_format,
    smiles_column,
)
from pipeline.runtime.log import Log


@click.command(
    short_help="Predict for new structures.",
    epilog=examples(
        "hocket predict partner.toml new.smi --output predictions.parquet --format wide",
        "hocket predict partner.toml new.csv --tasks A1,A2@6.5 > predictions.csv",
        "hocket predict partner.toml new.xlsx --id-column Compound > predictions.csv",
    ),
)
@click.argument("config", type=EXISTING_FILE)
@click.argument("structures", type=EXISTING_FILE, metavar="INPUT")
@click.option("--output", type=ANY_PATH, help="A .csv, .csv.gz or .parquet file  [default: CSV to standard output].")
@click.option(
    "--tasks", multiple=True, help="Assays or ASSAY@THRESHOLD, separated by commas  [default: all but auxiliary tasks]."
)
@click.option(
    "--model", type=click.Choice(["federated", "local"]), help="Model to use  [default: the one that the gate keeps]."
)
@click.option(
    "--format",
    "how",
    type=click.Choice(["long", "wide"]),
    default="long",
    show_default=True,
    help="long: a row for each compound and task; wide: a row for each compound.",
)
@id_column
@smiles_column
@log_format
def predict(
    config: Path,
    structures: Path,
    output: Path | None,
    tasks: tuple[str, ...],
    model: str | None,
    how: str,
    log: Log,
    **columns: str | None,
) -> None:
    """Predict for new structures, with the uncertainty of each prediction.

    INPUT is a table (.csv, .tsv, .parquet, .xlsx) of input_compound_id and smiles, a SMILES file (.smi) or an SD file
    (.sdf), also gzipped. A structure without an id takes its row number. Rows that cannot be used are listed with the
    reason in OUTPUT's folder, in a .rejected.csv.
    """
    from typing import cast

    from pipeline.model.description import Which
    from pipeline.model.predict import PredictOptions, predict_structures
    from pipeline.model.prediction_tables import Format

    options = PredictOptions(
        structures=structures,
        **columns,
        output=output,
        tasks=tasks or None,
        which=cast("Which | None", model),
        format=cast("Format", how),
    )
    with interruptible(log, goes_on=False):
        predict_structures(config, options, log)
