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


@export.command(
    "trunk",
    short_help="Write the trunk, for another federation to begin from.",
    epilog=examples("hocket export trunk partner.toml trunk.safetensors"),
)
@member_config
@click.argument("output", type=ANY_PATH)
def export_trunk(config: Path, output: Path) -> None:
    """Write the trunk of the newest round as OUTPUT (safetensors): the layers that all partners share, and no head.

    A plan begins from it with `start` and `start_digest` under [trunk]. It tells about the compounds that it was
    trained on (`hocket audit`): all partners must agree on who gets it.
    """
    from pipeline.model.exported_trunk import export_trunk as write

    facts = write(config, output)
    echo("\n".join(f"{key}: {value}" for key, value in facts.items()))
