"""`hocket predict`: read a file of structures batch by batch and write a table of predictions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.structure_files import StructureRecord
from partners.models.final_model import Prediction
from pipeline.home.paths import Home
from pipeline.model.description import Selection, Which
from pipeline.model.folder import OpenModel
from pipeline.model.prediction_tables import Format, as_table
from pipeline.model.rebuild import model_folder
from pipeline.model.structure_batches import (
    StructureBatch,
    StructureInput,
    Tally,
    as_rejected_table,
    open_tables,
    prepare_batch,
    rejected_file_of,
    structure_batches,
)
from pipeline.plan.member_configs import PartnerConfig
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_MOST_ROWS = 4096  # compounds of a batch
_MOST_CELLS = 1 << 20  # compounds x tasks of a batch; both limits together bound memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """The options of the command line."""

    structures: Path
    id_column: str | None = None  # None: as the configuration names it
    smiles_column: str | None = None  # the same
    output: Path | None = None  # None: CSV to standard output
    tasks: tuple[str, ...] | None = None  # None: all but auxiliary ones
    which: Which | None = None  # None: the model that the gate keeps
    format: Format = "long"


def predict_structures(config_file: Path, options: PredictOptions, log: Log | None = None) -> None:
    """Predict for a file of structures; rejected rows go to a second table in the output's folder.

    Raises NotYet before the federation is finished here, ConfigError for tasks the model does not have or an output
    that would replace the input, data_prep.errors.TableError for a file that cannot be read. On an error no output is
    written.
    """
    config = PartnerConfig.read(config_file)
    reporter = ProgressReporter(config.name, log)
    rejected_file = rejected_file_of(options.output, options.structures) if options.output else None
    model = OpenModel(model_folder(config, reporter), options.which)
    selection = Selection(model.description, options.tasks)
    reporter.report(_announcement(model, selection))
    cache = Home(config.home_folder).structures_cache
    new = StructureInput(
        options.structures,
        config.data.own.columns,
        id_column=options.id_column,
        smiles_column=options.smiles_column,
    )
    tally = Tally(reporter, "predicted")
    n_tasks = len(model.description.tasks) + len(model.description.regression_tasks)
    n_rows = max(128, min(_MOST_ROWS, _MOST_CELLS // max(n_tasks, 1)))
    with open_tables(options.output, rejected_file) as (sink, reject):
        for structures in structure_batches(model, new, n_rows, config.n_workers, cache):
            batch = _predicted(model, structures)
            sink(as_table(options.format, batch.rows, batch.ids, batch.prediction, selection))
            reject(as_rejected_table(batch.refused))
            tally.add(structures)
    tally.report(rejected_file)


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
