"""Local against federated: RIPtoP and the comparison over tasks, held against plain Python and numpy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.comparison import compare, riptop

SCORES = st.floats(0, 1)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=30)
MAYBE = st.one_of(SCORES, st.just(math.nan))


def plain_riptop(local: float, federated: float) -> float:
    """The formula as a person would write it."""
    if local < 1:
        return (federated - local) / (1 - local)
    return federated - local


def columns(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of scores."""
    table = np.array(pairs, dtype=np.float64)
    return table[:, 0], table[:, 1]


@given(PAIRS)
def test_riptop_is_its_formula(pairs: list[tuple[float, float]]):
    """(federated - local) / (1 - local), by task."""
    np.testing.assert_allclose(riptop(*columns(pairs)), [plain_riptop(*pair) for pair in pairs], rtol=1e-12)


@pytest.mark.parametrize(
    ("local", "federated", "expected"),
    [
        (0.5, 0.75, 0.5),  # half of the way to perfection
        (0.5, 1.0, 1.0),  # all of it
        (0.5, 0.5, 0.0),
        (0.5, 0.25, -0.5),
        (0.0, 1.0, 1.0),
        (1.0, 1.0, 0.0),  # both perfect
        (1.0, 0.9, -0.1),  # only local perfect: the plain difference
        (0.9, 0.0, -9.0),  # losses are not bounded
    ],
)
def test_riptop_at_its_edges(local: float, federated: float, expected: float):
    """Perfect scores divide by nothing."""
    with np.errstate(all="raise"):
        found = riptop(np.array([local]), np.array([federated]))
    assert found[0] == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES)
def test_riptop_has_the_sign_of_the_change(local: float, federated: float):
    """Better is above zero, worse below, and nothing exceeds perfection."""
    found = float(riptop(np.array([local]), np.array([federated]))[0])
    assert np.sign(found) == np.sign(federated - local)
    assert found <= 1


@settings(deadline=None)
@given(PAIRS)
def test_compare_agrees_with_numpy(pairs: list[tuple[float, float]]):
    """Means, counts and change of finite scores."""
    local, federated = columns(pairs)
    found = compare(local, federated, np.random.default_rng(0))
    assert found is not None
    assert found.local == pytest.approx(np.mean(local))
    assert found.federated == pytest.approx(np.mean(federated))
    assert found.to_json()["change"] == pytest.approx(np.mean(federated) - np.mean(local))
    assert found.riptop == pytest.approx(np.mean([plain_riptop(*pair) for pair in pairs]))
    assert found.n_better == sum(after > before for before, after in pairs)
    assert found.n_worse == sum(after < before for before, after in pairs)
    assert found.n_equal == sum(after == before for before, after in pairs)
    assert found.n_better + found.n_worse + found.n_equal == len(pairs)


@settings(deadline=None)
@given(PAIRS, st.integers(0, 2**32))
def test_the_interval_contains_the_mean_change(pairs: list[tuple[float, float]], seed: int):
    """And lies between the smallest and the largest change."""
    local, federated = columns(pairs)
    found = compare(local, federated, np.random.default_rng(seed))
    assert found is not None
    low, high = found.interval
    change = federated - local
    assert change.min() - 1e-12 <= low <= high <= change.max() + 1e-12
    assert low - 1e-12 <= change.mean() <= high + 1e-12


@settings(deadline=None)
@given(PAIRS)
def test_a_common_shift_moves_the_interval(pairs: list[tuple[float, float]]):
    """All tasks better by the same amount: the interval is that one point."""
    local, _ = columns(pairs)
    found = compare(local, local + 0.125, np.random.default_rng(1))
    assert found is not None
    np.testing.assert_allclose(found.interval, 0.125, rtol=1e-9)
    assert found.n_better == len(pairs)


def test_the_interval_is_a_bootstrap_of_tasks():
    """Its width is that of the normal approximation, 1.96 standard errors to either side."""
    rng = np.random.default_rng(2)
    change = rng.normal(0.02, 0.05, 400)
    local = rng.uniform(0.4, 0.6, 400)
    found = compare(local, local + change, np.random.default_rng(3))
    assert found is not None
    standard_error = change.std() / math.sqrt(400)
    np.testing.assert_allclose(found.interval, change.mean() + np.array([-1.96, 1.96]) * standard_error, atol=5e-4)


@settings(deadline=None)
@given(st.lists(st.tuples(MAYBE, MAYBE), min_size=1, max_size=20), st.integers(0, 1000))
def test_tasks_that_cannot_be_judged_are_left_out(pairs: list[tuple[float, float]], seed: int):
    """A NaN on either side removes the task; without any task there is no comparison."""
    local, federated = columns(pairs)
    found = compare(local, federated, np.random.default_rng(seed))
    judged = [pair for pair in pairs if not any(math.isnan(score) for score in pair)]
    expected = compare(*columns(judged), np.random.default_rng(seed)) if judged else None
    assert found == expected


@settings(deadline=None)
@given(PAIRS, st.integers(0, 1000))
def test_the_same_seed_gives_the_same_comparison(pairs: list[tuple[float, float]], seed: int):
    """Chance is an argument."""
    first, second = (compare(*columns(pairs), np.random.default_rng(seed)) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_interval():
    """And nothing else."""
    local, federated = np.random.default_rng(0).uniform(size=(2, 20))
    first, second = (compare(local, federated, np.random.default_rng(seed)) for seed in (1, 2))
    assert first is not None
    assert second is not None
    assert first.interval != second.interval
    assert first.to_json() | {"interval_95": None} == second.to_json() | {"interval_95": None}


@given(PAIRS)
def test_an_error_is_better_when_smaller(pairs: list[tuple[float, float]]):
    """Errors count as distances from perfection: better and worse change places, the change keeps its sign."""
    local, federated = columns(pairs)
    scores = compare(1 - local, 1 - federated, np.random.default_rng(0))
    errors = compare(local, federated, np.random.default_rng(0), is_error=True)
    assert scores is not None
    assert errors is not None
    assert errors.n_better == int((federated < local).sum())
    assert errors.n_worse == int((federated > local).sum())
    assert errors.riptop == pytest.approx(scores.riptop, rel=1e-9, abs=1e-9)
    assert errors.federated - errors.local == pytest.approx(-(scores.federated - scores.local), abs=1e-9)
