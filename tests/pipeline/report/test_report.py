"""report.json, its shareable summary and its table."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.scores.comparison import compare
from pipeline.errors import ExitCode, NotYet
from pipeline.home.paths import Home
from pipeline.pages.files import write_report
from pipeline.report.metrics import METRICS, REGRESSION_METRICS
from pipeline.report.report import build_report, read_report, report_file
from pipeline.report.shareable import shareable
from pipeline.report.terminal_table import print_report
from tests.support.federation import Federation

SCORE = st.one_of(st.none(), st.floats(0, 1))
QUICK = settings(max_examples=30, deadline=None)


def row(number: int, local: float | None, federated: float | None) -> dict[str, Any]:
    """One task's row."""
    return {
        "task_id": f"secret-task-{number}",
        "input_assay_id": f"secret-assay-{number}",
        "assay_type": "OTHER",
        "threshold": 6.25,
        "n_labels": 80,
        "n_active": 3,
        "n_inactive": 17,
        "is_auxiliary": False,
        "local": dict.fromkeys(METRICS, local),
        "federated": dict.fromkeys(METRICS, federated),
    }


ROWS = st.lists(st.tuples(SCORE, SCORE), max_size=12).map(
    lambda pairs: [row(number, *pair) for number, pair in enumerate(pairs)]
)
ABOUT = {
    "partner": "P01",
    "federation": "small",
    "plan": "ab" * 32,
    "trunk": "cd" * 32,
    "n_rounds": 12,
    "local_steps": 25,
}


def numbers(tree: object) -> list[object]:
    """All counts (values of n_ keys) anywhere in a report."""
    if isinstance(tree, dict):
        counts = [value for key, value in tree.items() if key.startswith("n_") and key not in ("n_rounds", "n_bins")]
        here = [value for value in counts if isinstance(value, int)]
        return here + [found for value in tree.values() for found in numbers(value)]
    return [found for value in tree for found in numbers(value)] if isinstance(tree, list) else []


@QUICK
@given(ROWS)
def test_a_report_has_its_parts(rows: list[dict[str, Any]]):
    """Facts, both sides, the summary and one row per task; the numbers are those of `compare`."""
    report = build_report(ABOUT, rows, seed=5)
    assert set(report) == {*ABOUT, "format", "seed", "local", "federated", "summary", "tasks", "verdict"}
    assert report["tasks"] == rows
    judged = sum(None not in (each["local"]["roc_auc"], each["federated"]["roc_auc"]) for each in rows)
    assert report["summary"]["n_tasks"] == len(rows)
    assert report["summary"]["n_judged"] == judged
    rng = np.random.default_rng(5)
    for metric in METRICS:
        local, federated = (
            np.array([math.nan if each[side][metric] is None else each[side][metric] for each in rows], np.float64)
            for side in ("local", "federated")
        )
        expected = compare(local, federated, rng)
        found = report["summary"][metric]
        corrected = {key: found.pop(key) for key in ("p_tasks_holm", "p_assays_holm")} if found else {}
        assert found == (expected.to_json() if expected else None)
        assert all(corrected[f"{p}_holm"] >= found[p] for p in ("p_tasks", "p_assays") if found)
        assert report["local"][metric] == (expected.local if expected else None)
        assert report["federated"][metric] == (expected.federated if expected else None)


def regression_row(number: int, **sides: tuple[float, float]) -> dict[str, Any]:
    """One regression task's row; a side's R2 and Spearman are its first number, its RMSEs the second."""
    facts = {"task_id": number, "input_assay_id": f"secret-assay-{number}", "n_exact": 3, "n_censored": 9}
    facts |= {"n_labels": 12, "assay_type": "OTHER"}
    return facts | {
        side: {"r2": score, "spearman": score, "rmse": error, "censored_rmse": error}
        for side, (score, error) in sides.items()
    }


@pytest.mark.parametrize("n_tasks", [4, 6])
def test_regression_stands_beside_classification(n_tasks: int, capsys: pytest.CaptureFixture[str]):
    """Means, comparison and rows in the report, lines in the table; fewer than five judged tasks are not shared."""
    rows = [regression_row(number, local=(0.25, 2.0), federated=(0.5, 1.5 + number)) for number in range(n_tasks)]
    report = build_report(ABOUT, [row(number, 0.5, 0.75) for number in range(7)], 1, rows)
    found = report["summary"]["regression"]
    assert report["regression_tasks"] == rows
    assert (found["r2"]["local"], found["r2"]["federated"], found["r2"]["n_better"]) == (0.25, 0.5, n_tasks)
    assert (found["rmse"]["n_better"], found["rmse"]["n_worse"]) == (1, n_tasks - 1)
    assert report["federated"]["regression"]["r2"] == 0.5
    shared = shareable(report)
    assert "regression_tasks" not in shared
    assert (shared["summary"]["regression"]["r2"] is None) == (n_tasks < 5)
    assert shared["summary"]["roc_auc"]["federated"] == 0.75
    print_report([report])
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if any(word in line for word in ("R2", "RMSE", "Spearman"))]
    assert len(lines) == len(REGRESSION_METRICS)
    assert "+0.2500 [+0.2500, +0.2500]" in lines[0]


