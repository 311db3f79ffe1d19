"""The finished model as MLflow serves it: a table of SMILES in, a table of predictions out."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.prediction.prediction_files import Columns, Texts, as_pandas
from data_prep.prediction.structure_files import StructureRecord
from data_prep.structures.watchdog import worker_pool
from pipeline.model.description import Selection
from pipeline.model.folder import OpenModel
from pipeline.model.predict import predict_batch
from pipeline.model.prediction_tables import as_table

_ROWS = 4096  # structures at a time


class ServedModel:
    """A model that a server holds: the process that standardises structures stays between two requests."""

    def __init__(self, folder: Path) -> None:
        self._model = OpenModel(folder)
        self._selection = Selection(self._model.description, None)
        self._children = ExitStack()
        self._children.enter_context(worker_pool())

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401, ARG002 -- MLflow's
        """Predictions for a data frame with a column `smiles`, a row for each of its rows, in its order.

        The columns are those of `hocket predict --format wide` without row and id, and `reason`: why a structure cannot
        be used, else None; its numbers are None then and it is in no domain. What is not known is None rather than NaN,
        which a server would pass on and JSON does not have.
        """
        smiles = [text if isinstance(text, str) else None for text in model_input["smiles"].tolist()]
        parts = [self._columns(smiles[start : start + _ROWS]) for start in range(0, max(len(smiles), 1), _ROWS)]
        found = as_pandas({name: _joined([part[name] for part in parts]) for name in parts[0]})
        return found.astype(object).where(found.notna(), None) if found.isna().any(axis=None) else found

    def _columns(self, smiles: list[str | None]) -> Columns:
        records = [StructureRecord(i, str(i), text, None) for i, text in enumerate(smiles)]
        batch = predict_batch(self._model, records)
        table = as_table("wide", batch.rows, batch.ids, batch.prediction, self._selection)
        reasons = {record.input_row: record.reason for record in batch.refused}
        columns: dict[str, Any] = {"reason": Texts([reasons.get(i) for i in range(len(smiles))])}
        for name, values in table.items():
            if isinstance(values, np.ndarray) and name != "input_row":
                every = (
                    np.zeros(len(smiles), bool) if values.dtype == bool else np.full(len(smiles), np.nan, np.float32)
                )
                every[batch.rows] = values
                columns[name] = every
        return columns


def _joined(parts: list[Any]) -> Any:  # noqa: ANN401 -- arrays or Texts
    if isinstance(parts[0], Texts):
        return Texts([text for part in parts for text in part.values])
    return np.concatenate(parts)
