"""The report of a finished run, for `hocket report`: a missing or older page is written again, without training."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ExchangeError, NotYet
from pipeline.exchange.storage import open_exchange
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from pipeline.report import report as reporting
from pipeline.report.schema import Report
from pipeline.runs.last_trunk import confirm_trunk
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine
from secure.files import atomic_file


class WithPage:
    """A partner's run that also writes the page of its report, as its last step."""

    def __init__(self, run: Machine, home: Home) -> None:
        self._run = run
        self._home = home

    def advance(self) -> bool:
        """Do the next step; False when report, page and figures are written."""
        return self._run.advance() or _write_missing_page(self._home)


def _write_missing_page(home: Home) -> bool:
    from pipeline.pages.files import has_page, write_private_page  # noqa: PLC0415 -- matplotlib: after all checks

    report = reporting.read_report(home)
    if has_page(home, report):
        return False
    write_private_page(home, report)
    return True


def current_report(config_file: Path) -> Report:
    """The partner's report; its page and figures are written if they are missing or of another version.

    In a finished home without a report, or with one of an older format, the models are scored again. Raises NotYet
    before the last round, DamagedReport, HomeInUse if there is something to write and another process works there.
    """
    config = PartnerConfig.read(config_file)
    home = Home(config.home_folder)
    if _must_be_scored(home):
        _score_again(config, home)
    look_again(config)
    report = reporting.read_report(home)
    from pipeline.pages.files import has_page  # noqa: PLC0415 -- matplotlib: after all checks

    if not has_page(home, report):
        with home.alone():
            _write_missing_page(home)
    return report


def look_again(config: PartnerConfig) -> None:
    """Complete a report that some partners had not confirmed; without the exchange it stays as it is.

    Raises Diverged, HomeInUse.
    """
    home = Home(config.home_folder)
    if not reporting.is_of_this_format(home) or not reporting.read_report(home).unconfirmed:
        return
    plan = read_plan(config.plan_file)
    if not reporting.is_of_plan(home, plan.digest):
        return  # under a revision, whose first roster shows whether all have that trunk
    with suppress(ExchangeError), home.alone():
        confirm_trunk(home, plan, open_exchange(config.exchange_url).below(plan.folder))
        _write_missing_page(home)


def _must_be_scored(home: Home) -> bool:
    return home.finished.exists() and not reporting.is_of_this_format(home)


def _score_again(config: PartnerConfig, home: Home) -> None:
    """Run through the finished steps again: matrices, heads, trunk and both networks are on disk."""
    if not (home.baseline / "local.safetensors").exists():
        error = NotYet(f"{home.baseline}: the network without federation is missing, expected it for the comparison")
        error.add_note(f"remove {home.finished}; then `hocket partner run` trains it again")
        raise error
    from pipeline.protocol.open_mailbox import open_partner_mailbox  # noqa: PLC0415 -- torch and rdkit: after all checks
    from pipeline.runs.partner_run import PartnerRun  # noqa: PLC0415

    with home.alone(), _set_aside(reporting.report_file(home)):
        run = WithPage(PartnerRun(config, open_partner_mailbox(config), ProgressReporter(config.name)), home)
        while run.advance():
            pass


@contextmanager
def _set_aside(report: Path) -> Iterator[None]:
    """Take a report away while another is made; it comes back if there is none in the end."""
    kept = report.read_bytes() if report.exists() else None
    report.unlink(missing_ok=True)
    try:
        yield
    finally:
        if kept is not None and not report.exists():
            with atomic_file(report) as file:
                file.write(kept)
