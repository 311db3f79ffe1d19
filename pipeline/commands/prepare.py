"""`hocket prepare`: turn the partner's tables into matrices."""

import json
import sys
from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, echo, examples, interruptible, log_format, member_config
from pipeline.runtime.log import Log


def _show_columns(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from data_prep.columns import columns_text

        click.echo(columns_text(), nl=False)
        ctx.exit()


@click.command(
    short_help="Turn the partner's tables into matrices, or check them.",
    epilog=examples(
        "hocket prepare partner.toml --check",
        "hocket prepare partner.toml --check --all-structures",
        "hocket prepare partner.toml --workers 8",
        "hocket prepare partner.toml --scheduler tcp://head:8786",
        "hocket prepare partner.toml --structures new.csv --output new",
    ),
)
@member_config
@click.option(
    "--columns",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_columns,
    help="Show the columns of the tables, with types, units, allowed words and examples. Needs no CONFIG.",
)
@click.option("--check", is_flag=True, help="Only list the problems of the tables, and what will come of them.")
@click.option("--all-structures", is_flag=True, help="With --check: standardise all structures, instead of a sample.")
@click.option("--workers", type=click.IntRange(min=1), help="Most processes, instead of the configuration's number.")
@click.option("--scheduler", help="Prepare structures on your own Dask cluster: tcp://HOST:8786, tls://... or local:N.")
@click.option(
    "--structures", type=EXISTING_FILE, help="New structures to predict for: prepare only these, to --output."
)
@click.option("--output", type=ANY_PATH, help="Folder for the new structures' x.npz, compounds and rejected rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@log_format
def prepare(  # noqa: PLR0913, PLR0917 -- the command's options
    config: Path,
    check: bool,
    all_structures: bool,
    workers: int | None,
    scheduler: str | None,
    structures: Path | None,
    output: Path | None,
    as_json: bool,
    log: Log,
) -> None:
    """Turn the partner's T0, T1, T2 into matrices (needs the group secret, for the keyed folds and bits).

    With --structures and --output: turn a table of input_compound_id and smiles, or an SD file, into a matrix for
    prediction.

    With --check: exit code 3 if a table cannot be read, or more of T1 would be left out than most_rejected under [data]
    allows, or an assay whole; else 0. Needs no group secret.

    With --scheduler: send the structures to the machines of a Dask cluster, which must be the partner's own.
    """
    from pipeline.runs.preparation import check_tables, prepare_structures, prepare_tables
    from pipeline.runs.preparation_table import show_prepared

    if (structures is None) != (output is None) or (check and structures):
        raise click.UsageError("--structures and --output go together, without --check")
    if workers and scheduler:
        raise click.UsageError("give --workers (processes of this machine) or --scheduler, not both")
    if all_structures and not check:
        raise click.UsageError("--all-structures needs --check")
    if check:
        with interruptible(log, goes_on=False):
            checked = check_tables(config, all_structures=all_structures, workers=workers)
        echo(json.dumps(checked.to_json(), indent=1) if as_json else "\n".join(checked.lines()))
        sys.exit(3 if checked.tables.stops else 0)
    if structures and output:
        with interruptible(log, goes_on=False):
            counts = prepare_structures(config, structures, output, workers, scheduler, log)
        echo(json.dumps(counts, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))
        return
    with interruptible(log, goes_on=False):
        prepared = prepare_tables(config, workers, scheduler, log)
    if as_json:
        click.echo(json.dumps(prepared.to_json(), indent=1))
    else:
        show_prepared(prepared)
