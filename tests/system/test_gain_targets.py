"""The arm of target models in the gain benchmark: where ridges predict, and where they do not."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.benchmarks.gain.partners import Known, Partner
from tests.benchmarks.gain.scores import FOLDS, LOGITS, VALUES, Scores
from tests.benchmarks.gain.target_models import USES, with_target_models
from tests.support.partners.synthetic import hybrid_set

SET = hybrid_set()
PARTNERS = {
    "P01": Partner(
        SET,
        Known(np.ones(SET.n_tasks, dtype=bool), ("T",) * SET.n_tasks, ("T",) * SET.n_tasks),
        Known(np.ones(SET.n_regressions, dtype=bool), ("T",) * SET.n_regressions, ("T",) * SET.n_regressions),
    )
}
Make = Callable[[np.ndarray, np.ndarray], np.ndarray]  # a prediction from labels or values and their tasks


def predictions(make: Make, *names: str) -> Scores:
    """A run with predictions for everything that was measured in both folds."""
    tasks = {}
    for fold, number in FOLDS.items():
        for matrix, part in ((SET.y, LOGITS), (SET.y_regr, VALUES)):
            stored = matrix[SET.rows_of(number)].tocoo()
            tasks |= {f"P01/{fold}/{name}{part}": make(stored.data.astype(np.float64), stored.col) for name in names}
    return Scores(tasks)


def random_numbers(stored: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Predictions that know nothing."""
    return np.random.default_rng(0).normal(size=stored.size)


def precision(scores: Scores) -> np.ndarray:
    """Average precision of the tasks."""
    return scores.tasks["P01/validation/average_precision"]


@pytest.mark.parametrize("use", USES)
def test_without_a_ridge_the_take_home_models_predict(use: str):
    """A target of too few holders changes nothing, whatever the ridges are used for."""
    take_home = predictions(random_numbers, "")
    none = predictions(lambda stored, _: np.full(stored.size, np.nan), "ridge ", "prior ")
    constant = predictions(lambda stored, _: np.zeros(stored.size), "ridge ", "prior ")
    found = precision(with_target_models(PARTNERS, take_home, none, use, 0.5))
    alone = precision(with_target_models(PARTNERS, take_home, constant, "mean", 0.0))
    np.testing.assert_array_equal(found, alone)


def test_ridges_that_know_all_rank_all():
    """Alone they are right wherever they are; in the mean with chance they are better than chance."""
    take_home = predictions(random_numbers, "")
    perfect = predictions(lambda stored, task: np.where(task == 0, np.nan, stored), "ridge ", "prior ")
    alone, mean = (precision(with_target_models(PARTNERS, take_home, perfect, use, 0.5)) for use in ("alone", "mean"))
    known = np.isfinite(alone)
    known[0] = False
    assert (alone[known] == 1).all()
    without = precision(with_target_models(PARTNERS, take_home, perfect, "mean", 0.0))
    assert mean[known].mean() > without[known].mean()
    assert alone[0] == without[0]
