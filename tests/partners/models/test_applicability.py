"""Efficiency, coverage and interval widths equal those of crepes, called task by task."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from crepes import ConformalClassifier, ConformalRegressor
from scipy import sparse

from partners.models import applicability
from partners.models.applicability import evaluate_domain
from partners.network.inference import Outputs
from partners.settings import EPSILON
from partners.training_data.training_set import TrainingSet

N_COMPOUNDS, N_TASKS, N_REGRESSIONS = 900, 5, 3
TEST, VALIDATION = 0, 1


def made_up(seed: int) -> tuple[TrainingSet, SimpleNamespace, SimpleNamespace]:
    """Data, and one model's predictions on its validation and its test fold; the last tasks have very few labels."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(N_COMPOUNDS, N_TASKS + N_REGRESSIONS))
    seen = rng.uniform(size=truth.shape) < 0.6
    seen[:, [N_TASKS - 1, -1]] = rng.uniform(size=(N_COMPOUNDS, 2)) < 0.03
    y = np.where(seen, np.sign(truth + 0.5), 0)[:, :N_TASKS]
    values = np.where(seen, truth, 0)[:, N_TASKS:]
    marks = sparse.csr_matrix(values)
    marks.data = rng.choice([-1.0, 0.0, 0.0, 0.0, 1.0], marks.data.size)
    data = TrainingSet(
        x=sparse.csr_matrix(np.ones((N_COMPOUNDS, 1), np.float32)),
        y=sparse.csr_matrix(y),
        folding=rng.integers(0, 3, N_COMPOUNDS),
        training_weight=np.ones(N_TASKS, np.float32),
        y_regr=sparse.csr_matrix(values),
        y_censor=marks,
        test_fold=TEST,
        validation_fold=VALIDATION,
    )
    logits = (truth + rng.normal(size=truth.shape)).astype(np.float32)
    return data, *(_on(data, logits, fold) for fold in (VALIDATION, TEST))


def _on(data: TrainingSet, logits: np.ndarray, fold: int) -> SimpleNamespace:
    """A fold's rows, and the outputs for them."""
    rows = data.rows_of(fold)
    outputs = Outputs(logits[rows, :N_TASKS], logits[rows, N_TASKS:])
    return SimpleNamespace(rows=rows, outputs=outputs, values=outputs.values)


def labels_of(data: TrainingSet, where: SimpleNamespace, task: int) -> np.ndarray:
    """One task's labels on a fold, 0 where not measured."""
    return np.asarray(data.y[where.rows][:, [task]].toarray()).ravel()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("block", [64, 4096])
def test_classification_is_mondrian_conformal_prediction(seed: int, block: int, monkeypatch: pytest.MonkeyPatch):
    """Single-class share over all test compounds, coverage over the labelled ones; in blocks or whole."""
    monkeypatch.setattr(applicability, "_BLOCK", block)
    data, validation, test = made_up(seed)
    domain = evaluate_domain(data, validation.outputs, test.outputs)
    for task in range(N_TASKS):
        known, truth = labels_of(data, validation, task), labels_of(data, test, task)
        if task == N_TASKS - 1:
            assert domain.of_task(task) == {"efficiency": None, "coverage": None}
            continue
        possible: dict[int, Any] = {}
        for sign in (1, -1):
            scores = -sign * validation.outputs.logits[known == sign, task]
            fitted = ConformalClassifier().fit(scores)
            possible[sign] = fitted.predict_p(-sign * test.outputs.logits[:, task], smoothing=False) > EPSILON
        single = possible[1] != possible[-1]
        right = np.concatenate([possible[sign][truth == sign] for sign in (1, -1)])
        assert domain.efficiency[task] == pytest.approx(single.mean(), abs=1e-12)
        assert domain.coverage[task] == pytest.approx(right.mean(), abs=1e-12)
        assert 0.85 < domain.coverage[task] <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_regression_intervals_are_those_of_crepes(seed: int):
    """Width of the plain conformal regressor's interval; coverage over the exact test values."""
    data, validation, test = made_up(seed)
    domain = evaluate_domain(data, validation.outputs, test.outputs)
    for task in range(N_REGRESSIONS):
        sides = []
        for where in (validation, test):
            values, marks = data.y_regr[where.rows][:, [task]].tocoo(), data.y_censor[where.rows][:, [task]].toarray()
            exact = marks[values.row, 0] == 0
            sides.append(np.abs(values.data[exact] - where.values[values.row[exact], task]))
        if task == N_REGRESSIONS - 1:
            assert domain.of_regression(task) == {"width": None, "coverage": None}
            continue
        fitted = ConformalRegressor().fit(sides[0])
        low, high = fitted.predict_int(np.zeros(1), confidence=1 - EPSILON)[0]
        assert domain.width[task] == pytest.approx(high - low, rel=1e-5)
        assert domain.width_coverage[task] == pytest.approx((sides[1] <= high + 1e-6).mean(), abs=0.01)
        assert 0.85 < domain.width_coverage[task] <= 1
