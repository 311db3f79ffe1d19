"""Forests kept as plain arrays, against scikit-learn's own predictions."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor

from partners.assay_models import forest as forests
from partners.assay_models.forest import Forest, fit_forest
from partners.assay_models.inputs import BLOCK, Inputs
from partners.errors import CheckpointDamaged
from tests.support.partners.made_up_assays import random_inputs


def values_of(inputs: Inputs, seed: int = 0) -> np.ndarray:
    """Values that depend on every kind of input."""
    rng, dense = np.random.default_rng(seed), inputs.dense()
    values: np.ndarray = 6 + dense @ rng.normal(size=dense.shape[1]) + rng.normal(size=len(dense))
    return values


def scikit_learns(inputs: Inputs, values: np.ndarray, new: Inputs, seed: int) -> np.ndarray:
    """scikit-learn's predictions from the columns that vary."""
    columns = forests._used_columns(inputs)
    known, unknown = (
        np.hstack([part.bits[:, columns].toarray(), part.hidden, part.descriptors]) for part in (inputs, new)
    )
    forest = RandomForestRegressor(forests.N_TREES, max_features="sqrt", random_state=seed).fit(known, values)
    predicted: np.ndarray = forest.predict(unknown)
    return predicted


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 40), st.sampled_from([0, 5]), st.sampled_from([0, 3]))
def test_it_predicts_what_scikit_learn_predicts(seed: int, n: int, n_units: int, n_descriptors: int):
    """From bits, hidden layers and descriptors in float32, for known and for new compounds, up to rounded leaves."""
    inputs, new = (random_inputs(s, n, n_units, n_descriptors) for s in (seed, seed + 1))
    values = values_of(inputs, seed)
    fitted = fit_forest(inputs, values, seed)
    for compounds in (inputs, new):
        expected = scikit_learns(inputs, values, compounds, seed)
        np.testing.assert_allclose(fitted.predict(compounds.dense()), expected, rtol=1e-6, atol=1e-6)


def test_inputs_at_a_threshold_go_the_same_way():
    """scikit-learn's thresholds are float64; the kept ones send every float32 input to the same side."""
    inputs = random_inputs(2, 60, n_units=4, n_descriptors=4)
    values = values_of(inputs)
    fitted = fit_forest(inputs, values, 1)
    numbers = np.unique(fitted.number[fitted.feature >= inputs.bits.shape[1]])[:200]
    near = np.stack([np.nextafter(numbers, np.float32(-9)), numbers, np.nextafter(numbers, np.float32(9))]).ravel()
    rng = np.random.default_rng(0)
    new = replace(
        inputs[rng.integers(0, 60, 300)],
        hidden=rng.choice(near, (300, 4)).astype(np.float32),
        descriptors=rng.choice(near, (300, 4)).astype(np.float32),
    )
    np.testing.assert_allclose(fitted.predict(new.dense()), scikit_learns(inputs, values, new, 1), rtol=1e-6, atol=1e-6)


def test_a_compound_is_predicted_alone_as_among_others():
    """The same bits; no compounds give no values."""
    inputs = random_inputs(3, 30, 3, 2)
    fitted = fit_forest(inputs, values_of(inputs), 0)
    together = fitted.predict(inputs.dense())
    for row in (0, 7, 29):
        np.testing.assert_array_equal(fitted.predict(inputs[row : row + 1].dense()), together[row : row + 1])
    assert fitted.predict(inputs[:0].dense()).shape == (0,)


@pytest.mark.parametrize("n", [0, 1, BLOCK, 2 * BLOCK + 3])
def test_in_blocks_values_are_the_same(n: int):
    """Without a dense array of all compounds, to the bit."""
    inputs = random_inputs(3, 2 * BLOCK + 3, 3, 2)
    fitted = fit_forest(inputs[:40], values_of(inputs[:40]), 0)
    np.testing.assert_array_equal(fitted.values(inputs[:n]), fitted.predict(inputs[:n].dense()))


def test_any_seed_will_do():
    """Those that scikit-learn refuses are taken modulo 2^32; smaller ones are scikit-learn's."""
    inputs = random_inputs(3, 30)
    values = values_of(inputs)
    numbers = [fit_forest(inputs, values, seed).number for seed in (2**32 - 1, 2**33 - 1, 2**32, 0)]
    np.testing.assert_array_equal(numbers[0], numbers[1])
    np.testing.assert_array_equal(numbers[2], numbers[3])
    assert not np.array_equal(numbers[0], numbers[2])


def test_if_no_input_varies_the_mean_of_draws_is_predicted():
    """Trees of one leaf each, whatever the new compound is."""
    x = sparse.csr_matrix(np.tile(np.float32([1, 0, 1]), (12, 1)))
    fitted = fit_forest(Inputs.of(x), np.arange(12.0), 0)
    predicted = fitted.predict(np.float32([[0, 1, 0], [1, 0, 1]]))
    assert (fitted.feature == -1).all()
    assert predicted[0] == predicted[1]
    assert predicted[0] == pytest.approx(5.5, abs=1)


def test_equal_values_give_that_value():
    """Every tree is one leaf."""
    inputs = random_inputs(5, 20)
    fitted = fit_forest(inputs, np.full(20, 6.5), 0)
    np.testing.assert_array_equal(fitted.predict(inputs.dense()), np.full(20, 6.5))


def test_rare_and_constant_bits_are_no_inputs():
    """A bit of one compound, of none or of all is never asked for."""
    bits = random_inputs(6, 30).bits.toarray()
    bits[:, 0], bits[:, 1], bits[:, 2] = 0, 1, 0
    bits[4, 2] = 1
    inputs = Inputs.of(sparse.csr_matrix(bits))
    fitted = fit_forest(inputs, values_of(inputs), 0)
    assert not np.isin(fitted.feature, (0, 1, 2)).any()
    assert (fitted.feature > 2).any()


def test_the_seed_decides():
    """Equal seeds give equal bytes, other seeds other trees."""
    inputs = random_inputs(7, 40, 3)
    one, again, other = (fit_forest(inputs, values_of(inputs), seed) for seed in (1, 1, 2))
    for part in fields(Forest):
        assert getattr(one, part.name).tobytes() == getattr(again, part.name).tobytes()
    assert one.number.tobytes() != other.number.tobytes()


# a tree with one question and two leaves, then a tree that is a leaf
SOUND = Forest(
    roots=np.int32([0, 3]),
    feature=np.int32([1, -1, -1, -1]),
    number=np.float32([0.5, 1, 3, 5]),
    right=np.int32([2, 1, 2, 3]),
)


def test_a_small_forest_by_hand():
    """An input of at most the threshold goes left; the prediction is the mean of the trees."""
    np.testing.assert_array_equal(SOUND.predict(np.float32([[9, 0.5], [0, 0.6]])), [3, 4])


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("roots", [0, 4]),
        ("roots", [-1, 3]),
        ("roots", []),
        ("right", [0, 1, 2, 3]),
        ("right", [1, 1, 2, 3]),
        ("right", [4, 1, 2, 3]),
        ("right", [2, 1, 2]),
        ("number", [0.5, 1, 3]),
        ("number", [0.5, 1, 3, 5, 7]),
        ("feature", [1, -1, -1, 0]),
        ("feature", [1, -1, -1]),
    ],
)
def test_nodes_that_are_no_trees_are_refused(part: str, found: list[float]):
    """Roots outside, none at all, a child that is no later node, arrays of other lengths, a last node with children."""
    changed: dict[str, Any] = {part: np.array(found, getattr(SOUND, part).dtype)}
    with pytest.raises(CheckpointDamaged):
        replace(SOUND, **changed)
