"""Read and check a prepared folder, the output of data_prep.preparation.prepare. Needs no RDKit.

x.npz, y_class.npz, y_regr.npz, y_censor.npz, folding.npy, cls_weights.csv and reg_weights.csv load into SparseChem
unchanged. The other files: tasks.parquet and regression_tasks.parquet (one row per task, by `task_id`), assays.parquet
(the values and tasks of each accepted assay), compounds.parquet (every input id and its row), rejected.parquet (every
rejected row and the reason), summary.json (counts) and manifest.json (inputs, settings, digests); and descriptors.npy
and days.npy (of first measurements), if these were wanted.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from data_prep.descriptors.listed import DESCRIPTORS, DESCRIPTORS_VERSION
from data_prep.errors import PreparedError
from data_prep.version import FORMAT_VERSION

X_FILE, FOLDING_FILE, DESCRIPTORS_FILE = "x.npz", "folding.npy", "descriptors.npy"
DAYS_FILE = "days.npy"
Y_FILE, WEIGHTS_FILE, TASKS_FILE = "y_class.npz", "cls_weights.csv", "tasks.parquet"
Y_REGR_FILE, Y_CENSOR_FILE = "y_regr.npz", "y_censor.npz"
REGRESSION_WEIGHTS_FILE, REGRESSION_TASKS_FILE = "reg_weights.csv", "regression_tasks.parquet"
ASSAYS_FILE, COMPOUNDS_FILE, REJECTED_FILE = "assays.parquet", "compounds.parquet", "rejected.parquet"
SUMMARY_FILE, MANIFEST_FILE = "summary.json", "manifest.json"
_KIND = "hocket prepared"
_MATRICES = {"x": X_FILE, "y": Y_FILE, "y_regr": Y_REGR_FILE, "y_censor": Y_CENSOR_FILE}
_FILES = {
    *(X_FILE, FOLDING_FILE, Y_FILE, WEIGHTS_FILE, TASKS_FILE),
    *(Y_REGR_FILE, Y_CENSOR_FILE, REGRESSION_WEIGHTS_FILE, REGRESSION_TASKS_FILE),
    *(ASSAYS_FILE, COMPOUNDS_FILE, REJECTED_FILE, SUMMARY_FILE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One classification task: an assay at a threshold."""

    task_id: int  # column of y
    input_assay_id: str
    catalog_assay_id: str | None  # of a catalogue task only
    parent_assay_id: str | None
    assay_type: str  # NON-CATALOG-PANEL for a catalogue task that failed its quorum
    threshold: float  # log units; 0 for binary assays
    threshold_method: str  # expert, fixed_adaptive, median, quartile, fixed, binary, aux_low, aux_high
    direction: str  # high, low or empty, as in T0
    is_auxiliary: bool
    n_active: int
    n_inactive: int
    min_fold_active: int  # in the fold with the fewest
    min_fold_inactive: int
    evaluated: bool  # enough actives and inactives in every fold to be scored
    training_weight: float
    aggregation_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionTask:
    """One regression task: an assay."""

    task_id: int  # column of y_regr and y_censor
    input_assay_id: str
    parent_assay_id: str | None
    assay_type: str
    is_auxiliary: bool
    n_values: int
    n_exact: int
    n_below: int  # values that are upper bounds ("<")
    n_above: int  # values that are lower bounds (">")
    min_fold_exact: int  # in the fold with the fewest
    min_fold_std: float  # smallest standard deviation of the exact values of a fold
    evaluated: bool  # every fold has enough exact values, and these differ enough, to be scored
    training_weight: float
    aggregation_weight: float
    censored_weight: float  # of a censored value in training and in scores


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAssay:
    """How much of one accepted assay was measured, and which tasks came of it."""

    input_assay_id: str
    assay_type: str
    n_values: int  # compounds with a value
    n_candidates: int  # thresholds
    n_tasks: int  # of those the ones with enough actives and inactives
    in_regression: bool
    near_constant: bool  # nearly equal values


