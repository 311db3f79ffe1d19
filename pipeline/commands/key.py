"""`hocket key`: make, show and lock keys, and deal the group secret."""

import json
from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, echo, examples


@click.group()
def key() -> None:
    """Make, show and lock keys, and deal the group secret."""


@key.command(
    "new",
    short_help="Make a member's keys and print its card.",
    epilog=examples(
        "hocket key new P01 --home P01/home > P01.card",
        "hocket key new hub --home hub/home --role aggregator > hub.card",
    ),
)
@click.argument("name")
@click.option("--home", required=True, type=ANY_PATH, help="Home folder; the keys go to HOME/keys.")
@click.option(
    "--role",
    type=click.Choice(["partner", "aggregator"]),
    default="partner",
    show_default=True,
    help="Role of NAME in the federation.",
)
@click.option("--passphrase-file", type=EXISTING_FILE, help="File whose first line encrypts the private keys.")
def key_new(name: str, home: Path, role: str, passphrase_file: Path | None) -> None:
    """Make NAME's keys and print its card, which goes into the plan."""
    from pipeline.setup.keys import new_keys
    from secure.keys.keys import parse_card

    card = new_keys(name, role, home, passphrase_file)
    click.echo(card, nl=False)
    click.echo(f"fingerprint, to be read to the others by telephone: {parse_card(card, name).fingerprint}", err=True)


@key.command(
    "deal",
    short_help="Custodian: make the group secret and deal it.",
    epilog=examples("hocket key deal plan.toml --home P01/home"),
)
@click.argument("plan", type=EXISTING_FILE)
@click.option("--home", required=True, type=ANY_PATH, help="The custodian's home folder.")
@click.option("--passphrase-file", type=EXISTING_FILE, help="File whose first line unlocks the private keys.")
@click.option(
    "--structure-seed-file",
    type=EXISTING_FILE,
    help="32 bytes that key folds and bits, from an earlier federation; by default new random ones.",
)
def key_deal(plan: Path, home: Path, passphrase_file: Path | None, structure_seed_file: Path | None) -> None:
    """Custodian: make the group secret and deal it to all partners; the next `partner run` posts it."""
    from pipeline.setup.keys import deal
    from secure.files import read_secret

    seed = read_secret(structure_seed_file) if structure_seed_file else None
    click.echo(deal(plan, home, passphrase_file, structure_seed=seed))


@key.command(
    "show",
    short_help="Show fingerprints of a home or a plan.",
    epilog=examples("hocket key show P01/home", "hocket key show plan.toml"),
)
@click.argument("place", type=click.Path(exists=True, path_type=Path))
@click.option("--passphrase-file", type=EXISTING_FILE, help="Also check locked private keys against the card.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def key_show(place: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the fingerprints of a HOME's card or of all members of a PLAN; never a secret."""
    from pipeline.setup.key_display import lines, show_home, show_plan

    facts = show_home(place, passphrase_file) if place.is_dir() else show_plan(place)
    echo(json.dumps(facts, indent=1) if as_json else "\n".join(lines(facts)))


@key.command(
    "passphrase",
    short_help="Set, change or remove a passphrase.",
    epilog=examples(
        "hocket key passphrase P01/home --new-passphrase-file new.pass  # set",
        "hocket key passphrase P01/home --old-passphrase-file old.pass  # remove",
    ),
)
@click.argument("home", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--old-passphrase-file", type=EXISTING_FILE, help="Needed if the private keys are locked.")
@click.option("--new-passphrase-file", type=EXISTING_FILE, help="Without it the passphrase is removed.")
def key_passphrase(home: Path, old_passphrase_file: Path | None, new_passphrase_file: Path | None) -> None:
    """Set, change or remove the passphrase of HOME's private keys."""
    from pipeline.setup.keys import change_passphrase

    click.echo(change_passphrase(home, old_passphrase_file, new_passphrase_file))
