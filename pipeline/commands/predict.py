"""`hocket predict`: predict for new structures."""

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # numpy and pydantic
    from pipeline.model.description import Which


@click.command(
    short_help="Predict for new structures.",
    epilog=examples(
        "hocket predict partner.toml new.smi --output predictions.parquet --format wide",
        "hocket predict partner.toml new.csv --tasks A1,A2@6.5 > predictions.csv",
        "hocket predict partner.toml new.xlsx --id-column Compound > predictions.csv",
        "hocket predict partner.toml new.csv --tasks A1 --explain 5 --output predictions.csv",
        "hocket predict partner.toml --list-tasks",
    ),
)
@member_config
@click.argument("structures", type=EXISTING_FILE, metavar="INPUT", required=False)
@click.option("--output", type=ANY_PATH, help="A .csv, .csv.gz or .parquet file  [default: CSV to standard output].")
@click.option(
    "--tasks", multiple=True, help="Assays or ASSAY@THRESHOLD, separated by commas  [default: all but auxiliary tasks]."
)
@click.option("--list-tasks", is_flag=True, help="Print the model's tasks instead of predicting; needs no INPUT.")
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
@click.option(
    "--explain",
    "n_explained",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also write what each atom of the first N compounds contributes, into a folder next to OUTPUT.",
)
@click.option(
    "--spreadsheet",
    is_flag=True,
    help="Write an apostrophe before ids that a spreadsheet would take for formulas: =, +, - or @ at the beginning.",
)
@column_options
@log_format
def predict(  # noqa: PLR0913, PLR0917 -- click's options
    config: Path,
    structures: Path | None,
    output: Path | None,
    tasks: tuple[str, ...],
    list_tasks: bool,
    model: "Which | None",
    how: str,
    n_explained: int | None,
    spreadsheet: bool,
    log: Log,
    **columns: str | None,
) -> None:
    """Predict for new structures, with the uncertainty of each prediction.

    INPUT is a table (.csv, .tsv, .parquet, .xlsx) of input_compound_id and smiles, a SMILES file (.smi) or an SD file
    (.sdf), also gzipped. A structure without an id takes its row number. Rows that cannot be used are listed with the
    reason in OUTPUT's folder, in a .rejected.csv.

    \b
    probability           that the compound is active at the threshold
    conformal_p_active    conformal p-values: a class is excluded at 0.05 or
    conformal_p_inactive  below; they are no probabilities
    value, low, high      of a regression task, with its 95 % interval
    in_domain             whether the compound is like those trained on
    """  # noqa: D301 -- click's mark for lines that stay as they are
    from typing import cast

    if list_tasks:
        _list_tasks(config, tasks or None, model, log)
        return
    if structures is None:
        raise click.UsageError("Missing argument 'INPUT'.")

    from pipeline.model.predict_request import Format, PredictRequest
    from pipeline.plan.member_configs import PartnerConfig

    with interruptible(log, goes_on=False):
        request = PredictRequest(
            config=PartnerConfig.read(config),
            structures=structures,
            **columns,
            output=output,
            tasks=tasks or None,
            which=model,
            format=cast("Format", how),
            n_explained=n_explained or 0,
            for_spreadsheets=spreadsheet,
        )
        from pipeline.model.predictions import predict_structures  # torch: only when the request is known to be sound

        predict_structures(request, log)


def _list_tasks(config_file: Path, tasks: tuple[str, ...] | None, model: "Which | None", log: Log) -> None:
    from rich.console import Console

    from pipeline.home.paths import Home
    from pipeline.model.description import Description
    from pipeline.model.task_table import listed_tasks, print_tasks
    from pipeline.plan.member_configs import PartnerConfig

    config = PartnerConfig.read(config_file)
    folder = Home(config.home_folder).model
    if not folder.exists():
        from pipeline.model.rebuild import model_folder
        from pipeline.runtime.progress import ProgressReporter

        folder = model_folder(config, ProgressReporter(config.name, log))
    print_tasks(listed_tasks(Description.read(folder), tasks, model), Console(highlight=False))