def columns_of(task: type[Task | RegressionTask]) -> list[str]:
    """Return the names of the columns in the table of these tasks."""
    return [field.name for field in fields(task)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One partner's matrices, consistent with each other."""

    x: sparse.csr_matrix  # (n_compounds, n_bits), float32 ones, or counts if the settings ask for them
    y: sparse.csr_matrix  # (n_compounds, n_tasks), float32; 1 active, -1 inactive, not stored: unknown
    y_regr: sparse.csr_matrix  # (n_compounds, n_regression_tasks), float32 values; not stored: not measured
    y_censor: sparse.csr_matrix  # the same pattern; -1: the value is an upper bound, 1: a lower one, 0: exact
    folding: NDArray[np.int64]  # (n_compounds,), 0 to n_folds - 1
    tasks: tuple[Task, ...]  # by task_id
    regression_tasks: tuple[RegressionTask, ...]  # by task_id
    manifest: dict[str, Any]
    descriptors: NDArray[np.float32] | None = None
    """(n_compounds, n_descriptors), columns in the order of data_prep.descriptors.listed.DESCRIPTORS; NaN: no number.
    None unless they were wanted when the tables were prepared."""
    days: NDArray[np.datetime64] | None = None
    """(n_compounds,) day of each compound's first measurement, NaT: unknown; None unless a column of days was named."""

    def __post_init__(self) -> None:
        """Raise PreparedError unless shapes, folds, labels, values and tasks fit together."""
        self._check_compounds()
        self._check_descriptors()
        self._check_days()
        self._check_labels()
        self._check_values()

    def _check_compounds(self) -> None:
        counts = self.manifest["settings"]["fingerprint"].get("counts", False)
        are_counts = bool(((self.x.data > 0) & (self.x.data == np.floor(self.x.data))).all())
        allowed = are_counts if counts else bool((self.x.data == 1).all())
        _require(X_FILE, "other values", "positive whole numbers" if counts else "ones only", allowed)
        _require_shape(FOLDING_FILE, self.folding.shape, (self.x.shape[0],))
        n_folds = self.manifest["settings"]["folds"]["n_folds"]
        in_range = bool(((self.folding >= 0) & (self.folding < n_folds)).all())
        _require(FOLDING_FILE, "a fold out of range", f"0 to {n_folds - 1}", in_range)

    def _check_descriptors(self) -> None:
        version, found = self.manifest.get("descriptors"), self.descriptors
        present = {True: "descriptors", False: "no descriptors"}
        wanted = present[version is not None]
        _require(DESCRIPTORS_FILE, present[found is not None], wanted, (found is None) == (version is None))
        if found is None:
            return
        expected = f"those of version {DESCRIPTORS_VERSION}"
        _require(DESCRIPTORS_FILE, f"descriptors of version {version}", expected, version == DESCRIPTORS_VERSION)
        _require(DESCRIPTORS_FILE, f"type {found.dtype}", "float32", found.dtype == np.float32)
        _require_shape(DESCRIPTORS_FILE, found.shape, (self.x.shape[0], len(DESCRIPTORS)))
        _require(DESCRIPTORS_FILE, "infinite values", "numbers or NaN", not np.isinf(found).any())

    def _check_days(self) -> None:
        if self.days is not None:
            _require(DAYS_FILE, f"type {self.days.dtype}", "days", self.days.dtype == np.dtype("datetime64[D]"))
            _require_shape(DAYS_FILE, self.days.shape, (self.x.shape[0],))

    def _check_labels(self) -> None:
        _require_shape(Y_FILE, self.y.shape, (self.x.shape[0], len(self.tasks)))
        _require(Y_FILE, "other values", "1 and -1 only", bool((np.abs(self.y.data) == 1).all()))
        _require_in_order(TASKS_FILE, self.tasks)
        counts = [(task.n_active, task.n_inactive) for task in self.tasks]
        stored_counts = _column_counts(self.y, (1, -1))
        _require(TASKS_FILE, "other label counts", f"those of {Y_FILE}", counts == stored_counts)

    def _check_values(self) -> None:
        for name, matrix in ((Y_REGR_FILE, self.y_regr), (Y_CENSOR_FILE, self.y_censor)):
            _require_shape(name, matrix.shape, (self.x.shape[0], len(self.regression_tasks)))
        same_pattern = all(
            np.array_equal(getattr(self.y_regr, part), getattr(self.y_censor, part)) for part in ("indptr", "indices")
        )
        _require(Y_CENSOR_FILE, "another pattern", f"that of {Y_REGR_FILE}", same_pattern)
        _require(Y_REGR_FILE, "values that are not finite", "numbers", bool(np.isfinite(self.y_regr.data).all()))
        _require(Y_CENSOR_FILE, "other values", "-1, 0 and 1 only", bool(np.isin(self.y_censor.data, (-1, 0, 1)).all()))
        _require_in_order(REGRESSION_TASKS_FILE, self.regression_tasks)
        counts = [(task.n_below, task.n_exact, task.n_above) for task in self.regression_tasks]
        stored_counts = _column_counts(self.y_censor, (-1, 0, 1))
        _require(REGRESSION_TASKS_FILE, "other counts of values", f"those of {Y_CENSOR_FILE}", counts == stored_counts)


def read_prepared(folder: Path) -> Prepared:
    """Return the matrices of a prepared folder.

    Raises PreparedError for a folder that is incomplete, was changed since it was written (digests in the manifest),
    or whose files do not fit together.
    """
    manifest = read_manifest(folder)
    for name in sorted(manifest["files"]):
        _require(
            name,
            "other content than was written",
            "an unchanged file",
            _digest(folder, name) == manifest["files"][name],
        )
    try:
        matrices = {key: _read_matrix(folder / name) for key, name in _MATRICES.items()}
        folding = np.load(folder / FOLDING_FILE, allow_pickle=False).astype(np.int64)
        descriptors, days = (
            np.load(folder / name, allow_pickle=False) if name in manifest["files"] else None
            for name in (DESCRIPTORS_FILE, DAYS_FILE)
        )
        tasks = tuple(Task(**row) for row in pl.read_parquet(folder / TASKS_FILE).to_dicts())
        regression_tasks = tuple(
            RegressionTask(**row) for row in pl.read_parquet(folder / REGRESSION_TASKS_FILE).to_dicts()
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, pl.exceptions.PolarsError) as cause:
        raise PreparedError(f"{folder.name}: a file cannot be read: {cause}") from cause
    return Prepared(
        **matrices,
        folding=folding,
        tasks=tasks,
        regression_tasks=regression_tasks,
        manifest=manifest,
        descriptors=descriptors,
        days=days,
    )


def read_measured_assays(folder: Path) -> tuple[MeasuredAssay, ...]:
    """Return the counts of every accepted assay of a prepared folder. Raises PreparedError when they were changed."""
    written = read_manifest(folder)["files"][ASSAYS_FILE]
    _require(
        ASSAYS_FILE, "other content than was written", "an unchanged file", _digest(folder, ASSAYS_FILE) == written
    )
    names = [field.name for field in fields(MeasuredAssay)]
    return tuple(MeasuredAssay(**row) for row in pl.read_parquet(folder / ASSAYS_FILE, columns=names).to_dicts())


def read_summary(folder: Path) -> dict[str, Any]:
    """Return summary.json, see `data_prep.preparation.summary`. Raises PreparedError if it is missing or changed."""
    written = read_manifest(folder)["files"][SUMMARY_FILE]
    _require(
        SUMMARY_FILE, "other content than was written", "an unchanged file", _digest(folder, SUMMARY_FILE) == written
    )
    summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_bytes())
    return summary


