"""Predictions as tables: long, with a row for each compound and task, or wide, with a row for each compound.

Names are the same everywhere: a classification task is ASSAY@THRESHOLD, a regression task its assay.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.prediction_files import Texts
from partners.models.final_model import Prediction
from pipeline.model.description import CLASS_COLUMNS, REGR_COLUMNS, ClassTask, RegrTask, Selection

Format = Literal["long", "wide"]
Table = dict[str, NDArray[Any] | Texts]


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
