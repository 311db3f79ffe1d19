"""Scaling descriptors to ranks: in [0, 1], monotone, and defined for every value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from data_prep.descriptors.listed import DESCRIPTORS
from data_prep.descriptors.scaling import N_QUANTILES, public_quantiles, quantile_scale, quantiles_of

sizes = st.tuples(st.integers(0, 40), st.integers(1, 3))
anything = st.floats(width=32, allow_nan=True, allow_infinity=True)
counts = st.integers(0, 3).map(float)
matrices = arrays.arrays(np.float32, sizes, elements=st.one_of(st.floats(-1e6, 1e6, width=32), counts, st.just(np.nan)))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1)


@given(matrices, st.data())
def test_ranks_are_between_0_and_1_and_never_fall(reference, data):
    """Whatever the reference and the values are, infinite ones too; NaN alone becomes 0.5."""
    quantiles = quantiles_of(reference)
    assert quantiles.shape == (N_QUANTILES, reference.shape[1])
    values = data.draw(arrays.arrays(np.float32, (30, reference.shape[1]), elements=st.one_of(anything, counts)))
    ordered = np.sort(values, axis=0)
    scaled = quantile_scale(ordered, quantiles)
    assert scaled.dtype == np.float32
    assert ((scaled >= 0) & (scaled <= 1)).all()
    rising = np.diff(scaled, axis=0) >= 0
    assert rising[~np.isnan(ordered[1:])].all()
    assert (scaled[np.isnan(ordered)] == 0.5).all()


@given(matrices, st.randoms())
def test_a_row_is_scaled_by_itself(reference, random):
    """Other rows and their order change no rank; nor does the order of the reference's compounds."""
    order = random.sample(range(len(reference)), len(reference))
    quantiles = quantiles_of(reference)
    np.testing.assert_array_equal(quantiles_of(reference[order]), quantiles)
    whole = quantile_scale(reference, quantiles)
    np.testing.assert_array_equal(quantile_scale(reference[order], quantiles), whole[order])


def test_many_equal_values_share_the_middle_of_their_ranks():
    """Three quarters zeros: zero is .375, as the mean rank; the rest lies above, and what is never seen at the ends."""
    reference = column(*[0] * 96, *range(1, 33))
    scaled = quantile_scale(column(0, 16, 32, 100, -1, np.nan, np.inf, -np.inf), quantiles_of(reference))[:, 0]
    np.testing.assert_allclose(scaled, [0.375, 0.875, 1, 1, 0, 0.5, 1, 0], atol=0.02)


def test_ranks_of_the_reference_itself_are_its_ranks():
    """Ours are scipy's mean ranks, within the distance of two quantiles."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=500), rng.poisson(1.0, 500), rng.lognormal(3, 2, 500)):
        ours = quantile_scale(column(*values), quantiles_of(column(*values)))[:, 0]
        theirs = (stats.rankdata(values) - 0.5) / len(values)
        assert np.abs(ours - theirs).max() < 1 / (N_QUANTILES - 1)


def test_a_constant_or_empty_reference_is_no_error():
    """A constant is the middle, others lie on its sides; without any number in the reference all is the middle."""
    assert quantile_scale(column(1, 2, 3), quantiles_of(column(2, 2)))[:, 0].tolist() == [0, 0.5, 1]
    for empty in (column(), column(np.nan, np.nan)):
        assert np.isnan(quantiles_of(empty)).all()
        assert quantile_scale(column(1, np.nan, np.inf), quantiles_of(empty))[:, 0].tolist() == [0.5] * 3


def test_another_number_of_columns_is_refused():
    """Descriptors and quantiles of different lists are not scaled with each other."""
    with pytest.raises(ValueError, match=r"found those of .3,. columns, expected .2,."):
        quantile_scale(np.zeros((1, 2), np.float32), np.zeros((33, 3), np.float32))


def test_the_public_quantiles_ascend_and_cover_the_list():
    """The packaged table has finite, ascending numbers for every descriptor, and nobody changes it by accident."""
    quantiles = public_quantiles()
    assert quantiles.shape == (N_QUANTILES, len(DESCRIPTORS))
    assert quantiles.dtype == np.float32
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=0) >= 0).all()
    with pytest.raises(ValueError, match="read-only"):
        quantiles[0, 0] = 1
