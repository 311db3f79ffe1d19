"""Predictions as tables: long, with a row for each compound and task, or wide, with a row for each compound.

In both a classification task is named ASSAY@THRESHOLD, a regression task by its assay.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.prediction_files import Texts
from partners.models.final_model import Prediction
from pipeline.model.description import CLASS_COLUMNS, REGR_COLUMNS, ClassTask, RegrTask, Selection
from pipeline.model.predict_request import Format

PredictionTable = dict[str, NDArray[Any] | Texts]


def as_table(
    table_format: Format,
    rows: NDArray[np.int64],
    ids: Sequence[str | None],
    prediction: Prediction,
    selection: Selection,
) -> PredictionTable:
    """The prediction table of some compounds.

    rows, ids : (n,) row number in the input file, and id, of each compound
    """
    return (_long if table_format == "long" else _wide)(rows, ids, prediction, selection)


def _long(
    rows: NDArray[np.int64], ids: Sequence[str | None], prediction: Prediction, selection: Selection
) -> PredictionTable:
    """The long table, compound by compound, classification tasks first; NaN in columns of the other kind of task."""
    n, classes, regressions = len(rows), selection.class_tasks, selection.regression_tasks
    tasks: list[ClassTask | RegrTask] = [*classes, *regressions]
    n_tasks = len(tasks)
    thresholds = np.array([task.threshold if isinstance(task, ClassTask) else np.nan for task in tasks], np.float64)

    def in_all_rows(of_classes: NDArray[Any] | None, of_regressions: NDArray[Any] | None) -> NDArray[Any]:
        parts = [
            np.full((n, len(part)), np.nan, np.float32) if values is None else values
            for part, values in ((classes, of_classes), (regressions, of_regressions))
        ]
        return np.concatenate(parts, axis=1).ravel()

    compound, columns = np.repeat(np.arange(n), n_tasks), _columns(prediction, selection)
    return {
        "input_row": rows[compound],
        "input_compound_id": Texts(ids, compound),
        "input_assay_id": Texts([task.input_assay_id for task in tasks], np.tile(np.arange(n_tasks), n)),
        "threshold": np.tile(thresholds, n),
        **{name: in_all_rows(columns[0][name], None) for name in CLASS_COLUMNS[:-1]},
        **{name: in_all_rows(None, columns[1][name]) for name in REGR_COLUMNS[:-1]},
        "in_domain": in_all_rows(columns[0]["in_domain"], columns[1]["in_domain"]),
        "similarity": prediction.similarity[compound],
    }


def _wide(
    rows: NDArray[np.int64], ids: Sequence[str | None], prediction: Prediction, selection: Selection
) -> PredictionTable:
    """The wide table: the columns of each task are neighbours."""
    columns = _columns(prediction, selection)
    return {
        "input_row": rows,
        "input_compound_id": Texts(ids),
        "similarity": prediction.similarity,
        **{
            f"{task.name}.{name}": np.ascontiguousarray(values[:, i])
            for tasks, of_kind in zip((selection.class_tasks, selection.regression_tasks), columns, strict=True)
            for i, task in enumerate(tasks)
            for name, values in of_kind.items()
        },
    }


def _columns(prediction: Prediction, selection: Selection) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Numbers of the chosen classification tasks and of the chosen regression tasks, each (n, n_chosen)."""
    classes, regressions = selection.classes, selection.regressions
    value, half = prediction.value[:, regressions], prediction.half_width[regressions]
    similar = prediction.value_is_similar[:, regressions]
    of_classes = (
        prediction.probability,
        prediction.p_values.active,
        prediction.p_values.inactive,
        prediction.in_domain,
    )
    return (
        {name: values[:, classes] for name, values in zip(CLASS_COLUMNS, of_classes, strict=True)},
        dict(zip(REGR_COLUMNS, (value, value - half, value + half, similar), strict=True)),
    )
