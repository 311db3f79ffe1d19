"""report.json, its shareable summary and its table."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.scores import regression_scores, scores
from partners.scores.comparison import compare
from pipeline.errors import DamagedReport, ExitCode, NotYet
from pipeline.home.paths import Home
from pipeline.report.conclusion import network_sentence
from pipeline.report.metrics import METRICS, REGRESSION_METRICS, SIDES
from pipeline.report.parts import ReportPart, Sides
from pipeline.report.report import build_report, read_report, report_file, write_report
from pipeline.report.row_schema import ClassificationScores, RegressionRow, RegressionScores, TaskRow
from pipeline.report.schema import Facts, Means, Report
from pipeline.report.shareable import shareable
from pipeline.report.terminal_table import print_report
from tests.support.federation import Federation
from tests.support.made_up_reports import GATE, errors, made_up_report, report_of, task_row

GOLDEN = Path(__file__).parent / "golden"
MEANS = {"n_tasks": 1, "average_precision": None, "n_judged": 1, "roc_auc": None}

SCORE = st.one_of(st.none(), st.floats(0, 1))
QUICK = settings(max_examples=30, deadline=None)


ROWS = st.lists(st.tuples(SCORE, SCORE), max_size=12).map(
    lambda pairs: [task_row(number, *pair) for number, pair in enumerate(pairs)]
)


def numbers(tree: object) -> list[object]:
    """All counts (values of n_ keys) anywhere in a report."""
    if isinstance(tree, dict):
        counts = [value for key, value in tree.items() if key.startswith("n_") and key not in ("n_rounds", "n_bins")]
        here = [value for value in counts if isinstance(value, int)]
        return here + [found for value in tree.values() for found in numbers(value)]
    return [found for value in tree for found in numbers(value)] if isinstance(tree, list) else []


@QUICK
@given(ROWS)
def test_a_report_has_its_parts(rows: list[TaskRow]):
    """Facts, both models, the summary and one row per task; the numbers are those of `compare`."""
    report = report_of(rows, seed=5)
    assert report.tasks == rows
    n_scored = sum(None not in (each.local.roc_auc, each.federated.roc_auc) for each in rows)
    assert report.summary.n_tasks == len(rows)
    assert report.summary.n_judged == n_scored
    rng = np.random.default_rng(5)
    for metric in METRICS:
        local, federated = (
            np.array([math.nan if (score := each.score(side, metric)) is None else score for each in rows], np.float64)
            for side in SIDES
        )
        expected = compare(local, federated, rng)
        found = report.summary.comparison(metric)
        assert getattr(report.local, metric) == (expected.local if expected else None)
        assert getattr(report.federated, metric) == (expected.federated if expected else None)
        if expected is None:
            assert found is None
            continue
        assert found is not None
        assert found.p_tasks_holm >= found.p_tasks
        assert found.p_assays_holm >= found.p_assays
        written = found.to_json()
        assert written == expected.to_json() | {key: written[key] for key in ("p_tasks_holm", "p_assays_holm")}


def regression_row(number: int, local: RegressionScores, federated: RegressionScores) -> RegressionRow:
    """One regression task's row."""
    return RegressionRow(
        task_id=number,
        input_assay_id=f"secret-assay-{number}",
        assay_type="OTHER",
        n_labels=12,
        n_exact=3,
        n_censored=9,
        is_auxiliary=False,
        strongest="gaussian process",
        kept="gaussian process on the trunk",
        reason="it was better",
        local=local,
        federated=federated,
        network=Sides[RegressionScores](local=local, federated=federated),
        domain=None,
    )


@pytest.mark.parametrize("n_tasks", [4, 6])
def test_regression_stands_beside_classification(n_tasks: int, capsys: pytest.CaptureFixture[str]):
    """Means, comparison and rows in the report, lines in the table; fewer than five scored tasks are not shared."""
    rows = [regression_row(number, errors(0.25, 2.0), errors(0.5, 1.5 + number)) for number in range(n_tasks)]
    report = report_of([task_row(number, 0.5, 0.75) for number in range(7)], rows)
    assert report.regression_tasks == rows
    assert report.summary.regression is not None
    r2, rmse = report.summary.regression.r2, report.summary.regression.rmse
    assert r2 is not None
    assert rmse is not None
    assert (r2.local, r2.federated, r2.n_better) == (0.25, 0.5, n_tasks)
    assert (rmse.n_better, rmse.n_worse) == (1, n_tasks - 1)
    assert report.federated.regression is not None
    assert report.federated.regression.r2 == 0.5
    shared = shareable(report).to_json()
    assert "regression_tasks" not in shared
    assert (shared["summary"]["regression"]["r2"] is None) == (n_tasks < 5)
    assert shared["summary"]["roc_auc"]["federated"] == 0.75
    print_report([report])
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if any(word in line for word in ("R2", "RMSE", "Spearman"))]
    assert len(lines) == 2 * len(REGRESSION_METRICS)  # of both tables
    assert "+0.2500 [+0.2500, +0.2500]" in lines[0]


