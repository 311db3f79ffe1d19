"""`hocket inspect`: describe any hocket file."""

import json
from pathlib import Path

import click

from pipeline.commands.options import EXISTING_FILE, echo, examples


@click.command(epilog=examples("hocket inspect plan.toml", "hocket inspect exchange/enrol/deal.P01.json --json"))
@click.argument("file", type=EXISTING_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Describe any hocket file without a key."""
    from pipeline.audit.describe_file import as_lines, describe_file

    facts = describe_file(file)
    echo(json.dumps(facts, indent=1) if as_json else "\n".join(as_lines(facts)))
