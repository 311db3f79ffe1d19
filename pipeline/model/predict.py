"""`hocket predict`: from a file of structures to a table of predictions, batch by batch."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.prediction.fingerprints import fingerprint
from data_prep.prediction.prediction_files import Sink, Texts, check_kind, growing_table, growing_tables
from data_prep.prediction.structure_files import StructureRecord, read_batches
from data_prep.structures.watchdog import worker_pool
from partners.models.final_model import Prediction
from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.model.description import Selection, Which
from pipeline.model.folder import OpenModel
from pipeline.model.prediction_tables import Format, as_table
from pipeline.model.rebuild import remake_final_model
from pipeline.plan.member_configs import PartnerConfig
from pipeline.report.report import read_report
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_MOST_ROWS = 4096  # compounds of a batch
_MOST_CELLS = 1 << 20  # compounds x tasks of a batch: with the rows, what bounds memory
_MOST_SHOWN = 20  # rejected rows on a screen
_TELL_S = 10.0  # seconds between two lines of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    structures: Path
    output: Path | None = None  # None: CSV to standard output
    tasks: tuple[str, ...] | None = None  # None: all but auxiliary ones
    which: Which | None = None  # None: the model that the gate says to use
    format: Format = "long"


def predict_structures(config_file: Path, wanted: Wanted, log: Log | None = None) -> None:
    """Predict for a file of structures; rejected rows go to a table beside the output.

    Raises NotYet before the federation is finished here, ConfigError for tasks the model does not have or an output in
    the input's place, data_prep.errors.TableError for a file that cannot be read. Then no output is written.
    """
    config = PartnerConfig.read(config_file)
    reporter, rejected_file = ProgressReporter(config.name, log), _rejected_file(wanted)
    if not Home(config.home_folder).model.exists():
        read_report(Home(config.home_folder))  # NotYet before the federation is finished here
        with Home(config.home_folder).alone():
            reporter.report("the finished model is not there: it is made from what the home keeps")
            remake_final_model(config)
    model = OpenModel(Home(config.home_folder).model, wanted.which)
    selection = Selection(model.description, wanted.tasks)
    reporter.report(_announcement(model, selection))
    cache = Home(config.home_folder).structures_cache
    tally = _Tally(reporter)
    with _tables(wanted.output, rejected_file) as (sink, reject):
        for batch in _batches(model, wanted.structures, config.n_workers, cache):
            sink(as_table(wanted.format, batch.rows, batch.ids, batch.found, selection))
            reject(_as_rejected_table(batch.refused))
            tally.add(batch)
    tally.tell(rejected_file)


@dataclass(frozen=True, slots=True, eq=False)
class PredictionBatch:
    """Some records of a file: those predicted for, and those that cannot be."""

    rows: NDArray[np.int64]
    ids: list[str | None]
    found: Prediction
    refused: list[StructureRecord]


def predict_batch(
    model: OpenModel, records: list[StructureRecord], *, workers: int = 1, cache: Path | None = None
) -> PredictionBatch:
    """Standardise, fingerprint and predict; the same for a record alone and in any company."""
    told = model.description
    usable = [record for record in records if record.reason is None]
    made = fingerprint(
        [record.text for record in usable],
        told.chemistry,
        told.fingerprint,
        model.places,
        workers=workers,
        timeout_s=told.compound_timeout_s,
        cache=cache,
    )
    accepted = [usable[i] for i in made.accepted]
    refused = [
        StructureRecord(record.input_row, record.compound_id, None, reason)
        for record, reason in zip(usable, made.reasons, strict=True)
        if reason is not None
    ]
    refused += [record for record in records if record.reason is not None]
    return PredictionBatch(
        rows=np.array([record.input_row for record in accepted], dtype=np.int64),
        ids=[record.compound_id for record in accepted],
        found=model.predictor.predict(made.x),
        refused=sorted(refused, key=lambda record: record.input_row),
    )


def _batches(model: OpenModel, structures: Path, workers: int, cache: Path) -> Iterator[PredictionBatch]:
    """At least one, so that an empty file gives a table without rows."""
    told = model.description
    n_tasks = len(told.tasks) + len(told.regression_tasks)
    n_rows = max(128, min(_MOST_ROWS, _MOST_CELLS // max(n_tasks, 1)))
    is_empty = True
    with worker_pool():
        for records in read_batches(structures, n_rows, workers=workers, timeout_s=told.compound_timeout_s):
            is_empty = False
            yield predict_batch(model, records, workers=workers, cache=cache)
        if is_empty:
            yield predict_batch(model, [])


class _Tally:
    """Counts batches and says so on stderr: how far it is now and then, and at the end what was rejected."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter
        self._n_rows = 0
        self._counts: Counter[str | None] = Counter()
        self._first: list[StructureRecord] = []
        self._started = self._told = time.monotonic()

    def add(self, batch: PredictionBatch) -> None:
        self._n_rows += len(batch.rows) + len(batch.refused)
        self._counts.update(record.reason for record in batch.refused)
        self._first += batch.refused[: _MOST_SHOWN - len(self._first)]
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            rate = self._n_rows / (now - self._started)
            self._reporter.report(f"{self._n_rows} structures so far, {rate:.0f} a second")

    def tell(self, rejected_file: Path | None) -> None:
        say, n_rejected = self._reporter.report, self._counts.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self._counts.items(), key=str))
        say(f"{self._n_rows - n_rejected} of {self._n_rows} structures predicted")
        if n_rejected:
            say(f"{n_rejected} rejected: {reasons}" + (f"; listed in {rejected_file}" if rejected_file else ""))
        if n_rejected and rejected_file is None:
            for record in self._first:
                say(f"rejected: row {record.input_row}, {record.compound_id or 'no id'}: {record.reason}")
            if n_rejected > len(self._first):
                say(f"and {n_rejected - len(self._first)} more; with --output a file beside it lists all of them")