@QUICK
@given(ROWS, st.integers(0, 100))
def test_the_network_is_compared_by_its_own_scores(rows: list[TaskRow], seed: int):
    """As the main models are, with p-values corrected for its own metrics, and without their conformal domain."""
    of_network = [row.model_copy(update={"network": Sides(local=row.federated, federated=row.local)}) for row in rows]
    report = report_of(of_network, seed=seed)
    swapped = [row.model_copy(update={"local": row.federated, "federated": row.local}) for row in rows]
    expected = report_of(swapped, seed=seed)
    found = report.network
    assert (found.local, found.federated, found.summary) == (expected.local, expected.federated, expected.summary)
    assert report.summary == report_of(rows, seed=seed).summary


def test_the_domain_is_of_the_main_models_alone():
    """The network has no conformal prediction of its own in the report."""
    report = made_up_report(20, 8)
    assert report.summary.domain is not None
    assert report.network.summary.domain is None
    assert report.network.summary.regression is not None
    assert report.network.summary.regression.domain is None


def test_the_conclusion_is_over_the_strongest_local_models():
    """It says so, and the second sentence is of the network, by the same metric."""
    report = made_up_report(60, 30, gain=0.05)
    assert "strongest local models" in report.verdict.sentence
    second, found = network_sentence(report.verdict.metric, report.network.summary), report.network.summary
    assert found.average_precision is not None
    assert second.startswith("Over the same network without federation")
    for number in (found.average_precision.local, found.average_precision.federated):
        assert f"{number:.3f}" in second
    assert f"{found.average_precision.change:+.3f}" in second
    regression = made_up_report(0, 30, gain=0.3)
    assert regression.verdict.metric == "r2"
    assert regression.network.summary.regression is not None
    r2 = regression.network.summary.regression.r2
    assert r2 is not None
    assert f"{r2.change:+.3f}" in network_sentence("r2", regression.network.summary)


@pytest.mark.parametrize("n_tasks", [0, 1, 8])
def test_over_few_assays_there_is_no_second_sentence(n_tasks: int):
    """With no task, or tasks of fewer than five assays, there is no interval worth telling."""
    report = made_up_report(n_tasks)
    assert network_sentence("average_precision", report.network.summary) == ""
    assert network_sentence("average_precision", shareable(report).network) == ""
    assert network_sentence("r2", report.network.summary) == ""


def test_a_report_without_regression_has_no_key_of_it():
    """A partner that leaves regression out has a report without any regression key."""
    written = report_of([task_row(1, 0.5, 0.6)]).to_json()
    assert not {"regression_tasks", "regression_calibration"} & written.keys()
    assert "regression" not in written["summary"].keys() | written["local"].keys() | written["federated"].keys()
    assert "rmse" not in written["learning"]


def test_sharing_changes_nothing_in_the_report():
    """The summary is a copy."""
    report = report_of([task_row(1, 0.5, 0.6)])
    before = json.dumps(report.to_json())
    shareable(report)
    assert json.dumps(report.to_json()) == before


# ------------------------------------------------------------------------------------------------------------- on disk


def test_both_files_are_written_and_read(tmp_path: Path):
    """report.json has the report, summary.json its shareable summary."""
    home = Home(tmp_path)
    report = report_of([task_row(number, 0.5, 0.5 + number / 100) for number in range(9)])
    write_report(home, report)
    assert read_report(home) == report
    assert json.loads((home.report / "summary.json").read_text()) == shareable(report).to_json()


@pytest.mark.parametrize("name", ["with_regression", "without_regression"])
def test_a_report_of_an_earlier_run_is_read_and_written_byte_for_byte(tmp_path: Path, name: str):
    """report.json of two partners' runs: the same keys, order and digits."""
    home, golden = Home(tmp_path), (GOLDEN / f"{name}.json").read_bytes()
    home.report.mkdir()
    report_file(home).write_bytes(golden)
    write_report(home, read_report(home))
    assert report_file(home).read_bytes() == golden


@pytest.mark.parametrize("name", ["with_regression", "without_regression"])
def test_a_report_of_an_earlier_run_is_built_byte_for_byte(name: str):
    """The same from its facts and rows: means, comparisons, conclusion."""
    golden = (GOLDEN / f"{name}.json").read_text()
    given = Report.model_validate_json(golden)
    built = build_report(
        Facts(**{key: getattr(given, key) for key in Facts.model_fields}),
        given.tasks,
        given.regression_tasks or (),
        learning=given.learning,
        calibration=given.calibration,
        data=given.data,
        regression_calibration=given.regression_calibration,
    )
    assert json.dumps(built.to_json(), indent=1) + "\n" == golden


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_written(number: float):
    """To the last bit, so that a report that is read and written is the same file."""
    assert Means.model_validate_json(json.dumps({**MEANS, "roc_auc": number})).roc_auc == number
    assert json.dumps(Means(**MEANS | {"roc_auc": number}).to_json()["roc_auc"]) == json.dumps(number)


