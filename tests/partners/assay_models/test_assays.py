"""Assays with their measurements, as prepared matrices have them."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.prepared import Prepared
from partners.assay_models.assays import Assay, assays_of
from partners.settings import Training
from partners.training_data.prepared_data import training_set
from tests.support.partners.made_up_assays import FOLDS, TRAINING, made_up_assays
from tests.support.partners.prepared_matrices import made_up_task

PREPARED = made_up_assays()


def assays(prepared: Prepared = PREPARED, training: Training = TRAINING) -> dict[str, Assay]:
    """The assays by name, in their order."""
    return {assay.input_assay_id: assay for assay in assays_of(prepared, training_set(prepared, FOLDS, training))}


def test_every_assay_that_is_scored_is_there_once():
    """In the order of their first task, those with values alone last; the auxiliary one is not there."""
    assert list(assays()) == ["HIGH", "LOW", "BINARY", "FEW", "VALUES"]
    tasks = {name: (assay.tasks, assay.regression) for name, assay in assays().items()}
    assert tasks["HIGH"] == ((0, 1), 0)
    assert tasks["BINARY"] == ((3,), None)
    assert tasks["VALUES"] == ((), 2)


@pytest.mark.parametrize(("name", "column"), [("HIGH", 0), ("LOW", 1), ("VALUES", 2), ("FEW", 3)])
def test_values_and_marks_are_those_measured(name: str, column: int):
    """Of every measured compound, in the order of rows."""
    assay, values = assays()[name], PREPARED.y_regr.tocsc()[:, [column]].toarray()[:, 0]
    np.testing.assert_array_equal(assay.rows, np.flatnonzero(values))
    np.testing.assert_array_equal(assay.values, values[assay.rows])
    np.testing.assert_array_equal(assay.marks, PREPARED.y_censor.toarray()[assay.rows, column])
    assert (assay.values.dtype, assay.marks.dtype) == (np.float64, np.int8)


def test_a_sign_says_which_values_are_active():
    """With it a higher value of a sound assay is active: the labels of every task rise with sign * value."""
    for assay in assays().values():
        for task, sign in zip(assay.tasks, assay.signs, strict=True):
            labels = PREPARED.y.toarray()[assay.rows, task]
            active, inactive = (sign * assay.values[labels == label] for label in (1, -1))
            assert active.min() > inactive.max()
    assert assays()["LOW"].signs == (-1,)


def test_a_binary_assays_value_is_its_label():
    """Measured where labelled, exact, and active is high, whatever direction it has."""
    labels = PREPARED.y.toarray()[:, 3]
    tasks = tuple(replace(task, direction="low") if task.task_id == 3 else task for task in PREPARED.tasks)
    for prepared in (PREPARED, replace(PREPARED, tasks=tasks)):
        assay = assays(prepared)["BINARY"]
        np.testing.assert_array_equal(assay.rows, np.flatnonzero(labels))
        np.testing.assert_array_equal(assay.values, labels[labels != 0])
        assert (assay.signs, assay.marks.any()) == ((1,), False)


def test_several_tasks_without_values_give_their_mean_label():
    """From -1 to 1; a compound with one of the labels alone has that."""
    y = PREPARED.y.copy().tolil()
    y[:, 3] = 0
    y[:3, 0], y[:3, 1] = [[1], [1], [-1]], [[1], [-1], [0]]
    y = y.tocsr().astype(np.float32)
    tasks = tuple(
        replace(task, n_active=int((y[:, [i]].data > 0).sum()), n_inactive=int((y[:, [i]].data < 0).sum()))
        for i, task in enumerate(PREPARED.tasks)
    )
    regression_tasks = (replace(PREPARED.regression_tasks[0], is_auxiliary=True), *PREPARED.regression_tasks[1:])
    assay = assays(replace(PREPARED, y=y, tasks=tasks, regression_tasks=regression_tasks))["HIGH"]
    np.testing.assert_array_equal(assay.rows[:3], [0, 1, 2])
    np.testing.assert_array_equal(assay.values[:3], [1, 0, -1])
    assert assay.regression is None


def test_if_regression_is_left_out_values_still_are_what_is_learned():
    """No regression tasks, no assay with values alone, and no compound that has no label at all."""
    without = assays(training=Training())
    assert list(without) == ["HIGH", "LOW", "BINARY", "FEW"]
    labelled = np.diff(PREPARED.y.indptr) > 0
    for name, assay in without.items():
        expected = assays()[name].only(labelled[assays()[name].rows])
        assert assay.regression is None
        np.testing.assert_array_equal(assay.rows, expected.rows)
        np.testing.assert_array_equal(assay.values, expected.values)


def test_a_compound_with_values_alone_is_left_out_with_regression():
    """Its labels are gone, its value stays in the matrices and is not used."""
    gone = int(assays()["HIGH"].rows[0])
    y = PREPARED.y.copy()
    keep = np.repeat(np.arange(y.shape[0]), np.diff(y.indptr)) != gone
    rows = np.repeat(np.arange(y.shape[0]), np.diff(y.indptr))[keep]
    y = type(y)((y.data[keep], (rows, y.indices[keep])), shape=y.shape)
    tasks = tuple(
        replace(task, n_active=of_labels.n_active, n_inactive=of_labels.n_inactive)
        for task in PREPARED.tasks
        for of_labels in [made_up_task(task.task_id, y, is_auxiliary=task.is_auxiliary)]
    )
    prepared = replace(PREPARED, y=y, tasks=tasks)
    assert gone in assays(prepared)["HIGH"].rows
    assert gone not in assays(prepared, Training())["HIGH"].rows


def test_an_assay_without_values_has_no_measurements():
    """It is there, with its tasks, and empty."""
    y_regr, y_censor, y = (matrix.copy().tolil() for matrix in (PREPARED.y_regr, PREPARED.y_censor, PREPARED.y))
    y_regr[:, 3], y_censor[:, 3], y[:, 4] = 0, 0, 0
    y_regr, y = y_regr.tocsr(), y.tocsr()
    dense = y_censor.toarray()[np.repeat(np.arange(200), np.diff(y_regr.indptr)), y_regr.indices]
    marks = type(y_regr)((dense, y_regr.indices, y_regr.indptr), shape=y_regr.shape)
    tasks = tuple(
        replace(task, n_active=0, n_inactive=0) if task.input_assay_id == "FEW" else task for task in PREPARED.tasks
    )
    regression_tasks = tuple(
        replace(task, n_values=0, n_exact=0) if task.input_assay_id == "FEW" else task
        for task in PREPARED.regression_tasks
    )
    prepared = replace(PREPARED, y=y, y_regr=y_regr, y_censor=marks, tasks=tasks, regression_tasks=regression_tasks)
    assay = assays(prepared)["FEW"]
    assert (assay.rows.size, assay.values.size, assay.marks.size) == (0, 0, 0)
    assert assay.tasks == (4,)


def test_some_measurements_are_kept_together():
    """`only` keeps row, value and mark of the same compounds."""
    assay = assays()["HIGH"]
    some = assay.only(assay.marks != 0)
    assert (some.marks != 0).all()
    np.testing.assert_array_equal(some.values, PREPARED.y_regr.toarray()[some.rows, 0])
    assert (some.tasks, some.signs) == (assay.tasks, assay.signs)
