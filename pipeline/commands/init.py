"""`hocket init`: write commented configuration files and sample tables, and propose a catalogue."""

import re
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, examples, member_config

_TABLES = ("assays", "activities", "structures")
_FORCE = click.option("--force", is_flag=True, help="Replace an existing file.")
_NAME = click.option("--name", help="The member's name  [default: the name on the card in HOME].")
_PLAN = click.option("--plan", help="The plan  [default: plan.toml].")
_EXCHANGE = click.option("--exchange", help="The exchange of all members: a folder, or any fsspec URL.")
_HOME = click.option("--home", help="Folder of keys and state  [default: FOLDER/home].")
_PASSPHRASE = click.option("--passphrase-file", type=EXISTING_FILE, help="File that unlocks the private keys.")


def _ask(value: str | None, option: str, question: str, default: str | None = None) -> str:
    """Return an option's value, else the answer to a question on a terminal, else the default.

    Raises click.UsageError without value, terminal and default.
    """
    if value is not None:
        return value
    if sys.stdin.isatty():
        return str(click.prompt(question, default=default, err=True))
    if default is None:
        raise click.UsageError(f"{option} is needed, because there is no terminal to ask on")
    return default


@click.group(short_help="Write commented configuration files, or sample tables.")
def init() -> None:
    """Write a commented configuration file or sample tables; missing options are asked for on a terminal.

    Give paths relative to the current folder. They are written relative to the file's folder.
    """


@init.command(
    "plan",
    short_help="Write plan.toml from all members' cards.",
    epilog=examples(
        "hocket init plan P01.card P02.card P03.card hub.card --name example --custodian P01",
        "hocket init plan *.card  # asks for the rest",
    ),
)
@click.argument("cards", nargs=-1, type=EXISTING_FILE)
@click.option("--name", help="The federation's name.")
@click.option("--custodian", help="The partner that makes and deals the group secret  [default: the first].")
@click.option(
    "--rounds", "n_rounds", type=click.IntRange(1, 9999), default=20, show_default=True, help="Number of rounds."
)
@click.option("--local-steps", type=click.IntRange(1), default=50, show_default=True, help="Optimiser steps a round.")
@click.option("--min-partners", type=click.IntRange(3), help="Smallest roster  [default: all partners].")
@click.option("--max-weight", type=click.IntRange(1), help="About the training labels of the largest partner.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the first trunk.")
@click.option("--output", "file", type=ANY_PATH, default="plan.toml", show_default=True, help="File to write.")
@_FORCE
def init_plan(file: Path, cards: tuple[Path, ...], n_rounds: int, local_steps: int, **options: Any) -> None:  # noqa: ANN401
    """Write plan.toml from all members' CARDS, with a new random federation id.

    CARDS are files as `hocket key new` prints them. One member writes the plan, edits it until all agree on its
    settings, and sends it to all.
    """
    from pipeline.plan.plan import read_plan
    from pipeline.setup.init_files import check_replaceable, plan_text, read_cards, write_file

    check_replaceable(file, replace=options["force"])
    name = _ask(options["name"], "--name", "Name of the federation")
    members = read_cards(cards or _ask_cards())
    first = next((card.name for card in members if card.role == "partner"), None)
    values: dict[str, object] = {
        "federation.name": name,
        "federation.id": secrets.token_hex(16),
        "federation.custodian": _ask(options["custodian"], "--custodian", "The custodian, one of the partners", first),
        "federation.seed": options["seed"],
        "rounds.n_rounds": n_rounds,
        "rounds.local_steps": local_steps,
    }
    for option, key in (("min_partners", "rounds.min_partners"), ("max_weight", "seal.max_weight")):
        if options[option] is not None:
            values[key] = options[option]
    write_file(file, plan_text(members, values), replace=options["force"])
    plan = read_plan(file)
    click.echo(f"{file}: {name}, partners {', '.join(plan.partner_names)}, digest {plan.digest}")
    custodian = plan.federation.custodian
    click.echo(
        f"next: edit {file} until all members agree on its settings, and send it to all; then compare digest and "
        f"fingerprints by telephone (`hocket key show {file}`); then {custodian} runs `hocket key deal`",
        err=True,
    )


def _ask_cards() -> list[Path]:
    """Ask for card files until an empty answer."""
    if not sys.stdin.isatty():
        raise click.UsageError("CARDS of all members are needed, because there is no terminal to ask on")
    files: list[Path] = []
    question = "A member's card file (empty: no more)"
    while answer := click.prompt(question, default="", show_default=False, err=True):
        if Path(answer).is_file():
            files.append(Path(answer))
        else:
            click.echo(f"{answer}: no such file", err=True)
    return files


