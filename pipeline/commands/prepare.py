"""The commands for tables and matrices."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, examples, interruptible, log_format
from pipeline.runtime.log import Log


@click.command(
    short_help="Turn the partner's tables into matrices, or check them.",
    epilog=examples(
        "hocket prepare partner.toml --check",
        "hocket prepare partner.toml --workers 8",
        "hocket prepare partner.toml --scheduler tcp://head:8786",
        "hocket prepare partner.toml --structures new.csv --output new",
    ),
)
@click.argument("config", type=EXISTING_FILE)
@click.option("--check", is_flag=True, help="Only say what is wrong with the tables.")
@click.option("--workers", type=click.IntRange(min=1), help="Most processes, instead of the configuration's.")
@click.option("--scheduler", help="Your own Dask cluster makes the structures: tcp://HOST:8786, tls://... or local:N.")
@click.option(
    "--structures", type=EXISTING_FILE, help="New structures to predict for: prepare only these, to --output."
)
@click.option("--output", type=ANY_PATH, help="Folder for the new structures' x.npz, compounds and rejected rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@log_format
def prepare(
    config: Path,
    check: bool,
    workers: int | None,
    scheduler: str | None,
    structures: Path | None,
    output: Path | None,
    as_json: bool,
    log: Log,
) -> None:
    """Turn the partner's T0, T1, T2 into matrices (needs the group secret, for the keyed folds and bits).

    With --structures and --output: a table of input_compound_id and smiles into a matrix for prediction.

    With --scheduler structures are sent to the machines of a Dask cluster, which must be the partner's own.
    """
    from pipeline.runs.preparation import check_tables, prepare_structures, prepare_tables
    from pipeline.runs.preparation_table import show_summary

    if (structures is None) != (output is None) or (check and structures):
        raise click.UsageError("--structures and --output go together, without --check")
    if workers and scheduler:
        raise click.UsageError("--workers are processes of this machine: give it or --scheduler, not both")
    if check:
        found = check_tables(config)
        said = [str(finding) for finding in found]
        click.echo(json.dumps(said, indent=1) if as_json else "\n".join(said) or "tables: no problem found")
        if any(finding.serious for finding in found) and not any(finding.stops for finding in found):
            click.echo("these rows are left out or doubtful: mend them, or go on without them", err=True)
        sys.exit(3 if any(finding.serious for finding in found) else 0)
    if structures and output:
        with interruptible(log, goes_on=False):
            counts = prepare_structures(config, structures, output, workers, scheduler, log)
        click.echo(json.dumps(counts, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))
        return
    with interruptible(log, goes_on=False):
        summary = prepare_tables(config, workers, scheduler, log)
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        show_summary(summary)


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
    "--y-censor", type=EXISTING_FILE, help="Where y-regr has a value: -1 it is lower, 0 exact, 1 it is higher."
)
@click.option("--weights-class", type=EXISTING_FILE, help="CSV: task_id, training_weight.")
@click.option("--weights-regr", type=EXISTING_FILE, help="CSV: task_id, training_weight, censored_weight.")
@click.option("--plan", type=EXISTING_FILE, help="Also compare with this plan's features, and take its folds.")
@click.option("--fold-te", "test_fold", default=0, show_default=True, help="Test fold, without --plan.")
@click.option("--fold-va", "validation_fold", default=1, show_default=True, help="Validation fold, without --plan.")
@click.option("--trust-pickle", is_flag=True, help="Read .npy matrices too: runs any code in them, so only your own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_matrices(plan: Path | None, as_json: bool, trust_pickle: bool, **given: Any) -> None:  # noqa: ANN401
    """Check a SparseChem user's data files for training, and count what is in them."""
    from partners.training_data.sparsechem_files import MatrixFiles
    from pipeline.model.sparsechem import check_matrices as check

    folds = {name: given.pop(name) for name in ("test_fold", "validation_fold")}
    found = check(MatrixFiles(**given), plan, trust_pickle=trust_pickle, **folds)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in found.items()))
