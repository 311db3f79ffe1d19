"""Heads of one row: training them tied equals training one head that has all their labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, PartnerState
from partners.network.tied_heads import TiedHeads
from partners.settings import Training
from partners.training.training import seeded_state, train_in_place
from partners.training_data.training_set import TrainingSet
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk

LAYOUT, FIRST, TRUNK = small_trunk(12)
GROUPS = [[0, 2, 5], [4, 6]]
MERGED = [0, 0, 0, 1, 2, 0, 2]  # the merged task of each; 0 stands for tasks 0, 2 and 5
OF_MERGED = [[0, 2, 5], [3], [4, 6]]


def apart(seed: int) -> TrainingSet:
    """Seven tasks of equal weight, of which no compound has two labels; task 1 has none."""
    data = small_set(seed, density=0.9)
    kept, n_compounds = data.y.tolil(), data.y.shape[0]
    task = np.random.default_rng(seed).choice([0, 2, 3, 4, 5, 6], n_compounds)
    for row in range(n_compounds):
        kept[row, [other for other in range(7) if other != task[row]]] = 0
    return replace(data, y=kept.tocsr(), training_weight=np.full(7, 0.7))


def merged(data: TrainingSet) -> TrainingSet:
    """The same labels with one task for each group."""
    whole = np.zeros((7, 3))
    whole[np.arange(7), MERGED] = 1
    return replace(data, y=data.y @ whole, training_weight=np.full(3, 0.7), aggregation_weight=np.ones(3))


def with_heads(data: TrainingSet, training: Training, weight: np.ndarray, bias: np.ndarray) -> PartnerState:
    """A first state with these heads."""
    state = seeded_state(data, LAYOUT, training, 1)
    return replace(state, heads={HEAD_WEIGHT: weight.copy(), HEAD_BIAS: bias.copy()})


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.9]), st.sampled_from([None, 16]))
def test_tied_heads_train_as_one_head_with_all_labels(seed: int, momentum: float, internal_batch_max: int | None):
    """For label sets that are disjoint: same losses, trunk, and head of the group, up to the order of sums."""
    sgd = replace(TRAINING, optimiser="sgd", momentum=momentum, weight_decay=0.01, learning_rate=0.3)
    training = replace(sgd, internal_batch_max=internal_batch_max)  # Adam would make a large step of a rounding error
    data, rng = apart(seed), np.random.default_rng(seed)
    weight, bias = rng.normal(0, 0.3, (3, 12)).astype(np.float32), rng.normal(0, 0.3, 3).astype(np.float32)
    results, trunks = [], []
    for own, rows, tied in ((data, MERGED, GROUPS), (merged(data), [0, 1, 2], ())):
        trunk, state = FIRST.copy(), with_heads(own, training, weight[rows], bias[rows])
        results.append(train_in_place(own, trunk, state, LAYOUT, TRUNK, training, 5, 6, tied=tied))
        trunks.append(trunk)
    tied_result, merged_result = results
    np.testing.assert_allclose(tied_result.losses, merged_result.losses, rtol=1e-5)
    np.testing.assert_allclose(trunks[0], trunks[1], atol=1e-5)
    for name in (HEAD_WEIGHT, HEAD_BIAS):
        for one, tasks in enumerate(OF_MERGED):
            for task in tasks:
                found, expected = tied_result.state.heads[name][task], merged_result.state.heads[name][one]
                np.testing.assert_allclose(found, expected, atol=1e-5)


@given(st.integers(0, 2**32))
def test_gradients_are_summed_over_a_group(seed: int):
    """Each head of a group has the sum over the group, all others their own."""
    values = np.random.default_rng(seed).normal(size=(7, 5)).astype(np.float32)
    parameters = {
        name: torch.zeros(shape, requires_grad=True) for name, shape in ((HEAD_WEIGHT, (7, 5)), (HEAD_BIAS, 7))
    }
    parameters[HEAD_WEIGHT].grad = torch.tensor(values)
    TiedHeads(GROUPS).sum_gradients(parameters)  # the biases have no gradient, as without any label
    found = parameters[HEAD_WEIGHT].grad.numpy()
    for group in GROUPS:
        np.testing.assert_allclose(found[group], np.broadcast_to(values[group].sum(axis=0), (len(group), 5)), rtol=1e-4)
        assert len({row.tobytes() for row in found[group]}) == 1
    np.testing.assert_array_equal(found[[1, 3]], values[[1, 3]])
    assert parameters[HEAD_BIAS].grad is None


@pytest.mark.parametrize("groups", [[], [[3]]])
def test_without_groups_nothing_changes(groups: list[list[int]]):
    """A task alone is no group, and without classification there is nothing to look at."""
    TiedHeads(groups).sum_gradients({})
    TiedHeads(groups).copy_weights({})