def _number_of_rounds(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\+?[1-9][0-9]{0,3}", value):
        raise click.BadParameter(f"{value!r} is neither a number of rounds, as 60, nor of more rounds, as +20.")
    return value


@init.command(
    "revision",
    short_help="Write the next plan, which goes on from the last.",
    epilog=examples(
        "hocket init revision plan.toml --rounds +20",
        "hocket init revision plan.toml --first-round 7 --card P02.card",
        "hocket init revision plan.toml --rounds +20 --card P04.card --sponsor P02",
        "hocket init revision plan-2.toml --rounds +20 --leave P04 --custodian P02",
    ),
)
@click.argument("plan", type=EXISTING_FILE)
@click.option(
    "--rounds",
    callback=_number_of_rounds,
    help="Number of rounds in all, or with a + so many more  [default: as in PLAN].",
)
@click.option(
    "--first-round", type=click.IntRange(1, 9999), help="First round of the revision  [default: after PLAN's last]."
)
@click.option(
    "--card",
    "cards",
    type=EXISTING_FILE,
    multiple=True,
    help="A member's new card, another aggregator's, or that of a partner that joins.",
)
@click.option("--leave", "leaving", multiple=True, metavar="NAME", help="A partner that leaves.")
@click.option(
    "--unreleased",
    multiple=True,
    metavar="NAME",
    help="A partner that leaves and has not released for the first round: see secure/KEYS.md.",
)
@click.option("--sponsor", help="The partner that hands the state over to those who join  [default: the custodian].")
@click.option("--custodian", help="The partner that deals the new group secret  [default: as in PLAN].")
@click.option("--min-partners", type=click.IntRange(3), help="Smallest roster  [default: as in PLAN, or all].")
@click.option("--output", "file", type=ANY_PATH, help="File to write  [default: plan-N.toml beside PLAN].")
@_FORCE
def init_revision(plan: Path, cards: tuple[Path, ...], file: Path | None, force: bool, **options: Any) -> None:  # noqa: ANN401
    """Write the plan that goes on from PLAN, with more rounds or other members, and settings else unchanged.

    All members start their runs again with it: trunk, server state, heads and folds are those at the end of the last
    round before. A partner's tables may have grown.
    """
    from pipeline.plan.plan import read_plan
    from pipeline.setup.init_files import check_replaceable, read_cards, write_file
    from pipeline.setup.revision_plan import Changes, revised, revision_number

    output = file or plan.with_name(f"plan-{revision_number(plan)}.toml")
    check_replaceable(output, replace=force)
    revision = revised(plan, Changes(cards=read_cards(cards), **options), output)
    write_file(output, revision.text, replace=force)
    written = read_plan(output)
    click.echo(
        f"{output}: revision {written.revision} of {written.federation.name}, rounds {written.first_round} to "
        f"{written.rounds.n_rounds}, partners {', '.join(written.partner_names)}, digest {written.digest}"
    )
    for text in revision.notes:
        click.echo(f"note: {text}", err=True)
    custodian = written.federation.custodian
    click.echo(
        f"next: send it to all, and compare digest and fingerprints by telephone (`hocket key show {output}`); then "
        f"{custodian} runs `hocket key deal {output} --home HOME`, and each member puts it into its configuration as "
        "`plan` and starts its run again",
        err=True,
    )


@init.command(
    "partner",
    short_help="Write a partner's partner.toml.",
    epilog=examples(
        "hocket init partner P01 --exchange s3://bucket/example  # P01/T0.csv.gz, T1.csv.gz, T2.csv.gz",
        "hocket init partner --exchange /mnt/shared --structures smiles.parquet",
        "hocket init partner  # asks",
    ),
)
@click.argument("folder", type=ANY_PATH, default=".")
@_NAME
@_PLAN
@_EXCHANGE
@_HOME
@click.option("--assays", help="Table T0  [default: FOLDER/T0.csv.gz].")
@click.option("--activities", help="Table T1  [default: FOLDER/T1.csv.gz].")
@click.option("--structures", help="Table T2  [default: FOLDER/T2.csv.gz].")
@_PASSPHRASE
@_FORCE
def init_partner(folder: Path, force: bool, **options: Any) -> None:  # noqa: ANN401
    """Write partner.toml into FOLDER, the current one by default."""
    from pipeline.setup.init_files import check_replaceable, partner_text, path_from, write_file

    file = folder / "partner.toml"
    check_replaceable(file, replace=force)
    values = _member(folder, options)
    for number, table in enumerate(_TABLES):
        default = str(folder / f"T{number}.csv.gz")
        path = _ask(options[table], f"--{table}", f"Table T{number}, the {table}", default)
        values[f"data.{table}"] = path_from(folder, path)
    write_file(file, partner_text(values), replace=force)
    _report_written(file)


@init.command(
    "tables",
    short_help="Write small sample tables T0, T1 and T2.",
    epilog=examples("hocket init tables P01"),
)
@click.argument("folder", type=ANY_PATH, default=".")
@_FORCE
def init_tables(folder: Path, force: bool) -> None:
    """Write small sample tables T0.csv, T1.csv and T2.csv into FOLDER, the current one by default.

    They show the columns, and their 200 compounds are enough for a scored task. Replace their rows with your own, or
    name your own columns in [data.columns] of partner.toml.
    """
    from data_prep.samples.sample_tables import sample_tables
    from pipeline.setup.init_files import write_files

    files = {folder / name: text for name, text in sample_tables().items()}
    write_files(files, replace=force)
    click.echo("\n".join(map(str, files)))
    options = " ".join(f"--{table} {file}" for table, file in zip(_TABLES, files, strict=True))
    click.echo(
        f"next: replace their rows with your own (`hocket prepare --columns` explains the columns), then "
        f"`hocket init partner {folder} {options}`",
        err=True,
    )


@init.command(
    "aggregator",
    short_help="Write the aggregator's aggregator.toml.",
    epilog=examples(
        "hocket init aggregator hub --plan plan.toml --exchange s3://bucket/example", "hocket init aggregator  # asks"
    ),
)
@click.argument("folder", type=ANY_PATH, default=".")
@_NAME
@_PLAN
@_EXCHANGE
@_HOME
@_PASSPHRASE
@_FORCE
def init_aggregator(folder: Path, force: bool, **options: Any) -> None:  # noqa: ANN401
    """Write aggregator.toml into FOLDER, the current one by default."""
    from pipeline.setup.init_files import aggregator_text, check_replaceable, write_file

    file = folder / "aggregator.toml"
    check_replaceable(file, replace=force)
    write_file(file, aggregator_text(_member(folder, options)), replace=force)
    _report_written(file)


@init.command(
    "catalogue",
    short_help="Propose rows for the plan's catalogue.",
    epilog=examples("hocket init catalogue partner.toml", "hocket init catalogue partner.toml --output rows.csv"),
)
@member_config
@click.option("--output", "file", type=ANY_PATH, default="catalogue.csv", show_default=True, help="File to write.")
@_FORCE
def init_catalogue(config: Path, file: Path, force: bool) -> None:
    """Write the catalogue rows, id and threshold, that your own tables could hold.

    CONFIG is partner.toml. Rows are the tasks with a catalog_assay_id in T0 and labels enough. Nothing is sent, and
    neither plan nor key is needed. Rows that only you propose tell the others your interest: remove them before you
    send the file, or agree on a public list of all targets instead.
    """
    from hashlib import sha256

    from pipeline.plan.catalogue import catalogue_text
    from pipeline.setup.init_files import check_replaceable, write_file
    from pipeline.setup.own_catalogue import proposed_tasks

    check_replaceable(file, replace=force)
    tasks = proposed_tasks(config)
    rows = sorted(set(tasks))
    text = catalogue_text(rows)
    write_file(file, text, replace=force)
    click.echo(f"{file}: {len(rows)} rows for {len(tasks)} of your tasks, SHA-256 {sha256(text.encode()).hexdigest()}")
    click.echo(
        "next: agree on one file with all partners, then write its name and SHA-256 under [catalogue] in the plan; "
        "rows that only you propose tell your interest",
        err=True,
    )


def _member(folder: Path, options: dict[str, Any]) -> dict[str, object]:
    """The settings that partners and the aggregator both have, from options or questions."""
    from pipeline.setup.init_files import name_on_card, path_from

    home = _ask(options["home"], "--home", "Home, the folder of keys and state", str(folder / "home"))
    values: dict[str, object] = {
        "name": _ask(options["name"], "--name", "Name, as on the card", name_on_card(Path(home))),
        "plan": path_from(folder, _ask(options["plan"], "--plan", "The plan", "plan.toml")),
        "home": path_from(folder, home),
        "exchange": path_from(folder, _ask(options["exchange"], "--exchange", "Exchange: a folder, or any fsspec URL")),
    }
    if options["passphrase_file"] is not None:
        values["passphrase_file"] = path_from(folder, str(options["passphrase_file"]))
    return values


def _report_written(file: Path) -> None:
    click.echo(file)
    click.echo(f"next: `hocket doctor {file}` checks the whole set-up", err=True)
