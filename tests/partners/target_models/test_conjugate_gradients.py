"""The ridges of common targets, from sums alone, against scikit-learn on all partners' rows in one place."""

from dataclasses import replace
from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from partners.target_models.conjugate_gradients import Ridges, RidgeSettings, halving_sum
from partners.target_models.own_part import features_of, predict_targets
from tests.support.clear_targets import clear_ridges
from tests.support.partners.made_up_targets import HASHES, N_TARGETS, made_up_parts

PARTS = made_up_parts()
SETTINGS = RidgeSettings(n_steps=12)


def pooled(target: int) -> tuple[np.ndarray, np.ndarray]:
    """All partners' features and values of a target in one place, each assay minus its means."""
    rows, values = [], []
    for part in PARTS.values():
        if mine := part.held.get(target):
            features = features_of(HASHES, part.buckets[mine.compounds]).toarray()
            rows.append(np.column_stack([mine.centred(column) for column in features.T]))
            values.append(mine.centred(mine.values))
    return np.vstack(rows), np.concatenate(values)


def exact_ridges(n_steps: int) -> Ridges:
    """The ridges from sums in float64, without fixed point."""

    def total(part_of):  # noqa: ANN202 -- a sum of whatever the partners give
        return np.array([sum(part_of(part, target) for part in PARTS.values()) for target in range(N_TARGETS)])

    ridges = Ridges.begin(total(lambda part, target: part.values_part(target)), SETTINGS)
    for _ in range(n_steps + 1):  # the first finds a size alone
        direction = ridges.direction
        ridges = ridges.stepped(total(lambda part, target: part.product_part(target, direction[target])))  # noqa: B023
    return ridges


@pytest.fixture(scope="module")
def sealed_like() -> Ridges:
    """The ridges from sums in the fixed point of sealed rounds."""
    return clear_ridges(PARTS, N_TARGETS, SETTINGS)


@pytest.mark.parametrize("target", [0, 1])
def test_many_exact_steps_give_scikit_learns_ridge(target: int):
    """The pooled ridge, and the pooled kernel ridge, which nobody could fit in one place."""
    x, y = pooled(target)
    ridge = Ridge(alpha=SETTINGS.penalty, fit_intercept=False, tol=1e-10).fit(x, y)
    found = exact_ridges(40).weights[target]
    np.testing.assert_allclose(found, ridge.coef_, atol=1e-4 * np.abs(ridge.coef_).max())
    kernel = KernelRidge(alpha=SETTINGS.penalty, kernel="linear").fit(x, y)
    np.testing.assert_allclose(x @ found, kernel.predict(x), atol=1e-3)


@pytest.mark.parametrize("target", [0, 1])
def test_few_steps_in_fixed_point_come_near(sealed_like: Ridges, target: int):
    """Predictions for other compounds differ from the pooled ridge's by less than 1 % of their spread."""
    x, y = pooled(target)
    coefficients = Ridge(alpha=SETTINGS.penalty, fit_intercept=False, tol=1e-10).fit(x, y).coef_
    buckets = np.vstack([part.buckets for part in PARTS.values()])
    found, expected = predict_targets(HASHES, buckets, np.stack([sealed_like.weights[target], coefficients])).T
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.01 * expected.std()


def test_a_target_that_nobody_holds_stays_zero(sealed_like: Ridges):
    """Nothing is divided by its zeros."""
    assert not sealed_like.weights[2].any()
    assert (sealed_like.bounds > 0).all()


def test_a_larger_partner_set_is_another_ridge():
    """The test of the ridge could fail: without P02's rows the coefficients differ."""
    fewer = {name: part for name, part in PARTS.items() if name != "P02"}
    ridges = clear_ridges(fewer, N_TARGETS, SETTINGS)
    full = clear_ridges(PARTS, N_TARGETS, SETTINGS)
    assert np.abs(ridges.weights[0] - full.weights[0]).max() > 0.05 * np.abs(full.weights[0]).max()


def test_bounds_follow_the_sums_and_clip_nothing():
    """Only the first bounds are agreed on; the others come from the sum before, with room for a partner's part."""
    clipped: list[float] = []
    clear_ridges(PARTS, N_TARGETS, SETTINGS, lambda _, share: clipped.append(share))
    assert clipped == [0.0] * (SETTINGS.n_steps + 1)
    clear_ridges(PARTS, N_TARGETS, replace(SETTINGS, values_bound=0.01), lambda _, share: clipped.append(share))
    assert max(clipped) > 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_a_sum_by_halving_is_a_sum(numbers: list[float]):
    """In an order that no library or processor chooses."""
    found = halving_sum(np.array(numbers, np.float64))
    assert found == pytest.approx(fsum(numbers), abs=1e-7 * (1 + max(map(abs, numbers), default=0)))
