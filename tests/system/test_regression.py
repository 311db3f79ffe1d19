"""Regression in a whole federation: some partners measure values and train on them, one leaves them out."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error

from data_prep.prepared import Prepared, read_prepared
from partners.assay_models.predictor import AssayPredictor
from partners.files.checkpoint import load_checkpoint
from partners.files.round_checkpoint import RoundStart
from partners.models.take_home import read_models
from partners.network.inference import Predictor
from partners.scores.regression_scores import METRICS
from partners.training_data.prepared_data import training_set
from pipeline.home.round_metrics import read_records
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from tests.support.federation import WITH_REGRESSION, Federation, measuring_federation, run_all, run_to

WITHOUT = "P03"


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Such a federation after its last round. For reading only."""
    federation = measuring_federation(tmp_path_factory.mktemp("regression") / "f")
    run_all(federation.members())
    return federation


def _prepared(federation: Federation, name: str) -> Prepared:
    (folder,) = (path.parent for path in federation.home(name).prepared.glob("*/manifest.json"))
    return read_prepared(folder)


@pytest.mark.parametrize("name", WITH_REGRESSION)
def test_the_report_scores_regression_in_original_units(name: str, regression: Federation) -> None:
    """RMSE and R2 of the network and of the strongest models are scikit-learn's on the test fold's exact values."""
    plan, prepared, home = read_plan(regression.plan_file), _prepared(regression, name), regression.home(name)
    training = PartnerConfig.read(regression.config(name)).training
    local = load_checkpoint(home.baseline / "local.safetensors", plan.layout)
    assert local.trunk is not None
    assert local.partner is not None
    network = Predictor(local.trunk, local.partner, plan.layout.trunk, plan.trunk, training)
    known = prepared.x[training_set(prepared, plan.preparation.folds, training).training_rows]
    strongest = read_models(home.assay_models, plan.layout.trunk, known.shape[0]).strongest
    found = network(prepared.x).values, AssayPredictor(network, strongest, known)(prepared.x).values
    values, marks = prepared.y_regr.tocoo(), prepared.y_censor.data
    rows = read_report(regression.home(name)).to_json()["regression_tasks"]
    assert [row["task_id"] for row in rows] == [task.task_id for task in prepared.regression_tasks] == [0, 1]
    for task, row in enumerate(rows):
        tested = (values.col == task) & (prepared.folding[values.row] == plan.preparation.folds.test)
        seen = tested & (marks == 0)
        assert row["input_assay_id"].startswith(name)
        assert (row["n_exact"], row["n_censored"]) == (seen.sum(), (tested & (marks == 1)).sum())
        assert row["n_censored"] > 0
        for scores, predicted in zip((row["network"]["local"], row["local"]), found, strict=True):
            guess = predicted[values.row[seen], task]
            assert scores["rmse"] == pytest.approx(root_mean_squared_error(values.data[seen], guess), rel=1e-5)
            assert scores["r2"] == pytest.approx(r2_score(values.data[seen], guess), rel=1e-4, abs=1e-5)
        for side in ("local", "federated"):
            assert set(row[side]) == set(METRICS)
            assert all(np.isfinite(score) for score in row[side].values())


def test_means_stand_beside_classification(regression: Federation) -> None:
    """The summary compares both sides; what may be shared has no row and no mean of two tasks."""
    for name in WITH_REGRESSION:
        report = read_report(regression.home(name)).to_json()
        rows = report["regression_tasks"]
        for side in ("local", "federated"):
            mean = float(np.mean([row[side]["r2"] for row in rows]))
            assert report[side]["regression"]["r2"] == pytest.approx(mean)
            assert report["summary"]["regression"]["r2"][side] == report[side]["regression"]["r2"]
        assert report["summary"]["roc_auc"] is not None
        shared = json.loads((regression.home(name).report / "summary.json").read_text())
        assert f"{name}-A" not in json.dumps(shared)
        assert shared["summary"]["regression"]["r2"] is None


def test_heads_train_and_are_followed_by_round(regression: Federation) -> None:
    """Regression heads change from round to round at the partners that have them; the curves show it."""
    plan = read_plan(regression.plan_file)
    for name in regression.partners:
        start = RoundStart.read(regression.home(name).start_file(3), plan.layout)
        assert start.private is not None
        curves = [set(record.metrics) for record in read_records(regression.home(name).metrics) if record.step > 0]
        told = {"validation_r2", "validation_rmse", "validation_spearman"}
        assert start.private.n_regressions == (2 if name in WITH_REGRESSION else 0)
        assert [told & curve for curve in curves] == [told if name in WITH_REGRESSION else set()] * 2
        assert all({"validation_bedroc", "validation_brier", "validation_log_loss"} <= curve for curve in curves)
    for name in WITH_REGRESSION:
        start = RoundStart.read(regression.home(name).start_file(3), plan.layout)
        assert start.private is not None
        moments = start.private.first_moment["regression.weight"]
        assert moments.shape == (2, 16)
        assert moments.all()


def test_a_partner_may_leave_regression_out(regression: Federation) -> None:
    """With regression weight 0 the values have no effect, and the trunk is still shared."""
    report = read_report(regression.home(WITHOUT)).to_json()
    of_models = {key: value for key, value in report.items() if key not in ("data", "learning")}
    assert "regression" not in json.dumps(of_models)
    assert report["learning"].keys() == {"average_precision", "roc_auc", "loss", "n_tasks"}
    assert _prepared(regression, WITHOUT).y_regr.nnz > 0
    assert len(regression.trunks(2)) == 1


@pytest.mark.slow
def test_members_opened_afresh_end_alike(regression: Federation, tmp_path: Path) -> None:
    """Stopped after round 1 and opened again: the same trunk and, to the last bit, the same report."""
    stopped = measuring_federation(tmp_path / "f")
    run_to(stopped, 2)
    run_all(stopped.members())
    assert stopped.trunks(2) == regression.trunks(2)
    for name in stopped.partners:
        before, after = (read_report(each.home(name)).to_json() for each in (regression, stopped))
        parts = ("local", "federated", "summary", "tasks")
        assert [before[part] for part in parts] == [after[part] for part in parts]
        assert before.get("regression_tasks") == after.get("regression_tasks")
