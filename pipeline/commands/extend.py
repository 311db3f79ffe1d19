"""`hocket extend`: models for assays that were not in the federation."""

import sys
from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, examples, interruptible, log_format, member_config
from pipeline.runtime.log import Log


@click.command(
    short_help="Add models for assays that were not in the federation.",
    epilog=examples(
        "hocket extend partner.toml --assays new-T0.csv --activities new-T1.csv",
        "hocket extend partner.toml --assays new-T0.csv --activities new-T1.csv --structures new-T2.csv",
    ),
)
@member_config
@click.option("--assays", type=EXISTING_FILE, required=True, help="Table T0 of the new assays.")
@click.option("--activities", type=EXISTING_FILE, required=True, help="Table T1, at least 20 compounds an assay.")
@click.option("--structures", type=EXISTING_FILE, help="Table T2 of their compounds  [default: the configuration's].")
@log_format
def extend(config: Path, assays: Path, activities: Path, structures: Path | None, log: Log) -> None:
    """Fit models for new assays on the federated trunk, and add them to the finished model.

    Each assay keeps the best of Gaussian process, random forest and the mean of both, with the trunk only if it helps.
    `hocket predict` then predicts the new assays too. Nothing is sent to any other member.

    Exit code 3: every assay was refused, and nothing was changed.
    """
    from pipeline.runs.extend import NewTables, extend_model
    from pipeline.runs.extension_table import show_extension
    from pipeline.tracking.tracker import read_member, send_rest

    with interruptible(log, goes_on=False):
        report = extend_model(config, NewTables(assays=assays, activities=activities, structures=structures), log)
    show_extension(report)
    if not report.results:
        sys.exit(3)
    member = read_member(config, "partner")
    if member.home.tracked.exists() and not send_rest(member):  # the run was sent, but the model is new
        click.echo(f"hocket: the new model is not in MLflow yet, see {member.home.folder / 'tracking.log'}", err=True)
