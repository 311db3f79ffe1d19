"""A partner's part of the sums for common targets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partners.assay_models.assays import Assay
from partners.target_models.own_part import TargetValues
from tests.support.partners.made_up_assays import random_inputs
from tests.support.partners.made_up_targets import HASHES, N_TARGETS, made_up_parts

PARTS = made_up_parts()


def test_a_target_that_a_partner_does_not_hold_gives_zeros():
    """So a sum tells how many of its members hold a target to nobody."""
    vector = np.ones(HASHES.n_features)
    for target in (1, 2):
        assert not PARTS["P03"].values_part(target).any()
        assert not PARTS["P03"].product_part(target, vector).any()
    assert PARTS["P03"].values_part(0).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PARTS)), st.integers(0, N_TARGETS - 1))
def test_a_product_is_linear_symmetric_and_never_negative(seed: int, name: str, target: int):
    """F'CF is a positive matrix, which conjugate gradients need."""
    part = PARTS[name]
    one, other = np.random.default_rng(seed).normal(size=(2, HASHES.n_features))
    product = part.product_part(target, one)
    np.testing.assert_allclose(
        part.product_part(target, other + 2 * one), part.product_part(target, other) + 2 * product
    )
    np.testing.assert_allclose(other @ product, one @ part.product_part(target, other))
    assert one @ product >= 0


def test_an_offset_of_an_assay_changes_nothing():
    """The mean of each assay is taken away, so a partner whose assay measures one unit more disturbs nobody."""
    mine = PARTS["P01"].held[0]
    shifted = mine.values + np.repeat([3.0, -1.0], np.diff([*mine.starts, mine.values.size]))
    np.testing.assert_allclose(mine.centred(shifted), mine.centred(mine.values), atol=1e-12)


def test_values_of_an_assay_with_low_actives_are_turned():
    """In a target's values higher is more active at all partners."""
    inputs, rows = random_inputs(0, 5), np.arange(5)
    assay = Assay("A", rows, np.arange(5.0), np.zeros(5, np.int8), (0,), (-1,), None)
    np.testing.assert_array_equal(TargetValues.of([assay], inputs).values, -np.arange(5.0))


def test_a_bound_takes_the_value_expected_beyond_it():
    """As in the models of single assays; exact values stay as they are."""
    inputs, rows = random_inputs(0, 30), np.arange(30)
    values, marks = np.random.default_rng(0).normal(6, 1, 30), np.zeros(30, np.int8)
    marks[:3] = 1
    found = TargetValues.of([Assay("A", rows, values, marks, (0,), (1,), 0)], inputs).values
    assert (found[:3] > values[:3]).all()
    np.testing.assert_array_equal(found[3:], values[3:])