def test_a_report_without_regression_does_not_mention_it():
    """A partner that leaves regression out has the report of before."""
    assert "regression" not in json.dumps(build_report(ABOUT, [row(1, 0.5, 0.6)], seed=1))


def test_sharing_changes_nothing_in_the_report():
    """The summary is a copy."""
    report = build_report(ABOUT, [row(1, 0.5, 0.6)], seed=1)
    before = json.dumps(report)
    shareable(report)
    assert json.dumps(report) == before


def test_both_files_are_written_and_read(tmp_path: Path):
    """report.json is what was built, summary.json what may be shared."""
    home = Home(tmp_path)
    report = build_report(ABOUT, [row(number, 0.5, 0.5 + number / 100) for number in range(9)], seed=1)
    write_report(home, report)
    assert read_report(home) == report
    assert json.loads((home.report / "summary.json").read_text()) == shareable(report)


def test_there_is_no_report_before_the_end(tmp_path: Path):
    """The error says when it will be there."""
    with pytest.raises(NotYet, match=r"report\.json: there is no report yet") as caught:
        read_report(Home(tmp_path))
    assert caught.value.exit_code == ExitCode.NOT_YET
    assert any("last round" in note for note in caught.value.__notes__)


def test_a_summary_alone_is_no_report(tmp_path: Path):
    """report.json is written last and says that all is there."""
    home = Home(tmp_path)
    home.report.mkdir()
    (home.report / "summary.json").write_text("{}")
    with pytest.raises(NotYet):
        read_report(home)


def test_the_table_names_every_partner(capsys: pytest.CaptureFixture[str]):
    """On stdout, one line each, with what could not be judged shown as such."""
    reports = [
        build_report(ABOUT | {"partner": name}, rows, seed=1)
        for name, rows in {
            "alpha": [row(number, 0.5, 0.75) for number in range(7)],
            "beta": [row(1, None, None)],
            "gamma": [],
        }.items()
    ]
    print_report(reports)
    out, err = capsys.readouterr()
    lines = {name: line for name in ("alpha", "beta", "gamma") for line in out.splitlines() if name in line}
    assert set(lines) == {"alpha", "beta", "gamma"}
    assert all(part in lines["alpha"] for part in ("7 of 7", "0.5000", "0.7500", "+0.2500 [+0.2500, +0.2500]"))
    assert "0 of 1" in lines["beta"]
    assert "0 of 0" in lines["gamma"]
    assert err == ""


def test_a_finished_partner_has_a_true_report(finished: Federation):
    """The report of a real run: who, which plan, a row per task, scores in [0, 1] or none."""
    for name in finished.partners:
        report = read_report(finished.home(name))
        assert report["partner"] == name
        assert report["n_rounds"] == 2
        assert len(report["tasks"]) == report["summary"]["n_tasks"] == 6
        assert 0 < report["summary"]["n_judged"] <= 6
        for task in report["tasks"]:
            assert task["input_assay_id"].startswith(name)
            for side in ("local", "federated"):
                assert len(task[side]) == 10
                shares = {name: score for name, score in task[side].items() if name != "log_loss"}
                assert all(score is None or 0 <= score <= 1 for score in shares.values())
        assert {task["is_auxiliary"] for task in report["tasks"]} == {True, False}
        assert all(task["local"]["roc_auc"] is None for task in report["tasks"] if task["is_auxiliary"])


def test_a_finished_partners_summary_names_no_assay(finished: Federation):
    """The file that may be shared, as the run wrote it."""
    for name in finished.partners:
        text = (finished.home(name).report / "summary.json").read_text()
        assert f"{name}-A" not in text
        assert all(count >= 5 for count in numbers(json.loads(text)))


def test_all_partners_report_the_same_trunk(finished: Federation):
    """One model came out."""
    assert len({read_report(finished.home(name))["trunk"] for name in finished.partners}) == 1


def test_report_files_are_where_the_home_says(finished: Federation):
    """One place."""
    assert report_file(finished.home("P01")) == finished.folder / "P01" / "home" / "report" / "report.json"
