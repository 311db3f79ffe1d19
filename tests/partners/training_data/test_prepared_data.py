"""Prepared matrices become a training set: the same numbers, and regression only if it is trained."""

from dataclasses import replace

import numpy as np

from data_prep.settings import Folds
from partners.settings import Training
from partners.training_data.prepared_data import training_set
from tests.support.partners.prepared_matrices import prepared_matrices

FOLDS = Folds(test=3, validation=2)


def test_matrices_and_weights_are_those_prepared():
    """Nothing is left out or reordered; the folds are the plan's."""
    prepared = prepared_matrices()
    prepared_set = training_set(prepared, FOLDS, Training(regression_weight=0.1))
    for name in ("x", "y", "y_regr", "y_censor"):
        np.testing.assert_array_equal(getattr(prepared_set, name).toarray(), getattr(prepared, name).toarray())
    np.testing.assert_array_equal(prepared_set.folding, prepared.folding)
    np.testing.assert_allclose(prepared_set.training_weight, [task.training_weight for task in prepared.tasks])
    np.testing.assert_allclose(prepared_set.regr_weight, [task.training_weight for task in prepared.regression_tasks])
    np.testing.assert_allclose(
        prepared_set.censored_weight, [task.censored_weight for task in prepared.regression_tasks]
    )
    assert (prepared_set.test_fold, prepared_set.validation_fold) == (3, 2)


def test_without_a_regression_weight_values_are_left_out():
    """Compounds with values alone have no label any more."""
    prepared = prepared_matrices()
    prepared_set = training_set(prepared, FOLDS, Training())
    assert prepared.y_regr.nnz > 0
    assert prepared_set.n_regressions == 0
    np.testing.assert_array_equal(prepared_set.labels_per_row, np.diff(prepared.y.indptr))
    assert training_set(prepared, FOLDS, Training(regression_weight=0.1)).n_regressions == 2


def test_compounds_that_are_left_out_lose_labels_and_values_alone():
    """All other rows, and the inputs of these, stay as they are."""
    prepared, training = prepared_matrices(), Training(regression_weight=0.1)
    rows = np.array([0, 7, 99])
    whole, part = training_set(prepared, FOLDS, training), training_set(prepared, FOLDS, training, rows)
    others = np.setdiff1d(np.arange(100), rows)
    for name in ("y", "y_regr", "y_censor"):
        found, expected = getattr(part, name).toarray(), getattr(whole, name).toarray()
        np.testing.assert_array_equal(found[others], expected[others])
        assert not found[rows].any()
    assert part.labels_per_row[rows].tolist() == [0, 0, 0]
    assert not set(rows) & set(part.training_rows)
    np.testing.assert_array_equal(part.x.toarray(), whole.x.toarray())
    assert training_set(prepared, FOLDS, training, rows[:0]).digest() == whole.digest() != part.digest()


def test_means_are_over_tasks_that_every_fold_can_score():
    """If there are none, means are over all tasks that are not auxiliary; the same for regression."""
    prepared, training = prepared_matrices(), Training(regression_weight=0.1)

    def weights(*evaluated: int) -> tuple[list[float], list[float]]:
        tasks, values = (
            tuple(replace(task, aggregation_weight=float(task.task_id in evaluated)) for task in of_kind)
            for of_kind in (prepared.tasks, prepared.regression_tasks)
        )
        prepared_set = training_set(replace(prepared, tasks=tasks, regression_tasks=values), FOLDS, training)
        return prepared_set.aggregation_weight.tolist(), prepared_set.regr_aggregation_weight.tolist()

    assert weights(1, 3) == ([0, 1, 0, 1, 0, 0], [0, 1])
    assert weights() == ([1, 1, 1, 1, 1, 0], [1, 0])
