"""The commands for what a federation gave: report, predictions, models for other programs."""

import json
from pathlib import Path

import click

from pipeline.commands.words import ANY_PATH, EXISTING_FILE, examples


@click.command(epilog=examples("hocket report partner.toml", "hocket report partner.toml --json > report.json"))
@click.argument("config", type=EXISTING_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print report.json.")
def report(config: Path, as_json: bool) -> None:
    """Compare local only with federated, per task and over tasks."""
    from pipeline.configs import PartnerConfig
    from pipeline.home import Home
    from pipeline.reporting import print_report, read_report

    result = read_report(Home(PartnerConfig.read(config).home_folder))
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_report([result])


@click.group()
def export() -> None:
    """Models for other programs."""


@export.command("sparsechem", epilog=examples("hocket export sparsechem partner.toml model.pt"))
@click.argument("config", type=EXISTING_FILE)
@click.argument("output", type=ANY_PATH)
@click.option("--json", "settings_file", type=ANY_PATH, help="Its settings file  [default: OUTPUT with .json].")
def export_sparsechem(config: Path, output: Path, settings_file: Path | None) -> None:
    """Write the partner's newest federated model as SparseChem's .pt (OUTPUT) and .json; both stay private."""
    from pipeline.sparsechem import export_sparsechem as export

    said = export(config, output, settings_file or output.with_suffix(".json"))
    click.echo("\n".join(f"{key}: {value}" for key, value in said.items()))
