"""Names of a partner's tasks, by which heads find their tasks again if its tables have more or fewer of them."""

import json
from dataclasses import dataclass

from data_prep.prepared import Prepared, RegressionTask, Task
from partners.settings import Training


@dataclass(frozen=True, slots=True)
class TaskKeys:
    """A text for each task of a partner, in the order of its heads' rows; private, because it has the assays' ids."""

    classification: tuple[str, ...] = ()
    regression: tuple[str, ...] = ()

    @property
    def n_tasks(self) -> int:
        """Number of tasks of both kinds."""
        return len(self.classification) + len(self.regression)

    def n_not_in(self, other: "TaskKeys") -> int:
        """Number of tasks that the other one lacks."""
        pairs = (self.classification, other.classification), (self.regression, other.regression)
        return sum(len(set(mine) - set(theirs)) for mine, theirs in pairs)


def task_keys(prepared: Prepared, training: Training) -> TaskKeys:
    """Keys of the tasks that are trained; regression only if the partner gives it a weight."""
    regression = prepared.regression_tasks if training.regression_weight > 0 else ()
    return TaskKeys(tuple(map(_key, prepared.tasks)), tuple(map(_regression_key, regression)))


def _key(task: Task) -> str:
    return json.dumps([task.input_assay_id, task.threshold, task.direction, task.is_auxiliary])


def _regression_key(task: RegressionTask) -> str:
    return json.dumps([task.input_assay_id, task.is_auxiliary])
