"""Batches: some compounds of a training set with their labels, as torch tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.network.device import device_of
from partners.network.input_layer import InputRows, features_for_block, input_rows
from partners.network.input_transform import transformed
from partners.network.kernels import Observed, observed
from partners.network.normalisation import normalised
from partners.network.state import Arrays
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels or measured values of a batch for one kind of head, in row order, with their weights."""

    pattern: Observed
    values: torch.Tensor  # (n_labels,) 1 active, 0 inactive; or the normalised measured value
    weights: torch.Tensor  # (n_labels,) factor of each label's loss
    censoring: torch.Tensor | None = None  # (n_labels,) -1, 0 or +1; None if all are exact


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs and targets of some compounds; a kind of head without tasks has no targets."""

    x: InputRows
    classification: Targets | None
    regression: Targets | None

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return self.x.n_rows


class BatchMaker:
    """Makes batches from rows of a training set: inputs transformed, values normalised, task weights included.

    equal_weights : every label and value of a kind weighs the same, because the tasks' weights follow from how many
                    labels they have, which differential privacy must not tell
    """

    def __init__(
        self,
        training_set: TrainingSet,
        trunk_settings: TrunkSettings,
        training: Training,
        normalisation: Arrays,
        *,
        equal_weights: bool = False,
    ) -> None:
        self._set = training_set
        self._transform = trunk_settings.input_transform
        self._device = device_of(training)
        self._frequent = features_for_block(training_set.x)  # a transform keeps the pattern, even if it gives 0
        self._values = normalised(training_set.y_regr, normalisation)
        self._is_censored = bool(training_set.y_censor.data.any())
        self.class_weight, self.regr_weight = loss_weights(training_set, training, equal=equal_weights)
        self._censored_weight = training_set.censored_weight
        if equal_weights:
            self._censored_weight = np.ones_like(self._censored_weight)

    def __call__(self, rows: NDArray[np.int64]) -> Batch:
        """Make the batch of these rows of the training set, in this order."""
        x = transformed(self._set.x[rows], self._transform)
        return Batch(
            x=input_rows(x, self._frequent, device=self._device),
            classification=self._labels(rows) if self._set.n_tasks else None,
            regression=self._measured(rows) if self._set.n_regressions else None,
        )

    def _labels(self, rows: NDArray[np.int64]) -> Targets:
        y = self._set.y[rows]
        return Targets(
            pattern=observed(y, device=self._device),
            values=torch.tensor(y.data > 0, dtype=torch.float32, device=self._device),
            weights=torch.tensor(self.class_weight[y.indices], device=self._device),
        )

    def _measured(self, rows: NDArray[np.int64]) -> Targets:
        values = self._values[rows]
        weights = self.regr_weight[values.indices]
        censoring = None
        if self._is_censored:
            marks = self._set.y_censor[rows].data  # of the same pattern as the values
            weights = np.where(marks == 0, weights, weights * self._censored_weight[values.indices])
            censoring = torch.tensor(marks, device=self._device)
        return Targets(
            pattern=observed(values, device=self._device),
            values=torch.tensor(values.data, device=self._device),
            weights=torch.tensor(weights, device=self._device),
            censoring=censoring,
        )


def loss_weights(
    training_set: TrainingSet, training: Training, *, equal: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor on the loss of each classification task, (n_tasks,), and of each regression task, (n_regressions,).

    `training.regression_weight` weighs the two kinds as in SparseChem; with one kind alone it has no effect.
    equal : all tasks of a kind weigh the same
    """
    both = training_set.n_tasks > 0 and training_set.n_regressions > 0
    share = training.regression_weight if both else 0.5
    of_class, of_regr = training_set.training_weight, training_set.regr_weight
    if equal:
        of_class, of_regr = np.ones_like(of_class), np.ones_like(of_regr)
    return of_class * np.float32((1 - share) * 2), of_regr * np.float32(share * 2)


def parts_of(rows: NDArray[np.int64], internal_batch_max: int | None) -> Iterator[NDArray[np.int64]]:
    """Split the rows of one optimiser step into the fewest parts of nearly equal size that the maximum allows."""
    n_parts = 1 if internal_batch_max is None else -(-rows.size // internal_batch_max)
    yield from np.array_split(rows, n_parts) if n_parts > 1 else [rows]
