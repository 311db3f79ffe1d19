"""`hocket predict`: read a file of structures batch by batch and write a table of predictions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.structure_files import StructureRecord
from partners.models.final_model import Prediction
from pipeline.home.paths import Home
from pipeline.model.description import Selection
from pipeline.model.explain import open_explainer
from pipeline.model.folder import OpenModel
from pipeline.model.predict_request import PredictRequest
from pipeline.model.prediction_tables import as_table
from pipeline.model.rebuild import model_folder
from pipeline.model.structure_batches import (
    StructureBatch,
    Tally,
    as_rejected_table,
    open_tables,
    prepare_batch,
    structure_batches,
)
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_MOST_ROWS = 4096  # compounds of a batch
_MOST_CELLS = 1 << 20  # compounds x tasks of a batch; both limits together bound memory


def predict_structures(request: PredictRequest, log: Log | None = None) -> None:
    """Predict for a file of structures; rejected rows go to a second table in the output's folder.

    Raises data_prep.errors.TableError for a file that cannot be read to its end, and what OpenModel raises. On an error
    no output is written.
    """
    config, rejected_file, folder = request.config, request.rejected_file, request.explanation_folder
    reporter, workers = ProgressReporter(config.name, log), config.n_workers
    model = OpenModel(model_folder(config, reporter), request.which)
    selection = Selection(model.description, request.tasks)
    reporter.report(_announcement(model, selection))
    cache, tally = Home(config.home_folder).structures_cache, Tally(reporter, "predicted")
    explaining = open_explainer(folder, model, selection, request.n_explained, workers)
    tables = open_tables(request.output, rejected_file, for_spreadsheets=request.for_spreadsheets)
    with explaining as explainer, tables as (sink, reject):
        for structures in structure_batches(model, request.new, _batch_size(model), workers, cache):
            batch = _predicted(model, structures)
            sink(as_table(request.format, batch.rows, batch.ids, batch.prediction, selection))
            reject(as_rejected_table(batch.refused))
            tally.add(structures)
            if explainer:
                explainer.add(structures)
    tally.report(rejected_file)
    if explainer:
        reporter.report(f"{explainer.summary}: {folder}")


def _batch_size(model: OpenModel) -> int:
    n_tasks = len(model.description.tasks) + len(model.description.regression_tasks)
    return max(128, min(_MOST_ROWS, _MOST_CELLS // max(n_tasks, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class PredictionBatch:
    """The predictions for some records of a file, and the records that cannot be used."""

    rows: NDArray[np.int64]
    ids: list[str | None]
    prediction: Prediction
    refused: list[StructureRecord]


def predict_batch(
    model: OpenModel, records: list[StructureRecord], *, workers: int = 1, cache: Path | None = None
) -> PredictionBatch:
    """Standardise, fingerprint and predict some records; the result does not depend on the batch."""
    return _predicted(model, prepare_batch(model, records, workers=workers, cache=cache))


def _predicted(model: OpenModel, batch: StructureBatch) -> PredictionBatch:
    return PredictionBatch(batch.rows, batch.ids, model.predictor.predict(batch.x, batch.descriptors), batch.refused)


def _announcement(model: OpenModel, selection: Selection) -> str:
    """Text with the model, the numbers of tasks, and of tasks without p-values or intervals."""
    classes, regressions = selection.classes, selection.regressions
    n_without_p = int(model.predictor.too_few[classes].sum())
    n_without_interval = int(np.isnan(model.predictor.half_widths[regressions]).sum())
    text = f"{model.which} model: {len(classes)} classification and {len(regressions)} regression tasks"
    if n_without_p:
        text += f"; {n_without_p} without p-values"
    if n_without_interval:
        text += f"; {n_without_interval} without interval"
    return text + (": too few labels to calibrate" if n_without_p or n_without_interval else "")
