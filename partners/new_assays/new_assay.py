"""Assays that were not in the federation: which of a partner's tables can be tried, and what is measured in them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prepared import MeasuredAssay, Prepared, RegressionTask, Task
from data_prep.settings import Preparation
from partners.assay_models.assays import Assay, measured_assays

FEWEST_COMPOUNDS = 20  # measured in an assay; with fewer, cross-validation shows nothing
FEWEST_OF_CLASS = 2  # actives and inactives of a threshold, so that one can be predicted from another
_FEWEST_AT_THRESHOLD = 5  # actives and inactives at a threshold that T0 does not give, where it can be had


@dataclass(frozen=True, slots=True, eq=False)
class NewAssay:
    """All measurements of one assay, and its compounds."""

    assay: Assay  # its rows are 0, 1, ..., its tasks too, its regression task is 0 or None
    tasks: tuple[Task, ...]
    regression_task: RegressionTask | None
    x: sparse.csr_matrix  # (n, n_bits) fingerprints, as the network takes them
    descriptors: NDArray[np.float32] | None  # (n, n_descriptors) as RDKit gives them
    y: sparse.csr_matrix  # (n, n_tasks) +1 and -1
    folding: NDArray[np.int64]  # (n,)

    @property
    def n_compounds(self) -> int:
        """Number of measured compounds."""
        return int(self.x.shape[0])

    @property
    def y_regr(self) -> sparse.csr_matrix:
        """Measured values, (n, 1), or (n, 0) without regression task."""
        return self._column(self.assay.values)

    @property
    def y_censor(self) -> sparse.csr_matrix:
        """The values' marks: -1 the true value is below, 0 exact, +1 above."""
        return self._column(self.assay.marks)

    def _column(self, numbers: NDArray[np.floating] | NDArray[np.int8]) -> sparse.csr_matrix:
        n = self.n_compounds
        if self.assay.regression is None:
            return sparse.csr_matrix(np.zeros((n, 0), np.float32))
        parts = (numbers.astype(np.float32), np.zeros(n, np.int32), np.arange(n + 1, dtype=np.int32))
        return sparse.csr_matrix(parts, shape=(n, 1))


@dataclass(frozen=True, slots=True)
class RefusedAssay:
    """An assay for which no model is fitted, and why."""

    input_assay_id: str
    n_compounds: int
    reason: str


def for_few_labels(preparation: Preparation) -> Preparation:
    """The plan's preparation with quorums that let 20 compounds try; compounds and folds are prepared alike."""
    activities = replace(
        preparation.activities,
        adaptive_min_active=_FEWEST_AT_THRESHOLD,
        adaptive_min_inactive=_FEWEST_AT_THRESHOLD,
        training_min_active=FEWEST_OF_CLASS,
        training_min_inactive=FEWEST_OF_CLASS,
        auxiliary_tasks=False,
    )
    regression = replace(
        preparation.regression, training_min_values=FEWEST_COMPOUNDS, training_min_exact=FEWEST_COMPOUNDS // 2
    )
    return replace(preparation, activities=activities, regression=regression)


def new_assays(
    prepared: Prepared, measured: Sequence[MeasuredAssay], taken: Collection[str]
) -> tuple[list[NewAssay], list[RefusedAssay]]:
    """The assays that can be tried, and those that cannot; both by id.

    prepared, measured : of tables prepared with the settings of `for_few_labels`
    taken              : ids of assays that the model has from the federation
    """
    of_id = {assay.input_assay_id: assay for assay in measured_assays(prepared, with_regression=True)}
    accepted, refused = [], []
    for counts in sorted(measured, key=lambda assay: assay.input_assay_id):
        name = counts.input_assay_id
        reason = "the model has this assay from the federation" if name in taken else _reason_against(counts)
        n_used = of_id[name].rows.size if name in of_id else 0
        if reason is None and n_used < FEWEST_COMPOUNDS:
            reason = f"{n_used} compounds with a label, expected at least {FEWEST_COMPOUNDS}"
        if reason is None:
            accepted.append(_new_assay(prepared, of_id[name]))
        else:
            refused.append(RefusedAssay(name, counts.n_values, reason))
    return accepted, refused


def _reason_against(counts: MeasuredAssay) -> str | None:
    if counts.n_values < FEWEST_COMPOUNDS:
        return f"{counts.n_values} measured compounds, expected at least {FEWEST_COMPOUNDS}"
    if counts.near_constant:
        return "all measured values are equal"
    if counts.assay_type.startswith("AUX"):
        return f"an assay of type {counts.assay_type}, which has no model of its own"
    if not counts.n_tasks and (counts.n_candidates or not counts.in_regression):
        return f"no threshold has at least {FEWEST_OF_CLASS} actives and {FEWEST_OF_CLASS} inactives"
    return None


def _new_assay(prepared: Prepared, assay: Assay) -> NewAssay:
    rows, columns = assay.rows, list(assay.tasks)
    return NewAssay(
        assay=replace(
            assay,
            rows=np.arange(rows.size),
            tasks=tuple(range(len(columns))),
            regression=None if assay.regression is None else 0,
        ),
        tasks=tuple(prepared.tasks[column] for column in columns),
        regression_task=None if assay.regression is None else prepared.regression_tasks[assay.regression],
        x=sparse.csr_matrix(prepared.x[rows]),
        descriptors=None if prepared.descriptors is None else prepared.descriptors[rows],
        y=sparse.csr_matrix(prepared.y[rows][:, columns]),
        folding=prepared.folding[rows],
    )
