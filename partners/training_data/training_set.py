"""A partner's training set: sparse inputs, sparse labels and measured values, folds and task weights."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import (
    BadCensoring,
    BadFeatures,
    BadFolds,
    BadLabels,
    BadLengths,
    BadValues,
    BadWeights,
    FeatureCountMismatch,
    TrainingError,
)

_NO_MATRIX = sparse.csr_matrix((0, 0))  # stands for "not given"
_NO_WEIGHTS = np.zeros(0, dtype=np.float32)  # the same
_WEIGHTS = {  # each with the matrix that has its tasks as columns
    "training_weight": "y",
    "regr_weight": "y_regr",
    "censored_weight": "y_regr",
    "aggregation_weight": "y",
    "regr_aggregation_weight": "y_regr",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """Compounds, labels, measured values and folds of one partner, checked and converted to one form on creation.

    x               : (n_compounds, n_inputs) sparse, kept as canonical CSR float32
    y               : (n_compounds, n_tasks) sparse, stored values +1 (active) and -1 (inactive), the rest not measured
    folding         : (n_compounds,) integer fold of each compound
    training_weight : (n_tasks,) factor of each classification task's loss, at least 0
    y_regr          : (n_compounds, n_regressions) sparse measured values, stored zeros included; absent: no such task
    y_censor        : stored where y_regr is: -1 the true value is below, 0 exact, +1 above; absent or empty: all exact
    regr_weight     : (n_regressions,) factor of each regression task's loss, at least 0; absent: 1
    censored_weight : (n_regressions,) further factor on censored values, at least 0; absent: 1
    aggregation_weight, regr_aggregation_weight : (n_tasks,), (n_regressions,) weight of each task in means over tasks,
                      at least 0; absent: 1. No training depends on them, and so neither does `digest`
    Raises BadLengths, BadFeatures, BadLabels, BadValues, BadCensoring, BadWeights or BadFolds.
    """

    x: sparse.csr_matrix
    y: sparse.csr_matrix
    folding: NDArray[np.int64]
    training_weight: NDArray[np.float32]
    y_regr: sparse.csr_matrix = field(default_factory=lambda: _NO_MATRIX)
    y_censor: sparse.csr_matrix = field(default_factory=lambda: _NO_MATRIX)
    regr_weight: NDArray[np.float32] = field(default_factory=lambda: _NO_WEIGHTS)
    censored_weight: NDArray[np.float32] = field(default_factory=lambda: _NO_WEIGHTS)
    aggregation_weight: NDArray[np.float32] = field(default_factory=lambda: _NO_WEIGHTS)
    regr_aggregation_weight: NDArray[np.float32] = field(default_factory=lambda: _NO_WEIGHTS)
    test_fold: int = 0
    validation_fold: int = 1

    def __post_init__(self) -> None:
        """Convert everything to canonical form and raise for data that cannot be trained on."""
        object.__setattr__(self, "x", canonical_rows(self.x))
        object.__setattr__(self, "y", canonical_rows(self.y))
        object.__setattr__(self, "folding", np.asarray(self.folding, dtype=np.int64))
        self._fill_regression()
        self._check_lengths()
        check_features(self.x)
        self._check_labels()
        self._check_values()
        for name in _WEIGHTS:
            _check_weights(name, getattr(self, name))
        self._check_folds()

    def _fill_regression(self) -> None:
        values, marks = self.y_regr, self.y_censor
        if values is _NO_MATRIX:
            values = sparse.csr_matrix((self.x.shape[0], 0))
        _refuse_duplicates("y_regr", values)
        values = canonical_rows(values)
        if marks is _NO_MATRIX or (
            marks.nnz == 0 and marks.shape == values.shape
        ):  # nothing censored, as in SparseChem
            zeros = np.zeros(values.nnz, dtype=np.float32)
            marks = sparse.csr_matrix((zeros, values.indices, values.indptr), shape=values.shape)
        _refuse_duplicates("y_censor", marks)
        object.__setattr__(self, "y_regr", values)
        object.__setattr__(self, "y_censor", canonical_rows(marks))
        for name in _WEIGHTS:
            weight = getattr(self, name)
            if weight is _NO_WEIGHTS:
                weight = np.ones(getattr(self, _WEIGHTS[name]).shape[1])
            object.__setattr__(self, name, np.asarray(weight, dtype=np.float32))

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return int(self.x.shape[0])

    @property
    def n_inputs(self) -> int:
        """Number of input features (fingerprint bits)."""
        return int(self.x.shape[1])

    @property
    def n_tasks(self) -> int:
        """Number of classification tasks."""
        return int(self.y.shape[1])

    @property
    def n_regressions(self) -> int:
        """Number of regression tasks."""
        return int(self.y_regr.shape[1])

    @cached_property
    def labels_per_row(self) -> NDArray[np.int64]:
        """Number of labels and measured values of every compound, (n_compounds,)."""
        counts: NDArray[np.int64] = np.diff(self.y.indptr) + np.diff(self.y_regr.indptr)
        return counts

    @cached_property
    def training_rows(self) -> NDArray[np.int64]:
        """Rows of the labelled or measured compounds outside the test and validation folds, ascending."""
        held_out = np.isin(self.folding, (self.test_fold, self.validation_fold))
        return np.flatnonzero(~held_out & (self.labels_per_row > 0))

    @property
    def n_training_labels(self) -> int:
        """Number of labels and measured values in the training folds."""
        return int(self.labels_per_row[self.training_rows].sum())

    def rows_of(self, fold: int) -> NDArray[np.int64]:
        """Rows of the labelled or measured compounds of one fold, ascending."""
        return np.flatnonzero((self.folding == fold) & (self.labels_per_row > 0))

    def digest(self) -> str:
        """SHA-256, hexadecimal, of everything in this set."""
        total = hashlib.sha256(repr((self.x.shape, self.y.shape, self.test_fold, self.validation_fold)).encode())
        matrices = [self.x, self.y]
        weights = [self.training_weight]
        if self.n_regressions:
            matrices += [self.y_regr, self.y_censor]
            weights += [self.regr_weight, self.censored_weight]
        for matrix in matrices:
            total.update(np.ascontiguousarray(matrix.indptr, dtype="<i8").data)
            total.update(np.ascontiguousarray(matrix.indices, dtype="<i8").data)
            total.update(np.ascontiguousarray(matrix.data, dtype="<f4").data)
        total.update(np.ascontiguousarray(self.folding, dtype="<i8").data)
        for weight in weights:
            total.update(np.ascontiguousarray(weight, dtype="<f4").data)
        return total.hexdigest()

    def _check_lengths(self) -> None:
        n_compounds = self.x.shape[0]
        for name, matrix in (("y", self.y), ("y_regr", self.y_regr)):
            if matrix.shape[0] != n_compounds:
                raise BadLengths(f"{name}: found {matrix.shape[0]} rows, expected {n_compounds}, one for each row of x")
        if self.folding.shape != (n_compounds,):
            raise BadLengths(f"folding: found shape {self.folding.shape}, expected ({n_compounds},), as x has rows")
        for name, matrix_name in _WEIGHTS.items():
            shape, n_tasks = getattr(self, name).shape, getattr(self, matrix_name).shape[1]
            if shape != (n_tasks,):
                raise BadLengths(f"{name}: found shape {shape}, expected ({n_tasks},), as {matrix_name} has columns")

    def _check_labels(self) -> None:
        wrong = np.abs(self.y.data) != 1  # NaN is unequal too
        _refuse("y", self.y, wrong, BadLabels, "labels are not +1 or -1")

    def _check_values(self) -> None:
        values, marks = self.y_regr, self.y_censor
        _refuse("y_regr", values, ~np.isfinite(values.data), BadValues, "values are not finite numbers")
        if marks.shape != values.shape:
            raise BadCensoring(f"y_censor: found shape {marks.shape}, expected {values.shape}, as y_regr")
        patterns = (values.indptr, marks.indptr), (values.indices, marks.indices)
        if not all(np.array_equal(*pair) for pair in patterns):
            raise BadCensoring(
                f"y_censor: its {marks.nnz} marks do not stand where the {values.nnz} values of y_regr stand, "
                f"expected one mark for each value"
            )
        _refuse("y_censor", marks, ~np.isin(marks.data, (-1, 0, 1)), BadCensoring, "marks are none of -1, 0 and +1")

    def _check_folds(self) -> None:
        if self.validation_fold == self.test_fold:
            raise BadFolds(
                f"folds: validation fold and test fold are both {self.test_fold}, expected two different ones"
            )
        if self.training_rows.size == 0:
            raise BadFolds(
                f"folding: no labelled compound outside test fold {self.test_fold} and validation fold "
                f"{self.validation_fold}, expected at least one to train on"
            )


def _refuse(
    name: str, matrix: sparse.csr_matrix, wrong: NDArray[np.bool_], error: type[TrainingError], problem: str
) -> None:
    """Raise if any stored value is wrong, with their number and the row and task of the first."""
    entries = np.flatnonzero(wrong)
    if entries.size:
        row = int(np.searchsorted(matrix.indptr, entries[0], side="right")) - 1
        cell = f"row {row}, task {matrix.indices[entries[0]]}"
        raise error(f"{name}: {entries.size} {problem}, the first is {matrix.data[entries[0]]:g} at {cell}")


def _refuse_duplicates(name: str, matrix: sparse.csr_matrix) -> None:
    n_duplicates = matrix.nnz - canonical_rows(matrix).nnz
    if n_duplicates:
        raise BadValues(f"{name}: {n_duplicates} duplicate entries, expected one value for each row and column")


def _check_weights(name: str, weight: NDArray[np.float32]) -> None:
    wrong = np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))
    if wrong.size:
        raise BadWeights(f"{name}: found {weight[wrong[0]]} for task {wrong[0]}, expected a number of at least 0")


def canonical_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """CSR float32 with sorted column indices and no duplicates; the argument does not change.

    Duplicates are added up, stored zeros stay.
    """
    rows: sparse.csr_matrix = sparse.csr_matrix(matrix).astype(np.float32, copy=False)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def check_features(x: sparse.csr_matrix, n_inputs: int | None = None) -> None:
    """Raise BadFeatures for a value that is not finite, FeatureCountMismatch for the wrong number of columns."""
    if n_inputs is not None and x.shape[1] != n_inputs:
        raise FeatureCountMismatch(f"x: found {x.shape[1]} features, expected {n_inputs}, the trunk's number of inputs")
    n_wrong = int(np.count_nonzero(~np.isfinite(x.data)))
    if n_wrong:
        raise BadFeatures(f"x: {n_wrong} values are not finite, expected finite numbers only")
