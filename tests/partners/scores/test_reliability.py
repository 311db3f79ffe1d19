"""Reliability curves equal those of scikit-learn and plain numpy."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from partners.scores.reliability import of_probabilities, of_values

LABELS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 1)), max_size=80)


def columns(labels: list[tuple[int, bool, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tasks, labels and probabilities."""
    return (
        np.array([label[0] for label in labels], dtype=np.int64),
        np.array([label[1] for label in labels], dtype=bool),
        np.array([label[2] for label in labels], dtype=np.float64),
    )


def test_probabilities_agree_with_scikit_learn():
    """Bins and means are scikit-learn's if no probability is on a bin's edge."""
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.001, 0.999, 3000)
    active = rng.uniform(size=3000) < probability**1.3
    curve = of_probabilities(rng.integers(0, 9, 3000), active, probability)
    observed, predicted = calibration_curve(active, probability, n_bins=10)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)


@given(LABELS)
def test_bins_hold_every_label_once(labels: list[tuple[int, bool, float]]):
    """Counts sum to the labels, weighted means to the means of all, tasks to those in the bin; edges go to the left."""
    task, active, probability = columns(labels)
    curve = of_probabilities(task, active, probability)
    assert curve.n_entries.sum() == len(labels)
    np.testing.assert_allclose(curve.n_entries @ curve.observed, active.sum(), atol=1e-9)
    np.testing.assert_allclose(curve.n_entries @ curve.predicted, probability.sum(), atol=1e-9)
    assert (np.diff(curve.predicted) > 0).all()
    edges = np.linspace(0, 1, 11)
    bins = [
        set(task[(probability > low) & (probability <= high) | ((low == 0) & (probability == 0))].tolist())
        for low, high in pairwise(edges)
    ]
    assert curve.n_tasks.tolist() == [len(tasks) for tasks in bins if tasks]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3), st.floats(-3, 3)), max_size=60))
def test_values_are_grouped_evenly(values: list[tuple[int, float, float]]):
    """Ten groups by rising prediction whose sizes differ by one at most, or fewer; sums are kept."""
    task = np.array([value[0] for value in values], dtype=np.int64)
    measured, predicted = (np.array([value[i] for value in values], dtype=np.float64) for i in (1, 2))
    curve = of_values(task, measured, predicted)
    assert curve.n_entries.size == min(10, len(values))
    assert curve.n_entries.sum() == len(values)
    assert not values or curve.n_entries.max() - curve.n_entries.min() <= 1
    assert (np.diff(curve.predicted) >= -1e-12).all()
    np.testing.assert_allclose(curve.n_entries @ curve.observed, measured.sum(), atol=1e-9)


def test_rows_for_json_are_plain_numbers():
    """A row per bin, with Python's numbers."""
    rows = of_probabilities(np.array([0, 1]), np.array([True, False]), np.array([0.25, 0.22])).to_json()
    assert rows == [{"predicted": 0.235, "observed": 0.5, "n_entries": 2, "n_tasks": 2}]
    assert type(rows[0]["n_entries"]) is int
