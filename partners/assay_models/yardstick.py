"""What predictions of an assay's values are scored against: its labels, or without tasks its exact values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.assays import Assay
from partners.scores.ranking_metrics import average_precision, find_cutoffs

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What predictions for an assay's compounds are scored against."""

    labels: NDArray[np.int8]  # (n, n_tasks) +1 active, -1 inactive, 0 unknown
    signs: NDArray[np.int64]  # (n_tasks,) +1 if high values are active
    values: Floats  # (n,)
    is_exact: NDArray[np.bool_]  # (n,)

    @classmethod
    def of(cls, assay: Assay, y: sparse.csr_matrix | sparse.csc_matrix) -> "Yardstick":
        """What an assay's predictions are compared with; y: (n, n_tasks) labels of its compounds and tasks."""
        return cls(y.toarray().astype(np.int8), np.array(assay.signs, np.int64), assay.values, assay.marks == 0)

    def average_precision(self, predicted: Floats, rows: NDArray[np.int64]) -> Floats:
        """Average precision of each task over each sample of compounds, (n_samples, n_tasks); NaN for one class alone.

        predicted : (n,) values; rows : (n_samples, n_drawn) compounds
        """
        n_samples, n_tasks = rows.shape[0], self.signs.size
        sample, place, task = np.nonzero(self.labels[rows])
        compound, cell = rows[sample, place], sample * n_tasks + task
        active = self.labels[compound, task] > 0
        cutoffs = find_cutoffs(cell, active, self.signs[task] * predicted[compound], n_samples * n_tasks)
        with np.errstate(divide="ignore", invalid="ignore"):  # one class alone
            scores = average_precision(cutoffs)
        scores[(cutoffs.n_active == 0) | (cutoffs.n_inactive == 0)] = np.nan
        return scores.reshape(n_samples, n_tasks)

    def score(self, predicted: Floats, rows: NDArray[np.int64]) -> Floats:
        """Mean average precision over the tasks; without tasks the correlation with exact values; (n_samples,)."""
        if not self.signs.size:
            return np.array([self._correlation(predicted, drawn) for drawn in rows])
        by_task = self.average_precision(predicted, rows)
        known = np.isfinite(by_task)
        with np.errstate(invalid="ignore"):  # no task has both classes
            mean: Floats = np.where(known, by_task, 0).sum(axis=1) / known.sum(axis=1)
        return mean

    def score_all(self, predicted: Floats) -> float:
        """The score over all compounds; the correlation too if no task has both classes."""
        everything = np.arange(self.values.size)
        score = float(self.score(predicted, everything[None, :])[0])
        return score if np.isfinite(score) else self._correlation(predicted, everything)

    def _correlation(self, predicted: Floats, drawn: NDArray[np.int64]) -> float:
        exact = drawn[self.is_exact[drawn]]
        if not exact.size or np.ptp(self.values[exact]) == 0 or np.ptp(predicted[exact]) == 0:
            return 0.0
        return float(np.corrcoef(self.values[exact], predicted[exact])[0, 1])