@pytest.mark.parametrize(
    "metrics", [(ClassificationScores, scores.METRICS), (RegressionScores, regression_scores.METRICS)]
)
def test_rows_have_the_metrics_that_models_are_scored_by(metrics: tuple[type[ReportPart], tuple[str, ...]]):
    """All of them, in the same order."""
    schema, names = metrics
    assert tuple(schema.model_fields) == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "surprise: found"),
        ({"n_rounds": "12"}, "n_rounds: found '12'"),
        ({"n_rounds": 1.5}, "n_rounds: found 1.5"),
        ({"gate": None}, "gate: found None"),
        ({"tasks": [{"task_id": 1}]}, "tasks.0.input_assay_id: found nothing"),
        ({"seed": float("nan")}, "seed: found nan"),
        ({"format": 4}, "format: found 4, expected 5"),
        ({"network": None}, "network: found None"),
    ],
)
def test_a_changed_report_is_refused(tmp_path: Path, change: dict[str, object], message: str):
    """The error has file and key, what was found, what was expected, and what to do."""
    home = Home(tmp_path)
    home.report.mkdir()
    report_file(home).write_text(json.dumps(report_of([task_row(1, 0.5, 0.6)]).to_json() | change))
    with pytest.raises(DamagedReport) as caught:
        read_report(home)
    assert str(report_file(home)) in str(caught.value)
    assert message in str(caught.value)
    assert any("remove it" in note for note in caught.value.__notes__)


def test_there_is_no_report_before_the_end(tmp_path: Path):
    """The error says when the report is written."""
    with pytest.raises(NotYet, match=r"report\.json: .*no report") as caught:
        read_report(Home(tmp_path))
    assert caught.value.exit_code == ExitCode.NOT_YET
    assert any("last round" in note for note in caught.value.__notes__)


def test_a_summary_alone_is_no_report(tmp_path: Path):
    """report.json is written last, after the summary."""
    home = Home(tmp_path)
    home.report.mkdir()
    (home.report / "summary.json").write_text("{}")
    with pytest.raises(NotYet):
        read_report(home)


def test_the_table_names_every_partner(capsys: pytest.CaptureFixture[str]):
    """On stdout, one line per metric, with dashes for metrics without a score."""
    reports = [
        report_of(rows, partner=name)
        for name, rows in {
            "alpha": [task_row(number, 0.5, 0.75) for number in range(7)],
            "beta": [task_row(1, None, None)],
            "gamma": [],
        }.items()
    ]
    print_report(reports)
    out, err = capsys.readouterr()
    assert out.index("Federated against the strongest local model") < out.index("The same network without")
    assert sum("7 of 7" in line for line in out.splitlines()) == 2
    lines = {name: next(line for line in out.splitlines() if name in line) for name in ("alpha", "beta", "gamma")}
    assert all(part in lines["alpha"] for part in ("7 of 7", "0.5000", "0.7500", "+0.2500 [+0.2500, +0.2500]"))
    assert "0 of 1" in lines["beta"]
    assert "0 of 0" in lines["gamma"]
    (gate,) = (line for line in out.splitlines() if line.startswith("beta: Gate"))
    assert GATE.sentence.removeprefix("gate: ") in gate
    assert f"alpha: {reports[0].verdict.sentence}" in out
    assert err == ""


def test_a_finished_partner_has_a_true_report(finished: Federation):
    """The report of a real run: partner, plan, a row per task, scores in [0, 1] or none."""
    for name in finished.partners:
        report = read_report(finished.home(name))
        assert report.partner == name
        assert report.n_rounds == 2
        assert len(report.tasks) == report.summary.n_tasks == 6
        assert 0 < report.summary.n_judged <= 6
        for task in report.tasks:
            assert task.input_assay_id.startswith(name)
            assert task.strongest != "network" or task.local == task.network.local
            assert task.kept != "network" or task.federated == task.network.federated
            assert task.reason
            for side in (task.local, task.federated, task.network.local, task.network.federated):
                shares = {metric: score for metric, score in side.to_json().items() if metric != "log_loss"}
                assert all(score is None or 0 <= score <= 1 for score in shares.values())
        assert {task.is_auxiliary for task in report.tasks} == {True, False}
        assert all(task.local.roc_auc is None for task in report.tasks if task.is_auxiliary)


def test_a_finished_partners_summary_names_no_assay(finished: Federation):
    """The file that may be shared, as the run wrote it."""
    for name in finished.partners:
        text = (finished.home(name).report / "summary.json").read_text()
        assert f"{name}-A" not in text
        assert all(count >= 5 for count in numbers(json.loads(text)))


def test_all_partners_report_the_same_trunk(finished: Federation):
    """All partners end with the same trunk."""
    assert len({read_report(finished.home(name)).trunk for name in finished.partners}) == 1


def test_report_files_are_where_the_home_says(finished: Federation):
    """The report is in the home's report folder."""
    assert report_file(finished.home("P01")) == finished.folder / "P01" / "home" / "report" / "report.json"
