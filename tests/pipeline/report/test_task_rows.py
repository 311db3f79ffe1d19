"""The rows of a report: every task's four models in their places."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data_prep.settings import Activities, Preparation, Regression
from partners.models.compared import ChosenKinds, ComparedModels
from partners.models.held_out import EvaluatedModel, evaluate_outputs
from partners.network.inference import Outputs
from partners.settings import Training
from partners.training.partner_data import PartnerData
from partners.training_data.prepared_data import training_set
from pipeline.report.row_schema import AnyRow
from pipeline.report.schema import ReportPart
from pipeline.report.task_rows import task_rows
from tests.support.partners.prepared_matrices import prepared_matrices

PREPARED = prepared_matrices(n_compounds=300, n_tasks=14)
TRAINING = Training(regression_weight=0.5)
PREPARATION = Preparation(
    activities=replace(Activities(), evaluation_min_active=1, evaluation_min_inactive=1),
    regression=replace(Regression(), evaluation_min_exact=2),
)
OWN = PartnerData(training_set(PREPARED, PREPARATION.folds, TRAINING), TRAINING, "digest")
SCORES: dict[str, Callable[[AnyRow], ReportPart]] = {
    "strongest": lambda row: row.local,
    "take_home": lambda row: row.federated,
    "network_local": lambda row: row.network.local,
    "network_federated": lambda row: row.network.federated,
}


def random_model(seed: int) -> EvaluatedModel:
    """A model whose outputs are random numbers."""
    rng, data = np.random.default_rng(seed), OWN.training_set

    def outputs(fold: int) -> Outputs:
        n_rows = data.rows_of(fold).size
        return Outputs(*(rng.normal(size=(n_rows, n)).astype(np.float32) for n in (data.n_tasks, data.n_regressions)))

    return evaluate_outputs(OWN, PREPARATION, outputs(data.test_fold), outputs(data.validation_fold))


@pytest.fixture(scope="module")
def models() -> ComparedModels:
    """Four different models, and a reason for each task."""
    data = OWN.training_set
    return ComparedModels(
        **{name: random_model(seed) for seed, name in enumerate(SCORES)},
        half_data=np.where(np.arange(data.n_tasks) % 3 == 0, np.nan, np.linspace(0.2, 0.9, data.n_tasks)),
        tasks=[ChosenKinds("forest", "mean on the trunk", f"reason {i}") for i in range(data.n_tasks)],
        regression_tasks=[ChosenKinds("mean", "network", f"cause {i}") for i in range(data.n_regressions)],
    )


@pytest.mark.parametrize("name", SCORES)
def test_each_models_scores_are_in_their_place(models: ComparedModels, name: str):
    """Of the test fold, by every metric."""
    rows, regression_rows = task_rows(PREPARED, OWN, models)
    test = getattr(models, name).test
    for row in rows:
        expected = test.tasks.of_task(row.task_id)
        assert SCORES[name](row).to_json() == (dict.fromkeys(expected) if row.is_auxiliary else expected)
    for each in regression_rows:
        expected = test.regression_tasks.of_task(each.task_id)
        assert SCORES[name](each).to_json() == (dict.fromkeys(expected) if each.is_auxiliary else expected)
    assert sum(row.local.roc_auc is not None for row in rows) == 13


def test_each_row_has_its_kinds_and_the_domain_of_the_main_models(models: ComparedModels):
    """Kinds and reason by column; efficiency and width of strongest and take-home models."""
    rows, regression_rows = task_rows(PREPARED, OWN, models)
    assert [(row.strongest, row.kept, row.reason) for row in rows] == [
        ("forest", "mean on the trunk", f"reason {i}") for i in range(14)
    ]
    assert [row.reason for row in regression_rows] == [f"cause {i}" for i in range(len(regression_rows))]
    assert regression_rows
    for row in rows:
        if row.domain:
            assert row.domain.local.to_json() == models.strongest.domain.of_task(row.task_id)
            assert row.domain.federated.to_json() == models.take_home.domain.of_task(row.task_id)
    for each in regression_rows:
        if each.domain:
            assert each.domain.federated.to_json() == models.take_home.domain.of_regression(each.task_id)
