"""What one partner trains on: sparse inputs, sparse labels, folds and task weights."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import BadFeatures, BadFolds, BadLabels, BadLengths, BadWeights, FeatureCountMismatch


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """Compounds, labels and folds of one partner, checked and brought into one form when made.

    x               : (n_compounds, n_inputs) sparse, kept as canonical CSR float32
    y               : (n_compounds, n_tasks) sparse, stored values +1 (active) and -1 (inactive), the rest not measured
    folding         : (n_compounds,) integer fold of each compound
    training_weight : (n_tasks,) factor of each task's loss, at least 0
    Raises BadLengths, BadFeatures, BadLabels, BadWeights or BadFolds.
    """

    x: sparse.csr_matrix
    y: sparse.csr_matrix
    folding: NDArray[np.int64]
    training_weight: NDArray[np.float32]
    test_fold: int = 0
    validation_fold: int = 1

    def __post_init__(self) -> None:
        """Bring everything into canonical form and refuse what cannot be trained on."""
        object.__setattr__(self, "x", canonical_rows(self.x))
        object.__setattr__(self, "y", canonical_rows(self.y))
        object.__setattr__(self, "folding", np.asarray(self.folding, dtype=np.int64))
        object.__setattr__(self, "training_weight", np.asarray(self.training_weight, dtype=np.float32))
        self._check_lengths()
        check_features(self.x)
        self._check_labels()
        self._check_weights()
        self._check_folds()

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

    @cached_property
    def training_rows(self) -> NDArray[np.int64]:
        """Rows of the labelled compounds outside the test and validation folds, ascending."""
        held_out = np.isin(self.folding, (self.test_fold, self.validation_fold))
        return np.flatnonzero(~held_out & (np.diff(self.y.indptr) > 0))

    @property
    def n_training_labels(self) -> int:
        """Number of labels in the training folds."""
        return int(np.diff(self.y.indptr)[self.training_rows].sum())

    def rows_of(self, fold: int) -> NDArray[np.int64]:
        """Rows of the labelled compounds of one fold, ascending."""
        return np.flatnonzero((self.folding == fold) & (np.diff(self.y.indptr) > 0))

    def digest(self) -> str:
        """SHA-256, hexadecimal, of everything in this set."""
        total = hashlib.sha256(repr((self.x.shape, self.y.shape, self.test_fold, self.validation_fold)).encode())
        for matrix in (self.x, self.y):
            total.update(np.ascontiguousarray(matrix.indptr, dtype="<i8").data)
            total.update(np.ascontiguousarray(matrix.indices, dtype="<i8").data)
            total.update(np.ascontiguousarray(matrix.data, dtype="<f4").data)
        total.update(np.ascontiguousarray(self.folding, dtype="<i8").data)
        total.update(np.ascontiguousarray(self.training_weight, dtype="<f4").data)
        return total.hexdigest()

    def _check_lengths(self) -> None:
        n_compounds, n_tasks = self.x.shape[0], self.y.shape[1]
        if self.y.shape[0] != n_compounds:
            raise BadLengths(f"y: found {self.y.shape[0]} rows, expected {n_compounds}, one for each row of x")
        if self.folding.shape != (n_compounds,):
            raise BadLengths(f"folding: found shape {self.folding.shape}, expected ({n_compounds},), as x has rows")
        if self.training_weight.shape != (n_tasks,):
            raise BadLengths(
                f"training_weight: found shape {self.training_weight.shape}, expected ({n_tasks},), as y has columns"
            )

    def _check_labels(self) -> None:
        wrong = np.flatnonzero(np.abs(self.y.data) != 1)  # NaN is unequal too
        if wrong.size:
            row = int(np.searchsorted(self.y.indptr, wrong[0], side="right")) - 1
            place = f"row {row}, task {self.y.indices[wrong[0]]}"
            raise BadLabels(
                f"y: {wrong.size} labels are not +1 or -1, the first is {self.y.data[wrong[0]]:g} at {place}"
            )

    def _check_weights(self) -> None:
        wrong = np.flatnonzero(~((self.training_weight >= 0) & np.isfinite(self.training_weight)))
        if wrong.size:
            found = self.training_weight[wrong[0]]
            raise BadWeights(f"training_weight: found {found} for task {wrong[0]}, expected a number of at least 0")

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


def canonical_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """CSR float32 with sorted column indices and no duplicates; the argument is left as it is.

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
