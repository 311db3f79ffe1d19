"""The finished model as MLflow serves it: from a table of SMILES to a table of predictions."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.prediction.prediction_files import Columns, Texts, as_pandas
from data_prep.prediction.structure_files import StructureRecord
from data_prep.structures.watchdog import worker_pool
from pipeline.model.description import Selection
from pipeline.model.folder import OpenModel
from pipeline.model.prediction_tables import as_table
from pipeline.model.predictions import predict_batch

_ROWS = 4096  # structures at a time


class ServedModel:
    """A model in a server; the process that standardises structures is kept between requests."""

    def __init__(self, folder: Path) -> None:
        self._model = OpenModel(folder)
        self._selection = Selection(self._model.description, None)
        self._children = ExitStack()
        self._children.enter_context(worker_pool())

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401, ARG002 -- MLflow's
        """Predictions for a data frame with a column `smiles`, one row for each of its rows, in the same order.

        The columns are those of `hocket predict --format wide` without row and id, and `reason`: why a structure cannot
        be used, else None. Such a structure has None as numbers and is outside the applicability domain. Missing
        numbers are None rather than NaN, which JSON does not have.
        """
        smiles = [text if isinstance(text, str) else None for text in model_input["smiles"].tolist()]
        parts = [self._columns(smiles[start : start + _ROWS]) for start in range(0, max(len(smiles), 1), _ROWS)]
        table = as_pandas({name: _joined([part[name] for part in parts]) for name in parts[0]})
        return table.astype(object).where(table.notna(), None) if table.isna().any(axis=None) else table

    def _columns(self, smiles: list[str | None]) -> Columns:
        records = [StructureRecord(i, str(i), text, None) for i, text in enumerate(smiles)]
        batch = predict_batch(self._model, records)
        table = as_table("wide", batch.rows, batch.ids, batch.prediction, self._selection)
        reasons = {record.input_row: record.reason for record in batch.refused}
        columns: dict[str, Any] = {"reason": Texts([reasons.get(i) for i in range(len(smiles))])}
        for name, values in table.items():
            if isinstance(values, np.ndarray) and name != "input_row":
                column = (
                    np.zeros(len(smiles), bool) if values.dtype == bool else np.full(len(smiles), np.nan, np.float32)
                )
                column[batch.rows] = values
                columns[name] = column
        return columns


def _joined(parts: list[Any]) -> Any:  # noqa: ANN401 -- arrays or Texts
    if isinstance(parts[0], Texts):
        return Texts([text for part in parts for text in part.values])
    return np.concatenate(parts)
