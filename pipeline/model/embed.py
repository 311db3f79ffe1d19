"""`hocket embed`: the federated trunk's hidden layer for a file of structures, for models of the partner's own."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.prediction_files import NPZ, Texts
from pipeline.home.paths import Home
from pipeline.model.folder import OpenModel
from pipeline.model.rebuild import model_folder
from pipeline.model.structure_batches import (
    StructureBatch,
    StructureInput,
    Tally,
    as_rejected_table,
    check_structures,
    open_tables,
    rejected_file_of,
    structure_batches,
)
from pipeline.plan.member_configs import PartnerConfig
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_KINDS = (".parquet", NPZ)
_MOST_ROWS = 4096  # compounds of a batch


def embed_structures(
    config_file: Path,
    structures: Path,
    output: Path,
    log: Log | None = None,
    *,
    id_column: str | None = None,
    smiles_column: str | None = None,
) -> None:
    """Write row, id and hidden layer after ReLU of each structure; rejected rows go to a second table next to it.

    output : `.parquet` with columns input_row, input_compound_id, h0000, h0001, ...; or `.npz` with arrays input_row,
             ids and hidden (n, n_units)
    id_column, smiles_column : names of the columns in the file; None: as the configuration names them
    Raises as PredictRequest and `predict_structures`; on an error no output is written.
    """
    config = PartnerConfig.read(config_file)
    reporter, rejected_file = ProgressReporter(config.name, log), rejected_file_of(output, structures, _KINDS)
    new = StructureInput(structures, config.data.own.columns, id_column=id_column, smiles_column=smiles_column)
    check_structures(new)
    model = OpenModel(model_folder(config, reporter), "federated")
    reporter.report(f"hidden layer of the federated trunk: {model.description.trunk.hidden[-1]} units")
    tally = Tally(reporter, "embedded")
    as_arrays = output.name.lower().endswith(NPZ)
    cache = Home(config.home_folder).structures_cache
    with open_tables(output, rejected_file) as (sink, reject):
        for batch in structure_batches(model, new, _MOST_ROWS, config.n_workers, cache):
            sink(_columns(batch, model.base.hidden(batch.x), as_arrays=as_arrays))
            reject(as_rejected_table(batch.refused))
            tally.add(batch)
    tally.report(rejected_file)


def _columns(batch: StructureBatch, hidden: NDArray[np.float32], *, as_arrays: bool) -> dict[str, NDArray[Any] | Texts]:
    if as_arrays:
        return {"input_row": batch.rows, "ids": Texts(batch.ids), "hidden": hidden}
    units = {f"h{i:04d}": np.ascontiguousarray(hidden[:, i]) for i in range(hidden.shape[1])}
    return {"input_row": batch.rows, "input_compound_id": Texts(batch.ids), **units}
