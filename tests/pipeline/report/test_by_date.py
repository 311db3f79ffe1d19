"""The newest compounds in a report: what is printed and shown, nothing of it is shared, and a whole run with days."""

import datetime as dt
import json

import numpy as np
import pytest

from partners.models.by_date import ByDate, DatedPart
from partners.scores.paired_scores import PairedScores
from pipeline.pages.private_page import private_page
from pipeline.report.conclusion import dates_sentence
from pipeline.report.full_report import _by_date
from pipeline.report.report import read_report
from pipeline.report.schema import Report
from pipeline.report.shareable import shareable
from tests.support.cli_runner import hocket
from tests.support.federation import Federation, run_all
from tests.support.made_up_reports import made_up_report


def dated(n_tasks: int) -> ByDate:
    """Made-up scores of both parts."""
    rng = np.random.default_rng(0)

    def part() -> DatedPart:
        local = rng.uniform(0.5, 0.8, n_tasks)
        scores = PairedScores(local, local + 0.05, np.arange(n_tasks))
        return DatedPart(40, 90, 0.25 if n_tasks else float("nan"), scores, scores)

    return ByDate("2019-06-30", 3, n_tasks, part(), part())


def report_with(n_tasks: int) -> Report:
    """A report with a comparison by date over so many tasks."""
    return made_up_report(10).model_copy(update={"by_date": _by_date(dated(n_tasks), 1)})


@pytest.mark.parametrize(("n_tasks", "interval"), [(8, True), (2, False)])
def test_the_newest_are_compared(n_tasks: int, *, interval: bool):
    """Cut-off, both parts, an interval over five assays or more; and that it is no forecast."""
    report = report_with(n_tasks)
    sentence = dates_sentence(report.by_date)
    assert "2019-06-30" in sentence
    assert f"{n_tasks} tasks" in sentence
    assert "+0.050" in sentence
    assert ("95 %" in sentence) == interval
    assert "no forecast" in sentence
    (section,) = [section for section in private_page(report).sections if "newest" in section.title]
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["to 2019-06-30"] * 2 + ["after 2019-06-30"] * 2
    assert "3 without a day" in table.caption
    assert Report.model_validate_json(json.dumps(report.to_json())) == report


def test_without_enough_labels_it_says_so():
    """No number is made up, and JSON has none either."""
    report = report_with(0)
    assert "no task" in dates_sentence(report.by_date)
    assert report.to_json()["by_date"]["newest"]["roc_auc"] is None


def test_without_days_there_is_nothing():
    """A report is then as before, and so is its page."""
    report = made_up_report(10)
    assert "by_date" not in report.to_json()
    assert dates_sentence(report.by_date) == ""
    assert not [section for section in private_page(report).sections if "newest" in section.title]


def test_nothing_of_it_is_shared():
    """No day, and no number of it."""
    assert shareable(report_with(8)).to_json() == shareable(made_up_report(10)).to_json()


@pytest.mark.slow
def test_a_whole_run_with_days(tmp_path):
    """One partner names its column; the others' reports, and all that is exchanged, are as ever."""
    federation = Federation(tmp_path / "f")
    table = federation.folder / "P01" / "T1.csv"
    header, *rows = table.read_text().splitlines()
    days = [(dt.date(2015, 1, 1) + dt.timedelta(days=37 * i % 2000)).isoformat() for i in range(len(rows))]
    lines = [f"{header},measured_on", *(f"{row},{day}" for row, day in zip(rows, days, strict=True))]
    table.write_text("\n".join(lines) + "\n")
    config = federation.config("P01")
    config.write_text(config.read_text().replace("[data]\n", '[data]\ndate_column = "measured_on"\n'))
    run_all(federation.members())
    report = read_report(federation.home("P01"))
    assert report.by_date is not None
    assert "2015-01-01" < report.by_date.cutoff < max(days)
    assert report.by_date.n_undated == 0
    assert read_report(federation.home("P02")).by_date is None
    done = hocket("report", config)
    assert done.exit_code == 0
    assert report.by_date.cutoff in done.stdout
    assert hocket("verify", federation.plan_file, federation.exchange).exit_code == 0
