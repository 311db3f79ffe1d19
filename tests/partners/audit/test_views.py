"""Heads on a frozen trunk, steps of the trunk, shadows and groups, against plain code and autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from partners.audit.attacks import ShadowScores
from partners.audit.frozen_trunk import MeasuredTasks, fit_heads, hidden_inputs, trunk_fit
from partners.audit.groups import groups_of
from partners.audit.shadows import Shadow, ShadowTask, joined, part_of
from partners.audit.trunk_steps import Candidates, step_agreement
from partners.network.inference import predict
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import TrunkSettings
from partners.training.training import seeded_state
from partners.training_data.training_set import TrainingSet
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk


def all_rows(data: TrainingSet) -> np.ndarray:
    """Rows of all labelled compounds."""
    return np.flatnonzero(data.labels_per_row > 0)


@pytest.mark.parametrize("width", [5, 200])  # solved in the space of the inputs, and of the compounds
def test_heads_are_those_of_scikit_learns_ridge(width: int):
    """Task by task, on the fitted compounds alone."""
    data = hybrid_set()
    rows = all_rows(data)
    targets, fitted = MeasuredTasks.of(data, rows), np.random.default_rng(0).random(rows.size) < 0.5
    hidden = np.random.default_rng(1).normal(size=(rows.size, width))
    heads = fit_heads(hidden, targets, fitted)
    dense = np.where(targets.values.toarray() != 0, targets.values.toarray(), np.nan)
    for task in range(dense.shape[1]):
        used = fitted & ~np.isnan(dense[:, task])
        ridge = Ridge(alpha=float((hidden**2).sum(axis=1).mean())).fit(hidden[used], dense[used, task])
        np.testing.assert_allclose(heads.weight[task], ridge.coef_, atol=1e-8)
        assert heads.bias[task] == pytest.approx(ridge.intercept_)


def test_no_compound_is_judged_by_heads_that_were_fitted_to_it():
    """Turned labels of one compound turn its confidence around exactly, and that of its half not at all."""
    data, (layout, trunk, settings) = small_set(), small_trunk(12)
    rows = all_rows(data)
    hidden, halves = hidden_inputs(data.x[rows], trunk, layout, settings, TRAINING), np.arange(rows.size) % 2 == 0
    before = trunk_fit(hidden, MeasuredTasks.of(data, rows), halves)
    turned = MeasuredTasks.of(data, rows)
    turned.values[4] = -turned.values[4]
    after = trunk_fit(hidden, turned, halves)
    assert after.confidence[4] == pytest.approx(-before.confidence[4])
    assert np.array_equal(np.delete(after.confidence[halves], 2), np.delete(before.confidence[halves], 2))
    assert ((before.likelihood > 0) & (before.likelihood <= 1)).all()


@pytest.mark.parametrize("hidden", [(12,), (10, 6)])
@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_agreement_with_steps_is_the_cosine_with_the_gradient_of_autograd(hidden: tuple[int, ...], function: str):
    """One compound after the other, through a dense network with the same heads."""
    data, (layout, first, _) = hybrid_set(n_compounds=40), small_trunk(*hidden)
    settings = TrunkSettings(hidden=hidden, non_linearity="tanh" if function == "tanh" else "relu")
    rng = np.random.default_rng(0)
    second = first + rng.normal(0, 0.05, first.size).astype(np.float32)
    third = second + rng.normal(0, 0.05, first.size).astype(np.float32)
    candidates = Candidates.of(data, all_rows(data), seed=1)
    found = step_agreement([first, second, third], candidates, layout, settings, TRAINING)
    expected = np.zeros(found.size)
    for before, after in ((first, second), (second, third)):
        expected += autograd_cosines(before, after - before, candidates, layout, settings)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def autograd_cosines(
    trunk: np.ndarray, step: np.ndarray, candidates: Candidates, layout: TrunkLayout, settings: TrunkSettings
) -> np.ndarray:
    """Cosine of the step with minus each compound's gradient."""
    inputs = hidden_inputs(candidates.x, trunk, layout, settings, TRAINING)
    cosines = []
    for i in range(candidates.x.shape[0]):
        fitted = candidates.halves if not candidates.halves[i] else ~candidates.halves
        heads = fit_heads(inputs, candidates.targets, fitted)
        tensors = {name: torch.tensor(array).double().requires_grad_() for name, array in layout.views(trunk).items()}
        sums = torch.tensor(candidates.x[i].toarray()[0]).double() @ tensors["trunk.0.weight"] + tensors["trunk.0.bias"]
        for layer in range(1, len(layout.hidden)):
            active = torch.relu(sums) if settings.non_linearity == "relu" else torch.tanh(sums)
            sums = tensors[f"trunk.{layer}.weight"] @ active + tensors[f"trunk.{layer}.bias"]
        outputs = torch.tensor(heads.weight) @ torch.relu(sums) + torch.tensor(heads.bias)
        wanted = candidates.targets.values[i].tocoo()
        (0.5 * ((outputs[wanted.col] - torch.tensor(wanted.data)) ** 2).sum()).backward()
        gradient = np.concatenate([tensors[t.name].grad.numpy().ravel() for t in layout.tensors])  # type: ignore[union-attr]
        length = np.linalg.norm(gradient) * np.linalg.norm(step)
        cosines.append(-(gradient @ step) / length if length else 0.0)
    return np.array(cosines)


