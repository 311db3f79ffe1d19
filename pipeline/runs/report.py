"""`hocket report`: the kept report is shown; a page that is missing or older is made again, without any training."""

from pathlib import Path

from pipeline.errors import NotYet
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.report import report as reporting
from pipeline.report.schema import Report
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine


class WithPage:
    """A partner's run whose last step is the page of its report."""

    def __init__(self, run: Machine, home: Home) -> None:
        self._run = run
        self._home = home

    def advance(self) -> bool:
        """Do the next step; False when report, page and figures are there."""
        return self._run.advance() or _write_missing_page(self._home)


def _write_missing_page(home: Home) -> bool:
    from pipeline.pages.files import has_page, write_private_page  # noqa: PLC0415 -- matplotlib, needed by no refusal

    report = reporting.read_report(home)
    if has_page(home, report):
        return False
    write_private_page(home, report)
    return True


def bring_up(config_file: Path) -> Report:
    """The partner's report, its page and figures written where they were missing or of another version.

    A finished home without a report, or with one of an older format, scores its kept models again. Raises NotYet
    before the last round, DamagedReport, HomeInUse where something has to be written and another process works.
    """
    config = PartnerConfig.read(config_file)
    home = Home(config.home_folder)
    if _must_be_scored(home):
        _score_again(config, home)
    report = reporting.read_report(home)
    from pipeline.pages.files import has_page  # noqa: PLC0415 -- matplotlib, needed by no refusal

    if not has_page(home, report):
        with home.alone():
            _write_missing_page(home)
    return report


def _must_be_scored(home: Home) -> bool:
    return home.finished.exists() and not reporting.is_of_this_format(home)


def _score_again(config: PartnerConfig, home: Home) -> None:
    """Go through the finished run: its matrices, heads, trunk and baseline are on disk."""
    if not (home.baseline / "local.safetensors").exists():
        error = NotYet(f"{home.baseline}: the local-only model is missing, so that there is nothing to compare with")
        error.add_note(f"remove {home.finished}; then `hocket partner run` trains it again")
        raise error
    from pipeline.protocol.open_mailbox import open_partner_mailbox  # noqa: PLC0415 -- torch, rdkit: after all refusals
    from pipeline.runs.partner_run import PartnerRun  # noqa: PLC0415

    with home.alone():
        mailbox = open_partner_mailbox(config)
        reporting.report_file(home).unlink(missing_ok=True)
        run = WithPage(PartnerRun(config, mailbox, ProgressReporter(config.name)), home)
        while run.advance():
            pass