def _read_matrix(path: Path) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix(sparse.load_npz(path)).astype(np.float32, copy=False)
    matrix.sort_indices()
    return matrix


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return manifest.json, checked for its kind, format and list of files. Raises PreparedError."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError, RecursionError) as cause:
        error = PreparedError(f"{folder}: no readable {MANIFEST_FILE}, expected a prepared folder")
        error.add_note("run `hocket prepare` again")
        raise error from cause
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise PreparedError(f"{folder.name}/{MANIFEST_FILE}: expected kind {_KIND!r}")
    version = manifest.get("format")
    _require(MANIFEST_FILE, f"format {version}", f"format {FORMAT_VERSION}", version == FORMAT_VERSION)
    files = manifest.get("files")
    expected = _files_of(manifest)
    complete = isinstance(files, dict) and set(files) == expected and "n_folds" in manifest["settings"]["folds"]
    _require(MANIFEST_FILE, "another list of files", ", ".join(sorted(expected)), complete)
    return manifest


def is_intact(folder: Path) -> bool:
    """Return whether the folder holds every file unchanged."""
    try:
        manifest = read_manifest(folder)
        return all(_digest(folder, name) == digest for name, digest in manifest["files"].items())
    except PreparedError:
        return False


def manifest_of(folder: Path, facts: dict[str, Any]) -> bytes:
    """Return the bytes of manifest.json: `facts` and the digests of the files in `folder`."""
    files = {name: _digest(folder, name) for name in sorted(_files_of(facts))}
    manifest = {"kind": _KIND, "format": FORMAT_VERSION, **facts, "files": files}
    return json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"


def _files_of(manifest: dict[str, Any]) -> set[str]:
    """Return the names of the files that belong to the manifest's facts."""
    files = _FILES if manifest.get("descriptors") is None else _FILES | {DESCRIPTORS_FILE}
    return files | {DAYS_FILE} if manifest.get("own_tables", {}).get("date_column") else files


def _digest(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise PreparedError(f"{folder.name}/{name}: cannot be read: {cause.strerror}") from cause


def _column_counts(matrix: sparse.csr_matrix, values: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return for each column how many of its stored entries have each value."""
    counts = [np.bincount(matrix.indices[matrix.data == value], minlength=matrix.shape[1]).tolist() for value in values]
    return list(zip(*counts, strict=True))


def _require_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    _require(name, f"shape {found}", f"{expected}", found == expected)


def _require_in_order(name: str, tasks: tuple[Task, ...] | tuple[RegressionTask, ...]) -> None:
    in_order = [task.task_id for task in tasks] == list(range(len(tasks)))
    _require(name, "task_id out of order", f"0 to {len(tasks) - 1}", in_order)


def _require(name: str, found: str, expected: str, ok: bool) -> None:  # noqa: FBT001 - the condition reads best last
    if not ok:
        error = PreparedError(f"{name}: found {found}, expected {expected}")
        error.add_note("prepared folders are never edited: delete it and run `hocket prepare` again")
        raise error
