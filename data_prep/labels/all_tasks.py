"""All tasks of a partner's values, with their labels, quorums and weights."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.labels.regression import regression_tasks
from data_prep.labels.tasks import apply_quorum
from data_prep.labels.thresholds import candidate_tasks, label_all
from data_prep.settings import Preparation


@dataclass(frozen=True, slots=True)
class AllTasks:
    """Candidate tasks, whether they are trained or not."""

    classification: pl.DataFrame  # apply_quorum's rows
    regression: pl.DataFrame  # regression_tasks' rows
    labels: pl.DataFrame  # of the classification tasks: `candidate`, `row`, `label`


def make_tasks(
    assays: pl.DataFrame, values: pl.DataFrame, folding: NDArray[np.int64], settings: Preparation
) -> AllTasks:
    """Make the tasks of all assays.

    assays : settle_catalogue's rows; values : aggregate's; folding : (n_compounds,), the fold of each row
    """
    candidates = candidate_tasks(assays, values, settings.activities)
    labels = label_all(candidates, values)
    return AllTasks(
        apply_quorum(candidates, labels, folding, settings.folds.n_folds, settings.activities),
        regression_tasks(assays, values, folding, settings),
        labels,
    )
