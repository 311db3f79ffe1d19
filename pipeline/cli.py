"""The hocket command. Heavy imports happen inside the commands, so that --help answers at once."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)

_EXIT_CODES = """
Exit codes: 0 done, 1 a bug, 2 usage or configuration, 3 data, 4 security (signature, tag, key, roster),
5 training, 6 not yet (--once: waiting for others).
"""


class Refusing(click.Group):
    """A group whose commands end with one clear message and the exit code of design, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command; typed errors become a message and an exit code, anything else stays a traceback."""
        from data_prep.errors import DataError
        from partners.errors import BadData, TrainingError
        from pipeline.errors import ExitCode, PipelineError
        from secure.errors import SecureError

        try:
            return super().invoke(ctx)
        except PipelineError as error:
            _refuse(error, error.exit_code)
        except (DataError, BadData) as error:
            _refuse(error, ExitCode.DATA)
        except SecureError as error:
            _refuse(error, ExitCode.SECURITY)
        except TrainingError as error:
            _refuse(error, ExitCode.TRAINING)
        except OSError as error:  # a disk that fills, a folder that may not be written
            _refuse(error, ExitCode.CONFIGURATION)


def _refuse(error: Exception, code: int) -> None:
    click.echo(f"hocket: {error}", err=True)
    for note in getattr(error, "__notes__", []):
        click.echo(f"  {note}", err=True)
    sys.exit(int(code))


@click.group(cls=Refusing, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hocket")
def main() -> None:
    """Federated drug discovery: shared trunk, private heads, sealed aggregation."""


@main.command()
@click.argument("folder", type=ANY_PATH, default="demo")
@click.option("--partners", default=3, show_default=True, type=click.IntRange(3, 16), help="Number of partners.")
@click.option("--rounds", default=None, type=click.IntRange(1, 500), help="Number of rounds  [default: the demo's].")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Same seed, same result.")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Local MoleculeACE 3.0.0 wheel, or a folder of partner folders with T0, T1, T2.",
)
def demo(folder: Path, partners: int, rounds: int | None, seed: int, data: Path | None) -> None:
    """Run a whole federation on this machine: three partners, an aggregator, real ChEMBL data."""
    from pipeline.demo import run_demo

    run_demo(folder, n_partners=partners, n_rounds=rounds, seed=seed, source=data)


@main.group()
def key() -> None:
    """Keys and the group secret."""


@key.command("new")
@click.argument("name")
@click.option("--home", required=True, type=ANY_PATH, help="Home folder; the keys go to HOME/keys.")
@click.option("--role", type=click.Choice(["partner", "aggregator"]), default="partner", show_default=True)
@click.option("--passphrase-file", type=EXISTING_FILE, help="File whose first line encrypts the private keys.")
def key_new(name: str, home: Path, role: str, passphrase_file: Path | None) -> None:
    """Make NAME's keys and print its card, which goes into the plan."""
    from pipeline.custody import new_keys
    from secure.keys import parse_card

    card = new_keys(name, role, home, passphrase_file)
    click.echo(card, nl=False)
    click.echo(f"fingerprint, to be told to the others by telephone: {parse_card(card, name).fingerprint}", err=True)


@key.command("deal")
@click.argument("plan", type=EXISTING_FILE)
@click.option("--home", required=True, type=ANY_PATH, help="The custodian's home folder.")
@click.option("--passphrase-file", type=EXISTING_FILE, help="File whose first line unlocks the private keys.")
@click.option(
    "--structure-seed-file",
    type=EXISTING_FILE,
    help="32 bytes that key folds and bits, from an earlier federation; by default they are drawn anew.",
)
def key_deal(plan: Path, home: Path, passphrase_file: Path | None, structure_seed_file: Path | None) -> None:
    """Custodian: make the group secret and deal it to all partners; the next `partner run` posts it."""
    from pipeline.custody import deal
    from secure.files import read_secret

    seed = read_secret(structure_seed_file) if structure_seed_file else None
    click.echo(deal(plan, home, passphrase_file, structure_seed=seed))


