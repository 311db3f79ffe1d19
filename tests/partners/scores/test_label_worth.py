"""What federation is worth in a partner's own measurements, on made-up learning curves whose worth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.scores.label_worth import LabelWorth, label_worth

CHANGES = st.lists(st.floats(-0.3, 0.3), min_size=5, max_size=12)


def worth_of_curve(slope: float, doublings: float, noise: float = 0.0, n_tasks: int = 60) -> LabelWorth | None:
    """Scores that rise by `slope` with each doubling, and federation that is worth so many doublings."""
    rng = np.random.default_rng(7)
    half = rng.uniform(0.4, 0.7, n_tasks)
    local = half + slope + rng.normal(0, noise, n_tasks)
    federated = local + slope * doublings + rng.normal(0, noise, n_tasks)
    return label_worth(half, local, federated, range(n_tasks), np.random.default_rng(1))


@pytest.mark.parametrize("doublings", [0.1, 0.5, 0.9])
def test_the_worth_of_an_even_curve_is_found(doublings: float):
    """2 ** doublings - 1, exactly without noise, and inside the interval with noise."""
    expected = 2**doublings - 1
    exact = worth_of_curve(0.04, doublings)
    assert exact is not None
    assert (exact.share, exact.low, exact.high) == pytest.approx((expected,) * 3)
    noisy = worth_of_curve(0.04, doublings, noise=0.03)
    assert noisy is not None
    assert noisy.low < expected < noisy.high


def test_nothing_is_extrapolated():
    """More than one doubling is told as one, a loss as nothing; without a rise there is no estimate."""
    for doublings, share in ((3.0, 1.0), (-1.0, 0.0)):
        worth = worth_of_curve(0.04, doublings)
        assert worth is not None
        assert (worth.share, worth.low, worth.high) == (share, share, share)
    assert worth_of_curve(0.0, 1.0) is None
    assert worth_of_curve(-0.02, 1.0) is None


@settings(deadline=None, max_examples=40)
@given(CHANGES, st.data())
def test_a_worth_lies_in_its_range(rises: list[float], data: st.DataObject):
    """Between none and as many again, the low end below the high one; a larger gain is never worth less."""
    n_tasks = len(rises)
    gains = np.array(data.draw(st.lists(st.floats(-0.3, 0.3), min_size=n_tasks, max_size=n_tasks)))
    half, local = np.full(n_tasks, 0.5), 0.5 + np.array(rises)
    found = [
        label_worth(half, local, local + each, range(n_tasks), np.random.default_rng(0))
        for each in (gains, gains + 0.01)
    ]
    rise = float(np.sum(local - half))
    assert abs(rise) < 1e-9 or all((worth is None) == (rise < 0) for worth in found)
    for worth in found:
        assert worth is None or 0 <= worth.low <= worth.high <= 1
    if found[0] and found[1]:
        assert found[0].share <= found[1].share


@settings(deadline=None, max_examples=20)
@given(CHANGES)
def test_tasks_of_an_assay_are_drawn_together(rises: list[float]):
    """Every task twice under its assay: the same worth and interval."""
    local = 0.5 + np.array(rises)
    half, federated, assays = np.full(local.size, 0.5), local + 0.02, list(range(local.size))
    once = label_worth(half, local, federated, assays, np.random.default_rng(3))
    twice = label_worth(
        *(np.repeat(scores, 2) for scores in (half, local, federated)),
        [assay for assay in assays for _ in range(2)],
        np.random.default_rng(3),
    )
    assert (once is None) == (twice is None)
    if once and twice:
        assert (once.share, once.low, once.high) == pytest.approx((twice.share, twice.low, twice.high))
