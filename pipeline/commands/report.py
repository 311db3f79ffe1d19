"""`hocket report`: compare the federated with the strongest local model."""

import json
from pathlib import Path

import click

from pipeline.commands.options import ANY_PATH, EXISTING_FILE, examples


@click.command(
    short_help="Compare the federated with the strongest local model.",
    epilog=examples(
        "hocket report partner.toml",
        "hocket report partner.toml --shareable --output for_the_others",
        "hocket report --merge P01/summary.json P02/summary.json P03/summary.json --output consortium",
    ),
)
@click.argument("files", nargs=-1, required=True, type=EXISTING_FILE, metavar="PARTNER.toml | SUMMARY.json...")
@click.option("--shareable", is_flag=True, help="Write the shareable page, figures and summary.json.")
@click.option("--merge", is_flag=True, help="Write the consortium's page from the partners' SUMMARY.json files.")
@click.option("--output", type=ANY_PATH, help="Folder for --shareable  [default: HOME/report/shareable] or --merge.")
@click.option("--json", "as_json", is_flag=True, help="Print the report, summary or merged summary as JSON.")
def report(files: tuple[Path, ...], shareable: bool, merge: bool, output: Path | None, as_json: bool) -> None:
    """Compare the federated with the strongest local model, for each task and over all tasks.

    And the same network without and with federation. Writes report.html, a page that opens offline, and its figures
    into HOME/report, and prints two tables.
    """
    if merge:
        if shareable or output is None:
            raise click.UsageError("--merge takes summaries and --output FOLDER, without --shareable")
        from pipeline.pages.consortium_files import merge_summaries, print_merged

        merged = merge_summaries(files, output)
        click.echo(json.dumps(merged.to_json(), indent=1)) if as_json else print_merged(merged, output)
        return
    if len(files) != 1 or (output and not shareable):
        raise click.UsageError("expected one PARTNER.toml; --output goes with --shareable or --merge")
    _own_report(files[0], output, shareable=shareable, as_json=as_json)


def _own_report(config: Path, output: Path | None, *, shareable: bool, as_json: bool) -> None:
    from pipeline.home.paths import Home
    from pipeline.plan.member_configs import PartnerConfig
    from pipeline.report.schema import Report
    from pipeline.report.shareable_schema import ShareableSummary
    from pipeline.report.terminal_table import print_report
    from pipeline.runs.report import current_report
    from pipeline.tracking.tracker import read_member, send_rest

    report = current_report(config)
    folder = Home(PartnerConfig.read(config).home_folder).report
    shown: Report | ShareableSummary = report
    if shareable:
        from pipeline.pages.files import write_shareable

        folder = output or folder / "shareable"
        shown = write_shareable(folder, report)
    if as_json:
        click.echo(json.dumps(shown.to_json(), indent=1))
    else:
        print_report([shown])
        click.echo(f"page: {folder / 'report.html'}")
    member = read_member(config, "partner")
    if member.home.tracked.exists() and not send_rest(member):  # the run was sent, but the report may be new
        click.echo(f"hocket: the report is not in MLflow yet, see {member.home.folder / 'tracking.log'}", err=True)
