"""`hocket export`: write the federated model in another program's format."""

from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, echo, examples, member_config


@click.group()
def export() -> None:
    """Write models for other programs."""


@export.command(
    "sparsechem",
    short_help="Write the federated model in SparseChem's format.",
    epilog=examples("hocket export sparsechem partner.toml model.pt"),
)
@member_config
@click.argument("output", type=ANY_PATH)
@click.option("--json", "settings_file", type=ANY_PATH, help="File for its settings  [default: OUTPUT with .json].")
def export_sparsechem(config: Path, output: Path, settings_file: Path | None) -> None:
    """Write the partner's network of the newest round as SparseChem's .pt (OUTPUT) and .json; both stay private."""
    from pipeline.model.sparsechem import export_sparsechem as export

    facts = export(config, output, settings_file or output.with_suffix(".json"))
    echo("\n".join(f"{key}: {value}" for key, value in facts.items()))
