"""A partner's assays with all their measurements, as models of single assays are fitted to them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prepared import Prepared
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class Assay:
    """One assay: a value for each measured compound, and the tasks that are predicted from it.

    Without measured values (a binary assay, or one that is not used in regression) a compound's value is the mean of
    its labels, from -1 to 1.
    """

    input_assay_id: str
    rows: NDArray[np.int64]  # (n,) rows of the training set, rising
    values: NDArray[np.float64]  # (n,) units of the assay
    marks: NDArray[np.int8]  # (n,) -1: the true value is below, 0: exact, +1: above
    tasks: tuple[int, ...]  # its classification tasks, columns of y
    signs: tuple[int, ...]  # of each: +1 if high values are active, -1 if low ones are
    regression: int | None  # its regression task, column of y_regr; None if regression is left out

    def only(self, kept: NDArray[np.bool_]) -> "Assay":
        """The assay with some of its measurements; kept: (n,)."""
        return replace(self, rows=self.rows[kept], values=self.values[kept], marks=self.marks[kept])


def assays_of(prepared: Prepared, data: TrainingSet) -> tuple[Assay, ...]:
    """All assays that have a scored task, in the order of their first task; auxiliary tasks have no such model.

    data : the training set made of these matrices; compounds that it leaves out are left out here too
    """
    used = data.labels_per_row > 0
    assays = measured_assays(prepared, with_regression=data.n_regressions > 0)
    return tuple(assay.only(used[assay.rows]) for assay in assays)


def measured_assays(prepared: Prepared, *, with_regression: bool) -> tuple[Assay, ...]:
    """All assays that have a scored task, with all their compounds.

    with_regression : whether assays that have a regression task alone belong to them too
    """
    value_column = {task.input_assay_id: task.task_id for task in prepared.regression_tasks if not task.is_auxiliary}
    directions: dict[str, dict[int, int]] = {}
    for task in prepared.tasks:
        if not task.is_auxiliary:
            sign = -1 if task.direction == "low" else 1
            directions.setdefault(task.input_assay_id, {})[task.task_id] = sign
    if with_regression:
        directions |= {name: {} for name in value_column if name not in directions}
    y, y_regr, marks = (sparse.csc_matrix(matrix) for matrix in (prepared.y, prepared.y_regr, prepared.y_censor))
    assays = []
    for name, signs in directions.items():
        column = value_column.get(name)
        if column is None:
            rows, values, mark = _mean_labels(y, tuple(signs))
        else:
            part = slice(y_regr.indptr[column], y_regr.indptr[column + 1])
            rows, values, mark = y_regr.indices[part], y_regr.data[part], marks.data[part]
        assays.append(
            Assay(
                name,
                rows.astype(np.int64),
                values.astype(np.float64),
                mark.astype(np.int8),
                tuple(signs),
                tuple(1 if column is None else sign for sign in signs.values()),
                column if with_regression else None,
            )
        )
    return tuple(assays)


def _mean_labels(
    y: sparse.csc_matrix, tasks: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int8]]:
    """Rows with a label of some of these tasks, and the mean of their labels; all of them exact."""
    labels = sparse.csr_matrix(y[:, list(tasks)])
    count = np.diff(labels.indptr)
    rows = np.flatnonzero(count).astype(np.int32)
    mean = np.asarray(labels.sum(axis=1)).ravel()[rows] / count[rows]
    return rows, mean.astype(np.float32), np.zeros(rows.size, np.int8)
