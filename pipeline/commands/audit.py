"""`hocket audit`: measure what a finished federation reveals about a partner's compounds."""

import json
from pathlib import Path

import click

from pipeline.commands.options import examples, interruptible, log_format, member_config
from pipeline.runtime.log import Log


@click.command(
    short_help="Measure what the result tells about the compounds.",
    epilog=examples(
        "hocket audit partner.toml --quick  # columns, canaries, incoming trunks",
        "hocket audit partner.toml --shadows 64  # goes on where it was stopped",
    ),
)
@member_config
@click.option("--quick", is_flag=True, help="Columns, canaries and incoming trunks alone, without shadow models.")
@click.option(
    "--shadows",
    default=16,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Shadow models; each takes as long as a local model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print audit.json.")
@log_format
def audit(config: Path, quick: bool, shadows: int, as_json: bool, log: Log) -> None:
    """Measure what the finished federation reveals about this partner's compounds.

    Attacks the trunk, the whole network and the steps of the trunk as another member could: which compounds were
    trained on, which can be reconstructed, which input columns give a compound away. Writes HOME/report/audit.json,
    which the report's page shows, and prints it. Nothing is sent to any other member; `hocket report --shareable`
    shares rates.
    """
    from pipeline.report.audit.table import print_audit
    from pipeline.runs.audit import run_audit
    from pipeline.runs.report import current_report
    from pipeline.tracking.tracker import read_member, send_rest

    with interruptible(log):
        result = run_audit(config, quick=quick, n_shadows=shadows, log=log)
        current_report(config)  # its page shows the audit
    click.echo(json.dumps(result.to_json(), indent=1)) if as_json else print_audit(result)
    member = read_member(config, "partner")
    if member.home.tracked.exists() and not send_rest(member):  # the run was sent, but the audit is new
        click.echo(f"hocket: the audit is not in MLflow yet, see {member.home.folder / 'tracking.log'}", err=True)