def _rejected_file(wanted: Wanted) -> Path | None:
    """NAME.rejected.csv beside the output; refuses an output that is the input."""
    if wanted.output is None:
        return None
    kind = check_kind(wanted.output)
    rejected = wanted.output.with_name(f"{wanted.output.name[: -len(kind)]}.rejected.csv")
    if wanted.structures.resolve() in (wanted.output.resolve(), rejected.resolve()):
        raise ConfigError(f"{wanted.structures}: is the input, expected another file for the output")
    return rejected


@contextmanager
def _tables(output: Path | None, rejected_file: Path | None) -> Iterator[tuple[Sink, Sink]]:
    """What takes predictions and what takes rejected rows; both files appear together."""
    if output is None or rejected_file is None:
        with growing_table(None) as sink:
            yield sink, lambda _columns: None
        return
    with growing_tables(rejected_file, output) as (reject, sink):
        yield sink, reject


def _as_rejected_table(refused: list[StructureRecord]) -> dict[str, NDArray[np.int64] | Texts]:
    return {
        "input_row": np.array([record.input_row for record in refused], dtype=np.int64),
        "input_compound_id": Texts([record.compound_id for record in refused]),
        "reason": Texts([record.reason for record in refused]),
    }


def _announcement(model: OpenModel, selection: Selection) -> str:
    """Which model, for which tasks, and what it says nothing about."""
    classes, regressions = selection.classes, selection.regressions
    silent = int(model.calibration.too_few[classes].sum())
    narrow = int((model.calibration.half_widths()[regressions] != model.calibration.half_widths()[regressions]).sum())
    said = f"{model.which} model: {len(classes)} classification and {len(regressions)} regression tasks"
    if silent:
        said += f"; {silent} without p-values"
    if narrow:
        said += f"; {narrow} without interval"
    return said + (": too few labels to calibrate" if silent or narrow else "")
