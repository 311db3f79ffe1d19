"""The models that a report compares: strongest local against take-home, and the network without and with federation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.models.held_out import EvaluatedModel
from partners.settings import LocalKind, ModelKind


@dataclass(frozen=True, slots=True)
class ChosenKinds:
    """Which models were chosen for a task, on the training folds alone, and why."""

    strongest: LocalKind  # of the partner's models without federation
    kept: ModelKind  # the take-home model: the same kind on the federated trunk, with a shared row's head too
    reason: str  # why these, a clause for people; private


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedModels:
    """The four models of a report, scored on the same folds, and the kinds of model of every task."""

    strongest: EvaluatedModel  # for each task the strongest local model
    take_home: EvaluatedModel  # for each task the take-home model, what federation gives
    half_data: NDArray[np.float64]  # (n_tasks,) average precision of the strongest, fitted on half; NaN without a score
    network_local: EvaluatedModel  # the network without federation
    network_federated: EvaluatedModel  # the same network with federation
    tasks: Sequence[ChosenKinds]  # (n_tasks,) of the classification tasks
    regression_tasks: Sequence[ChosenKinds]  # (n_regressions,)