@key.command("show")
@click.argument("place", type=click.Path(exists=True, path_type=Path))
@click.option("--passphrase-file", type=EXISTING_FILE, help="Also try locked private keys against the card.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def key_show(place: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the fingerprints of a HOME's card or of all members of a PLAN; never a secret."""
    from pipeline.key_facts import lines, show_home, show_plan

    facts = show_home(place, passphrase_file) if place.is_dir() else show_plan(place)
    click.echo(json.dumps(facts, indent=1) if as_json else "\n".join(lines(facts)))


@key.command("passphrase")
@click.argument("home", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--old-passphrase-file", type=EXISTING_FILE, help="Needed where the private keys are locked.")
@click.option("--new-passphrase-file", type=EXISTING_FILE, help="Without it the passphrase is removed.")
def key_passphrase(home: Path, old_passphrase_file: Path | None, new_passphrase_file: Path | None) -> None:
    """Set, change or remove the passphrase of HOME's private keys."""
    from pipeline.custody import change_passphrase

    click.echo(change_passphrase(home, old_passphrase_file, new_passphrase_file))


@main.command()
@click.argument("config", type=EXISTING_FILE)
@click.option("--check", is_flag=True, help="Only say what is wrong with the tables.")
@click.option("--workers", type=click.IntRange(min=1), help="Most processes, instead of the configuration's.")
@click.option(
    "--structures", type=EXISTING_FILE, help="New structures to predict for: prepare only these, to --output."
)
@click.option("--output", type=ANY_PATH, help="Folder for the new structures' x.npz, compounds and rejected rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def prepare(
    config: Path, check: bool, workers: int | None, structures: Path | None, output: Path | None, as_json: bool
) -> None:
    """Turn the partner's T0, T1, T2 into matrices (needs the group secret, for the keyed folds and bits).

    With --structures and --output: a table of input_compound_id and smiles into a matrix for prediction.
    """
    from pipeline.preparation import check_tables, prepare_structures, prepare_tables
    from pipeline.preparation_summary import show_summary

    if (structures is None) != (output is None) or (check and structures):
        raise click.UsageError("--structures and --output go together, without --check")
    if check:
        found = check_tables(config)
        said = [str(finding) for finding in found]
        click.echo(json.dumps(said, indent=1) if as_json else "\n".join(said) or "tables: no problem found")
        sys.exit(3 if any(finding.serious for finding in found) else 0)
    if structures and output:
        counts = prepare_structures(config, structures, output, workers)
        click.echo(json.dumps(counts, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))
        return
    summary = prepare_tables(config, workers)
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        show_summary(summary)


@main.group()
def partner() -> None:
    """The partner's batch run."""


@main.group()
def aggregator() -> None:
    """The aggregator's job."""


_ONCE = click.option("--once", is_flag=True, help="Do what can be done now; exit 6 if others are awaited.")


@partner.command("run")
@click.argument("config", type=EXISTING_FILE)
@_ONCE
def partner_run(config: Path, once: bool) -> None:
    """Take part until the plan's last round, then report."""
    from pipeline.jobs import run_partner

    with _interruptible():
        run_partner(config, once=once)


@aggregator.command("run")
@click.argument("config", type=EXISTING_FILE)
@_ONCE
def aggregator_run(config: Path, once: bool) -> None:
    """Call rosters and add sealed updates until the plan's last round."""
    from pipeline.jobs import run_aggregator

    with _interruptible():
        run_aggregator(config, once=once)


@main.command()
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


@main.group()
def export() -> None:
    """Models for other programs."""


@export.command("sparsechem")
@click.argument("config", type=EXISTING_FILE)
@click.argument("output", type=ANY_PATH)
@click.option("--json", "settings_file", type=ANY_PATH, help="Its settings file  [default: OUTPUT with .json].")
def export_sparsechem(config: Path, output: Path, settings_file: Path | None) -> None:
    """Write the partner's newest federated model as SparseChem's .pt (OUTPUT) and .json; both stay private."""
    from pipeline.sparsechem import export_sparsechem as export

    said = export(config, output, settings_file or output.with_suffix(".json"))
    click.echo("\n".join(f"{key}: {value}" for key, value in said.items()))


@main.command("check-matrices")
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
    from partners.sparsechem_files import MatrixFiles
    from pipeline.sparsechem import check_matrices as check

    folds = {name: given.pop(name) for name in ("test_fold", "validation_fold")}
    found = check(MatrixFiles(**given), plan, trust_pickle=trust_pickle, **folds)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in found.items()))


@main.command()
@click.argument("file", type=EXISTING_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Say what any hocket file is, without a key."""
    from pipeline.inspection import as_lines, inspect_file

    found = inspect_file(file)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(as_lines(found)))


@main.command()
@click.argument("exchange")
@click.argument("plan", type=EXISTING_FILE)
@click.option("--quick", is_flag=True, help="Do not add the updates of every sum again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(exchange: str, plan: Path, quick: bool, as_json: bool) -> None:
    """Check the whole transcript in EXCHANGE (folder or URL) against PLAN, without any secret.

    Signatures, files, rosters, order, and every sum: it is added again from its updates. Prints what took part when.
    """
    import os
    import time

    from rich.console import Console

    from pipeline.audit import audit
    from pipeline.audit_trail import print_trail, trail_json
    from pipeline.console import Narrator
    from pipeline.exchange import exchange_at
    from pipeline.plan import read_plan

    agreed, place, n_cores = read_plan(plan), exchange_at(exchange, Path()), len(os.sched_getaffinity(0))
    with Narrator("verify").progress("attempts") as progress:
        trail = audit(agreed, place, now=time.time(), recompute=not quick, workers=n_cores, progress=progress)
    if as_json:
        click.echo(json.dumps(trail_json(trail, agreed), indent=1))
    else:
        print_trail(trail, agreed, Console(highlight=False))


@main.command()
@click.argument("config", type=EXISTING_FILE)
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(config: Path, port: int) -> None:
    """Serve MLflow's UI on that member's store, on this machine only."""
    from pipeline.jobs import serve_ui

    with _interruptible():
        serve_ui(config, port)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is a normal end: the files are the state, and the next start goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("hocket: stopped; start the same command again to go on", err=True)
        sys.exit(6)


if __name__ == "__main__":
    main()
