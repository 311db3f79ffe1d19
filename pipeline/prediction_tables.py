"""Predictions as tables: long, with a row for each compound and task, or wide, with a row for each compound.

Names are the same everywhere: a classification task is ASSAY@THRESHOLD, a regression task its assay.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction_files import Texts
from partners.final_model import Prediction
from pipeline.errors import ConfigError
from pipeline.final_model import ClassTask, Description, RegrTask

Format = Literal["long", "wide"]
Table = dict[str, NDArray[Any] | Texts]

CLASS_COLUMNS = ("probability", "p_active", "p_inactive", "in_domain")
REGR_COLUMNS = ("value", "low", "high", "in_domain")


class Selection:
    """Which tasks to tell about, by their columns."""

    def __init__(self, description: Description, names: Sequence[str] | None) -> None:
        """`names` are assays or ASSAY@THRESHOLD; None: all but auxiliary tasks.

        Raises ConfigError for a name that is none of them.
        """
        every: list[ClassTask | RegrTask] = [*description.tasks, *description.regression_tasks]
        known = {name for task in every for name in _names_of(task)}
        wanted = None if names is None else set(_taken_apart(names, known))
        self.classes = _chosen(description.tasks, wanted)
        self.regressions = _chosen(description.regression_tasks, wanted)
        self.class_tasks = [description.tasks[i] for i in self.classes]
        self.regression_tasks = [description.regression_tasks[i] for i in self.regressions]


def _taken_apart(names: Sequence[str], known: set[str]) -> Iterator[str]:
    """Names, and several of them separated by commas; an assay's name may hold commas itself."""
    for name in names:
        parts = [name] if name in known else [part.strip() for part in name.split(",") if part.strip()]
        unknown = [part for part in parts if part not in known]
        if unknown or not parts:
            error = ConfigError(f"--tasks: found {', '.join(unknown) or 'no name'}, expected assays or ASSAY@THRESHOLD")
            error.add_note("the model's tasks are listed in HOME/model/model.json")
            raise error
        yield from parts


def _chosen(tasks: Sequence[ClassTask] | Sequence[RegrTask], wanted: set[str] | None) -> NDArray[np.int64]:
    return np.flatnonzero([not t.is_auxiliary if wanted is None else bool(_names_of(t) & wanted) for t in tasks])


def _names_of(task: ClassTask | RegrTask) -> set[str]:
    return {task.name, task.input_assay_id}


def as_table(
    how: Format, rows: NDArray[np.int64], ids: Sequence[str | None], found: Prediction, selection: Selection
) -> Table:
    """Table of some compounds.

    rows, ids : (n,) number of each in its file, and its id
    """
    return (_long if how == "long" else _wide)(rows, ids, found, selection)


def _long(rows: NDArray[np.int64], ids: Sequence[str | None], found: Prediction, selection: Selection) -> Table:
    """Compound by compound, classification tasks first; what does not belong to a task's kind is NaN."""
    n, classes, regressions = len(rows), selection.class_tasks, selection.regression_tasks
    tasks: list[ClassTask | RegrTask] = [*classes, *regressions]
    n_tasks = len(tasks)
    thresholds = np.array([task.threshold if isinstance(task, ClassTask) else np.nan for task in tasks], np.float64)

    def spread(of_classes: NDArray[Any] | None, of_regressions: NDArray[Any] | None) -> NDArray[Any]:
        parts = [
            np.full((n, len(part)), np.nan, np.float32) if values is None else values
            for part, values in ((classes, of_classes), (regressions, of_regressions))
        ]
        return np.concatenate(parts, axis=1).ravel()

    at, columns = np.repeat(np.arange(n), n_tasks), _columns(found, selection)
    return {
        "input_row": rows[at],
        "input_compound_id": Texts(ids, at),
        "input_assay_id": Texts([task.input_assay_id for task in tasks], np.tile(np.arange(n_tasks), n)),
        "threshold": np.tile(thresholds, n),
        **{name: spread(columns[0][name], None) for name in CLASS_COLUMNS[:-1]},
        **{name: spread(None, columns[1][name]) for name in REGR_COLUMNS[:-1]},
        "in_domain": spread(columns[0]["in_domain"], columns[1]["in_domain"]),
        "similarity": found.similarity[at],
    }


def _wide(rows: NDArray[np.int64], ids: Sequence[str | None], found: Prediction, selection: Selection) -> Table:
    """A column for each task and number, all of a task beside each other."""
    columns = _columns(found, selection)
    return {
        "input_row": rows,
        "input_compound_id": Texts(ids),
        "similarity": found.similarity,
        **{
            f"{task.name}.{name}": np.ascontiguousarray(values[:, i])
            for tasks, of_kind in zip((selection.class_tasks, selection.regression_tasks), columns, strict=True)
            for i, task in enumerate(tasks)
            for name, values in of_kind.items()
        },
    }


def _columns(found: Prediction, selection: Selection) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Numbers of the chosen classification tasks, (n, n_chosen) each, and of the regression tasks."""
    classes, regressions = selection.classes, selection.regressions
    value, half = found.value[:, regressions], found.half_width[regressions]
    similar = np.repeat(found.is_similar[:, None], len(regressions), axis=1)
    of_classes = (found.probability, found.p_values.active, found.p_values.inactive, found.in_domain)
    return (
        {name: values[:, classes] for name, values in zip(CLASS_COLUMNS, of_classes, strict=True)},
        dict(zip(REGR_COLUMNS, (value, value - half, value + half, similar), strict=True)),
    )