def small_task(data: TrainingSet, n_steps: int = 4) -> ShadowTask:
    """Shadows of a small partner."""
    layout, first, settings = small_trunk(12)
    rows = all_rows(data)
    return ShadowTask(data, rows, rows, Candidates.of(data, rows, 0), first, layout, settings, TRAINING, n_steps)


def test_a_shadow_is_trained_on_its_half_alone():
    """The same bits with other labels outside its half; in pairs, each candidate is inside once; files give it back."""
    data = hybrid_set()
    task = small_task(data)
    shadow = task.train(2)
    assert np.array_equal(task.inside(2), ~task.inside(3))
    assert not np.array_equal(task.inside(2), task.inside(0))
    assert np.array_equal(shadow.inside, task.inside(2))
    again = Shadow.from_arrays(task.train(2).arrays())
    assert all(np.array_equal(again.arrays()[name], array) for name, array in shadow.arrays().items())
    inside = part_of(data, task.rows[shadow.inside])
    assert np.array_equal(inside.training_rows, np.arange(inside.n_compounds))
    scores = joined([shadow, again], "model")
    assert scores.confidence.shape == scores.inside.shape == (2, task.rows.size)


def test_a_shadow_is_trained_on_half_of_all_and_judged_on_the_candidates():
    """The same training, whoever is judged."""
    data = small_set()
    task = small_task(data)
    few = task.rows[::3]
    part = replace(task, rows=few, candidates=Candidates.of(data, few, 0)).train(1)
    whole = task.train(1)
    assert np.array_equal(part.inside, whole.inside[::3])
    np.testing.assert_allclose(part.model.confidence, whole.model.confidence[::3])


def test_the_model_view_has_the_mean_logit_of_the_right_labels():
    """Counted compound by compound from the predictor's own outputs."""
    data = small_set()
    task = small_task(data)
    state = task_state(task)
    fit = task.fit_of_model(task.first_trunk, state)
    logits = predict(data.x, task.first_trunk, state, task.layout, task.trunk_settings, TRAINING).logits
    for i, row in enumerate(task.rows[:20]):
        labels = data.y[row]
        margins = labels.data * logits[row, labels.indices]
        assert fit.confidence[i] == pytest.approx(margins.mean(), abs=1e-6)
        assert fit.likelihood[i] == pytest.approx(np.prod(1 / (1 + np.exp(-margins))) ** (1 / margins.size), rel=1e-5)


def task_state(task: ShadowTask) -> PartnerState:
    """Heads before any training."""
    return seeded_state(task.data, task.layout, TRAINING, 0)


def test_every_candidate_is_in_one_group_of_each_kind():
    """By labels and by similarity; the tenth that training moves most is a tenth."""
    data = small_set(n_compounds=300)
    rows = all_rows(data)
    rng = np.random.default_rng(0)
    shadows = ShadowScores(
        rng.normal(size=(4, rows.size)), rng.random((4, rows.size)), rng.random((4, rows.size)) < 0.5
    )
    groups = dict(groups_of(data, rows, shadows))
    for kind in ("label", "similarity"):
        assert np.array_equal(
            sum(flags.astype(int) for name, flags in groups.items() if kind in name), np.ones(rows.size)
        )
    assert groups["tenth that training moves most"].sum() == pytest.approx(rows.size / 10, abs=1)
    assert not (groups["mostly active"] & groups["mostly inactive"]).any()
    assert "tenth that training moves most" not in dict(groups_of(data, rows, None))
