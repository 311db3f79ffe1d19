"""`hocket predict`: read a file of structures batch by batch and write a table of predictions."""

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
from pipeline.model.rebuild import rebuild_final_model
from pipeline.plan.member_configs import PartnerConfig
from pipeline.report.report import read_report
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_MOST_ROWS = 4096  # compounds of a batch
_MOST_CELLS = 1 << 20  # compounds x tasks of a batch; both limits together bound memory
_MOST_SHOWN = 20  # rejected rows shown on stderr
_REPORT_S = 10.0  # seconds between two lines of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """The options of the command line."""

    structures: Path
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
    reporter, rejected_file = ProgressReporter(config.name, log), _rejected_file(options)
    if not Home(config.home_folder).model.exists():
        read_report(Home(config.home_folder))  # NotYet before the federation is finished here
        with Home(config.home_folder).alone():
            reporter.report("the finished model is missing: it is made again from the files in the home")
            rebuild_final_model(config)
    model = OpenModel(Home(config.home_folder).model, options.which)
    selection = Selection(model.description, options.tasks)
    reporter.report(_announcement(model, selection))
    cache = Home(config.home_folder).structures_cache
    tally = _Tally(reporter)
    with _tables(options.output, rejected_file) as (sink, reject):
        for batch in _batches(model, options.structures, config.n_workers, cache):
            sink(as_table(options.format, batch.rows, batch.ids, batch.prediction, selection))
            reject(_as_rejected_table(batch.refused))
            tally.add(batch)
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
    description = model.description
    usable = [record for record in records if record.reason is None]
    prepared = fingerprint(
        [record.text for record in usable],
        description.chemistry,
        description.fingerprint,
        model.places,
        workers=workers,
        timeout_s=description.compound_timeout_s,
        cache=cache,
        descriptors=description.descriptors is not None,
    )
    accepted = [usable[i] for i in prepared.accepted]
    refused = [
        StructureRecord(record.input_row, record.compound_id, None, reason)
        for record, reason in zip(usable, prepared.reasons, strict=True)
        if reason is not None
    ]
    refused += [record for record in records if record.reason is not None]
    return PredictionBatch(
        rows=np.array([record.input_row for record in accepted], dtype=np.int64),
        ids=[record.compound_id for record in accepted],
        prediction=model.predictor.predict(prepared.x, prepared.descriptors),
        refused=sorted(refused, key=lambda record: record.input_row),
    )


def _batches(model: OpenModel, structures: Path, workers: int, cache: Path) -> Iterator[PredictionBatch]:
    """Yield predictions batch by batch; at least one batch, so that an empty file gives a table without rows."""
    description = model.description
    n_tasks = len(description.tasks) + len(description.regression_tasks)
    n_rows = max(128, min(_MOST_ROWS, _MOST_CELLS // max(n_tasks, 1)))
    is_empty = True
    with worker_pool():
        for records in read_batches(structures, n_rows, workers=workers, timeout_s=description.compound_timeout_s):
            is_empty = False
            yield predict_batch(model, records, workers=workers, cache=cache)
        if is_empty:
            yield predict_batch(model, [])


class _Tally:
    """Counts structures, and reports progress and rejected rows on stderr."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter
        self._n_rows = 0
        self._counts: Counter[str | None] = Counter()
        self._first: list[StructureRecord] = []
        self._started = self._reported = time.monotonic()

    def add(self, batch: PredictionBatch) -> None:
        self._n_rows += len(batch.rows) + len(batch.refused)
        self._counts.update(record.reason for record in batch.refused)
        self._first += batch.refused[: _MOST_SHOWN - len(self._first)]
        now = time.monotonic()
        if now - self._reported >= _REPORT_S:
            self._reported = now
            rate = self._n_rows / (now - self._started)
            self._reporter.report(f"{self._n_rows} structures so far, {rate:.0f} a second")

    def report(self, rejected_file: Path | None) -> None:
        report, n_rejected = self._reporter.report, self._counts.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self._counts.items(), key=str))
        report(f"{self._n_rows - n_rejected} of {self._n_rows} structures predicted")
        if n_rejected:
            report(f"{n_rejected} rejected: {reasons}" + (f"; listed in {rejected_file}" if rejected_file else ""))
        if n_rejected and rejected_file is None:
            for record in self._first:
                report(f"rejected: row {record.input_row}, {record.compound_id or 'no id'}: {record.reason}")
            if n_rejected > len(self._first):
                report(f"and {n_rejected - len(self._first)} more; --output NAME.csv lists all in NAME.rejected.csv")


def _rejected_file(options: PredictOptions) -> Path | None:
    """The path NAME.rejected.csv in the output's folder. Raises ConfigError for an output that is the input."""
    if options.output is None:
        return None
    kind = check_kind(options.output)
    rejected = options.output.with_name(f"{options.output.name[: -len(kind)]}.rejected.csv")
    if options.structures.resolve() in (options.output.resolve(), rejected.resolve()):
        raise ConfigError(f"{options.structures}: is the input file, expected another file for the output")
    return rejected


@contextmanager
def _tables(output: Path | None, rejected_file: Path | None) -> Iterator[tuple[Sink, Sink]]:
    """Open both output tables, for predictions and rejected rows; both files appear together at the end."""
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
    """Text with the model, the numbers of tasks, and of tasks without p-values or intervals."""
    classes, regressions = selection.classes, selection.regressions
    n_without_p = int(model.calibration.too_few[classes].sum())
    n_without_interval = int(
        (model.calibration.half_widths()[regressions] != model.calibration.half_widths()[regressions]).sum()
    )
    text = f"{model.which} model: {len(classes)} classification and {len(regressions)} regression tasks"
    if n_without_p:
        text += f"; {n_without_p} without p-values"
    if n_without_interval:
        text += f"; {n_without_interval} without interval"
    return text + (": too few labels to calibrate" if n_without_p or n_without_interval else "")
