"""`hocket export` and `hocket check-matrices`: files for other programs written, and of another program checked."""

import json
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, echo, examples, member_config


@click.command(
    "check-matrices",
    short_help="Check a SparseChem user's data files for training.",
    epilog=examples("hocket check-matrices --x x.npz --folding folding.npy --y-class y_class.npz --plan plan.toml"),
)
@click.option("--x", required=True, type=EXISTING_FILE, help="Features: .npz, .mtx, or .npy with --trust-pickle.")
@click.option("--folding", required=True, type=EXISTING_FILE, help="Fold of every compound: .npy.")
@click.option("--y-class", type=EXISTING_FILE, help="Labels +1 and -1.")
@click.option("--y-regr", type=EXISTING_FILE, help="Measured values.")
@click.option(
    "--y-censor", type=EXISTING_FILE, help="For each value of y-regr: -1 the true value is lower, 0 exact, 1 higher."
)
@click.option("--weights-class", type=EXISTING_FILE, help="CSV: task_id, training_weight.")
@click.option("--weights-regr", type=EXISTING_FILE, help="CSV: task_id, training_weight, censored_weight.")
@click.option("--plan", type=EXISTING_FILE, help="Also check the number of features against this plan; use its folds.")
@click.option("--fold-te", "test_fold", default=0, show_default=True, help="Test fold, without --plan.")
@click.option("--fold-va", "validation_fold", default=1, show_default=True, help="Validation fold, without --plan.")
@click.option(
    "--trust-pickle",
    is_flag=True,
    help="Read .npy matrices too: runs code in them, so only for your own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_matrices(plan: Path | None, as_json: bool, trust_pickle: bool, **options: Any) -> None:  # noqa: ANN401
    """Check a SparseChem user's data files for training, and count what is in them."""
    from partners.training_data.sparsechem_files import MatrixFiles
    from pipeline.model.sparsechem import check_matrices as check

    folds = {name: options.pop(name) for name in ("test_fold", "validation_fold")}
    counts = check(MatrixFiles(**options), plan, trust_pickle=trust_pickle, **folds)
    echo(json.dumps(counts, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))


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
