"""`hocket doctor`: check a member's whole set-up."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.commands.options import examples, member_config
from pipeline.runtime.printable import printable

_COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command(
    short_help="Check a member's set-up and say what to do.",
    epilog=examples("hocket doctor partner.toml", "hocket doctor aggregator.toml --json"),
)
@member_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config: Path, as_json: bool) -> None:
    """Check a member's whole set-up before it runs, and say what to do.

    CONFIG is partner.toml or aggregator.toml. Checks machine, library versions, plan digest, home, keys, exchange (a
    small file is written and removed), enrolment, tables and tracking store. Shows nothing secret. Exit code: 0 ready
    to run (notes are no failure), 2 configuration, plan or mode of the home, 3 tables, 4 keys, their modes, or
    signatures, 5 a missing device.
    """
    from pipeline.plan.member_configs import read_member_config, role_in
    from pipeline.setup.doctor import examine
    from pipeline.setup.findings import exit_code

    member, findings = read_member_config(config, role_in(config)), []
    for finding in examine(member, _checking):
        findings.append(finding)
        if not as_json:
            mark = click.style(f"{finding.level:5}", fg=_COLOURS[finding.level])
            click.echo(f"{mark}  {finding.about:9}  {printable(finding.text)}")
            click.echo(f"{'':18}do: {finding.advice}" if finding.advice else "", nl=bool(finding.advice))
    code = exit_code(findings)
    if as_json:
        table = {"member": member.name, "exit_code": int(code), "findings": [finding.to_json() for finding in findings]}
        click.echo(json.dumps(table, indent=1))
    sys.exit(int(code))


@contextmanager
def _checking(about: str) -> Iterator[None]:
    """Say on stderr what is being checked; on a terminal the result takes the line's place."""
    on_terminal = sys.stderr.isatty()
    click.echo(f"checking {about} ...", err=True, nl=not on_terminal)
    try:
        yield
    finally:
        click.echo("\r\x1b[K" if on_terminal else "", err=True, nl=False)
