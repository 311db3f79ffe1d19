"""hocket in Python, for notebooks and scripts: plans, models, reports and the state of a federation.

Nothing here prints or writes a file. Errors are those of the commands, with the same texts; most have an `exit_code`,
with which the command would end. Libraries are loaded when a function needs them.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from data_prep.prediction.structure_files import StructureRecord
    from pipeline.audit.member_states import Status
    from pipeline.audit.verify import AuditTrail
    from pipeline.model.description import Description, Which
    from pipeline.model.folder import OpenModel
    from pipeline.model.predict_request import Format
    from pipeline.model.structure_batches import StructureBatch
    from pipeline.plan.plan import Plan
    from pipeline.report.schema import Report

__all__ = ["Model", "open_model", "read_plan", "read_report", "read_status", "verify"]

_ROWS = 1024  # structures at a time; no result depends on it

AnyPath = str | os.PathLike[str]
T = TypeVar("T")


def read_plan(plan_file: AnyPath) -> "Plan":
    """Read a plan.toml and check the signature of every card; its settings are attributes, as `plan.rounds.n_rounds`.

    Raises ConfigError for a wrong setting or file, secure.errors.BadCard for a forged or damaged card.
    """
    from pipeline.plan import plan

    return plan.read_plan(Path(plan_file))


def read_status(plan: "Plan", exchange: AnyPath) -> "Status":
    """Read the state of a federation and of its members from its exchange (folder or URL); needs no key.

    Raises ExchangeError if the exchange cannot be read or has no message of this plan.
    """
    from pipeline.audit.status import StatusReader
    from pipeline.exchange.storage import exchange_at

    return StatusReader(plan, exchange_at(os.fspath(exchange), Path())).read_status()


def verify(plan: "Plan", exchange: AnyPath, *, recompute: bool = True) -> "AuditTrail":
    """Check all messages in an exchange (folder or URL) against a plan, as `hocket verify` does; needs no key.

    recompute : add the updates of every sum again, on all cores
    Raises secure.errors.SecureError, BrokenTranscript, Equivocation or ExchangeConflict, naming the first file or
    attempt that is wrong; ExchangeError if there is nothing to check.
    """
    from pipeline.audit.verify import audit
    from pipeline.exchange.storage import exchange_at

    opened = exchange_at(os.fspath(exchange), Path())
    return audit(plan, opened, now=time.time(), recompute=recompute, workers=_n_cores())


def read_report(config_file: AnyPath) -> "Report":
    """Read the report of a partner's finished run; config_file: its partner.toml. `to_json()` has it as plain values.

    Raises NotYet before the federation is finished there, DamagedReport for a report of another version or a damaged
    one, ConfigError for a wrong configuration.
    """
    from pipeline.home.paths import Home
    from pipeline.plan.member_configs import PartnerConfig
    from pipeline.report import report

    return report.read_report(Home(PartnerConfig.read(Path(config_file)).home_folder))


def open_model(path: AnyPath, which: "Which | None" = None, *, workers: int | None = None) -> "Model":
    """Open a partner's finished model.

    path    : the partner's partner.toml, or the folder of a model
    which   : "federated" or "local"; None: the model that the gate keeps
    workers : most processes that standardise structures; None: one for each core
    Raises NotYet before the federation is finished there, ConfigError or partners.errors.TrainingError for a missing or
    damaged model.
    """
    folder = Path(path) if Path(path).is_dir() else _model_folder(Path(path))
    return Model(folder, which, workers=workers or _n_cores())


def _model_folder(config_file: Path) -> Path:
    from pipeline.audit.provenance import check_signature
    from pipeline.errors import ConfigError
    from pipeline.home.paths import Home
    from pipeline.plan.member_configs import PartnerConfig

    home = Home(PartnerConfig.read(config_file).home_folder)
    folder = home.model
    if not folder.exists():
        read_report(config_file)  # raises NotYet before the federation is finished here
        error = ConfigError(f"{folder}: no such folder, expected the finished model")
        error.add_note(f"`hocket predict {config_file} --list-tasks` makes it again from the other files in the home")
        raise error
    check_signature(folder, home.keys / "card.toml")
    return folder


class Model:
    """A finished model that predicts for lists of SMILES. The processes that standardise them are kept with it."""

    def __init__(self, folder: Path, which: "Which | None", *, workers: int) -> None:
        from data_prep.structures.watchdog import worker_pool
        from pipeline.model.folder import OpenModel

        self._folder, self._workers = folder, workers
        self._opened = OpenModel(folder, which)
        self._children = ExitStack()
        self._children.enter_context(worker_pool())

    @property
    def description(self) -> "Description":
        """Facts about the model, among them `tasks` and `regression_tasks`."""
        return self._opened.description

    @property
    def which(self) -> "Which":
        """The model that was opened, "federated" or "local"."""
        return self._opened.which

    def predict(
        self,
        smiles: Iterable[str | None],
        tasks: Sequence[str] | None = None,
        *,
        table_format: "Format" = "wide",
    ) -> "pl.DataFrame":
        """Predict for structures; `.to_pandas()` turns the table into one of pandas.

        smiles       : a list, or a column of Polars or pandas; each SMILES is a row, the first is input_row 1
        tasks        : assays or ASSAY@THRESHOLD; None: all but auxiliary tasks
        table_format : "wide", a row for each SMILES, or "long", a row for each SMILES and task
        The columns are those of `hocket predict` with smiles, and reason: why a SMILES cannot be used, else null. Such
        a SMILES has one row, and null in all other columns. Raises ConfigError for a task that the model does not have.
        """
        import polars as pl

        from data_prep.prediction.list_results import beside_structures
        from pipeline.model.description import Selection
        from pipeline.model.prediction_tables import as_table

        selection = Selection(self.description, tasks)

        def table(records: "list[StructureRecord]", batch: "StructureBatch") -> pl.DataFrame:
            prediction = self._opened.predictor.predict(batch.x, batch.descriptors)
            columns = as_table(table_format, batch.rows, batch.ids, prediction, selection)
            return beside_structures(records, batch.refused, columns)

        return pl.concat(self._in_batches(smiles, table))

    def embed(self, smiles: Iterable[str | None]) -> "NDArray[np.float32]":
        """The federated trunk's hidden layer (after ReLU) for structures: inputs for models of your own.

        smiles : as for predict
        Returns an array (n_smiles, n_units); the row of a SMILES that cannot be used is NaN.
        """
        import numpy as np

        base = self._federated.base

        def hidden(records: "list[StructureRecord]", batch: "StructureBatch") -> "NDArray[np.float32]":
            layer = base.hidden(batch.x)
            rows = np.full((len(records), layer.shape[1]), np.nan, np.float32)
            if records:
                rows[batch.rows - records[0].input_row] = layer
            return rows

        return np.concatenate(list(self._in_batches(smiles, hidden)))

    @cached_property
    def _federated(self) -> "OpenModel":
        from pipeline.model.folder import OpenModel

        return self._opened if self.which == "federated" else OpenModel(self._folder, "federated")

    def _in_batches(
        self, smiles: Iterable[str | None], result: "Callable[[list[StructureRecord], StructureBatch], T]"
    ) -> Iterator[T]:
        """Yield the result of each batch; at least one, so that an empty list gives an empty result."""
        from pipeline.model.structure_batches import prepare_batch

        records = _records(smiles)
        for start in range(0, max(len(records), 1), _ROWS):
            part = records[start : start + _ROWS]
            yield result(part, prepare_batch(self._opened, part, workers=self._workers))


def _records(smiles: Iterable[str | None]) -> "list[StructureRecord]":
    from data_prep.prediction.structure_files import StructureRecord

    if isinstance(smiles, str):
        raise TypeError("smiles: found one text, expected a list of texts")
    texts = (text if isinstance(text, str) else None for text in smiles)  # pandas has NaN for a missing text
    return [StructureRecord(row, None, text, None) for row, text in enumerate(texts, 1)]


def _n_cores() -> int:
    return len(os.sched_getaffinity(0))
