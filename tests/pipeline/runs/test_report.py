"""`hocket report` on the home of a finished partner: missing or older files are written again, without training."""

import json
from collections.abc import Iterator

import pytest

import partners.training.training
from partners.files.checkpoint import load_checkpoint
from pipeline.errors import DamagedReport, Diverged, ExitCode, NotYet
from pipeline.home.paths import Home
from pipeline.home.round_metrics import read_records
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report, report_file
from pipeline.runs.report import WithPage, current_report
from tests.support.federation import Federation


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any training fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(partners.training.training, "train_in_place", refuse)
    monkeypatch.setattr("partners.training.baseline.train_in_place", refuse)
    return


def files_in(home: Home) -> dict[str, bytes]:
    """The report's files."""
    return {str(p.relative_to(home.report)): p.read_bytes() for p in home.report.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("untrained")
def test_a_report_is_made_anew_from_the_kept_models(done: Federation):
    """After the loss of the folder page, figures and summary are written again, and report.json byte for byte."""
    home, config = done.home("P01"), done.config("P01")
    before = files_in(home)
    for path in sorted(home.report.rglob("*"), reverse=True):
        path.unlink()
    current_report(config)
    first = files_in(home)
    assert {name: first[name] for name in before} == before
    assert {"report.html", "report.json", "summary.json", "figures/changes.svg", "figures/changes.png"} <= set(first)
    times = {path: path.stat().st_mtime_ns for path in home.report.rglob("*")}
    current_report(config)
    assert {path: path.stat().st_mtime_ns for path in home.report.rglob("*")} == times
    (home.report / "report.html").write_text("older")
    current_report(config)
    assert files_in(home) == first


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(("its_format", "lacks"), [({}, "verdict"), ({"format": 3}, "network")])
def test_an_older_format_is_scored_again(done: Federation, its_format: dict[str, int], lacks: str):
    """A report of an earlier version has no format or another: the models in the home are scored again."""
    home = done.home("P02")
    kept = report_file(home).read_bytes()
    older = json.loads(kept)
    del older["format"], older[lacks]
    report_file(home).write_text(json.dumps(its_format | older))
    assert current_report(done.config("P02")).to_json() == json.loads(kept)


def test_a_report_that_cannot_be_made_again_leaves_the_older_one(done: Federation):
    """For example if hocket standardises compounds in another way today than when the home began."""
    home = done.home("P02")
    older = report_file(home).read_text().replace('"format": ', '"format": 1', 1)
    report_file(home).write_text(older)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.folds.consistency.CODE_VERSION", 99)
        with pytest.raises(Diverged, match=r"preparation "):
            current_report(done.config("P02"))
    assert report_file(home).read_text() == older


def test_a_damaged_report_is_named(done: Federation):
    """A file that is not JSON or not a report: the error has its path and what to do."""
    for content in ("{", "[]", '{"partner": 1}'):
        report_file(done.home("P01")).write_text(content)
        with pytest.raises(DamagedReport, match=r"report\.json: is damaged") as caught:
            current_report(done.config("P01"))
        assert caught.value.exit_code == ExitCode.DATA
        assert any("remove it" in note for note in caught.value.__notes__)


def test_without_the_local_model_there_is_nothing_to_compare(done: Federation):
    """The error says which file to remove, so that the run trains the local model again."""
    report_file(done.home("P01")).unlink()
    (done.home("P01").baseline / "local.safetensors").unlink()
    with pytest.raises(NotYet, match="without federation is missing") as caught:
        current_report(done.config("P01"))
    assert any("finished.json" in note for note in caught.value.__notes__)


def test_before_the_last_round_there_is_no_report(enrolled: Federation):
    """An unfinished run gets no report."""
    with pytest.raises(NotYet, match="no report"):
        current_report(enrolled.config("P01"))
    assert not enrolled.home("P01").report.exists()


def test_the_page_is_the_last_step_of_a_run(done: Federation):
    """A run killed between report and page writes the page at the next start, and ends."""
    home = done.home("P03")
    assert not (home.report / "report.html").exists()
    machine = WithPage(done.partner("P03"), home)
    while machine.advance():
        assert not (home.report / "report.html").exists() or (home.report / "summary.json").exists()
    assert (home.report / "report.html").exists()
    assert not machine.advance()


# ------------------------------------------------------------------------------------------------- what is in a report


def test_learning_curves_are_those_of_records_and_history(finished: Federation):
    """Federated from the rounds' records, local from the local model's file."""
    home = finished.home("P01")
    found = read_report(home).to_json()["learning"]
    history = load_checkpoint(home.baseline / "local.safetensors", read_plan(finished.plan_file).layout).facts[
        "history"
    ]
    for name in ("roc_auc", "average_precision", "loss"):
        key = f"validation_{name}"
        assert found[name]["federated"] == [[r.step, r.metrics[key]] for r in read_records(home.metrics) if r.step]
        assert found[name]["local"] == [[row["round_no"], row[key]] for row in history]
    assert 0 < found["n_tasks"]["classification"] <= 6
    assert found["n_tasks"]["regression"] == 0


def test_data_is_the_preparations_summary(finished: Federation):
    """The report has the summary of the preparation unchanged, but for what was judged before the run went on."""
    home = finished.home("P01")
    (file,) = home.prepared.glob("*/summary.json")
    summary = json.loads(file.read_text())
    assert (summary.pop("rejected_share"), summary.pop("lost_assays")) == (0.0583, [])
    assert read_report(home).to_json()["data"] == summary


def test_calibration_counts_the_test_labels_of_scored_tasks(finished: Federation):
    """Both models have the same labels, each once."""
    report = read_report(finished.home("P01")).to_json()
    n_labels = sum(
        row["n_active"] + row["n_inactive"] for row in report["tasks"] if row["local"]["roc_auc"] is not None
    )
    for side in ("local", "federated"):
        points = report["calibration"][side]
        assert sum(point["n_entries"] for point in points) == n_labels
        active = sum(point["n_entries"] * point["observed"] for point in points)
        expected = sum(row["n_active"] for row in report["tasks"] if row["local"]["roc_auc"] is not None)
        assert active == pytest.approx(expected)
