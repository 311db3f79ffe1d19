"""The prepared folder: what `prepare` wrote, read back and checked. Needs no RDKit.

x.npz, y_class.npz, folding.npy and cls_weights.csv load into SparseChem unchanged. Beside them lie tasks.parquet (one
row per task, by `task_id`), assays.parquet (what each accepted assay gave), compounds.parquet (every input id and its
row), rejected.parquet (every row left out, and why) and manifest.json (inputs, settings, counts, digests).
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from data_prep.errors import PreparedError
from data_prep.version import FORMAT_VERSION

X_FILE, Y_FILE, FOLDING_FILE, WEIGHTS_FILE = "x.npz", "y_class.npz", "folding.npy", "cls_weights.csv"
TASKS_FILE, ASSAYS_FILE = "tasks.parquet", "assays.parquet"
COMPOUNDS_FILE, REJECTED_FILE = "compounds.parquet", "rejected.parquet"
MANIFEST_FILE = "manifest.json"
_KIND = "hocket prepared"
_FILES = {X_FILE, Y_FILE, FOLDING_FILE, WEIGHTS_FILE, TASKS_FILE, ASSAYS_FILE, COMPOUNDS_FILE, REJECTED_FILE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One classification task: an assay at a threshold."""

    task_id: int  # column of y
    input_assay_id: str
    catalog_assay_id: str | None
    assay_type: str
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """One partner's matrices, consistent with each other."""

    x: sparse.csr_matrix  # (n_compounds, n_bits), float32 ones, or counts
    y: sparse.csr_matrix  # (n_compounds, n_tasks), float32; 1 active, -1 inactive, not stored: not known
    folding: NDArray[np.int64]  # (n_compounds,), 0 to n_folds - 1
    tasks: tuple[Task, ...]  # by task_id
    manifest: dict[str, Any]

    def __post_init__(self) -> None:
        """Raise PreparedError unless shapes, folds, labels and tasks fit together."""
        n_compounds, n_tasks = self.x.shape[0], len(self.tasks)
        _require(
            "y_class.npz",
            f"shape {self.y.shape}",
            f"({n_compounds}, {n_tasks})",
            self.y.shape == (n_compounds, n_tasks),
        )
        _require(
            "folding.npy", f"shape {self.folding.shape}", f"({n_compounds},)", self.folding.shape == (n_compounds,)
        )
        n_folds = self.manifest["settings"]["folds"]["n_folds"]
        in_range = bool(((self.folding >= 0) & (self.folding < n_folds)).all())
        _require("folding.npy", "a fold out of range", f"0 to {n_folds - 1}", in_range)
        counted = self.manifest["settings"]["fingerprint"]["counts"]
        expected = "counts from 1" if counted else "ones only"
        _require("x.npz", "other values", expected, bool((self.x.data >= 1 if counted else self.x.data == 1).all()))
        _require("y_class.npz", "other values", "1 and -1 only", bool((np.abs(self.y.data) == 1).all()))
        in_order = [task.task_id for task in self.tasks] == list(range(n_tasks))
        _require("tasks.parquet", "task_id out of order", f"0 to {n_tasks - 1}", in_order)
        counts = [(task.n_active, task.n_inactive) for task in self.tasks]
        _require("tasks.parquet", "other label counts", "those of y_class.npz", counts == _label_counts(self.y))


def read_prepared(folder: Path) -> Prepared:
    """Return the matrices of a prepared folder.

    Raises PreparedError for a folder that is incomplete, was changed since it was written (digests in the manifest),
    or whose files do not fit together.
    """
    manifest = read_manifest(folder)
    for name in sorted(_FILES):
        _require(
            name,
            "other content than was written",
            "an unchanged file",
            _digest(folder, name) == manifest["files"][name],
        )
    try:
        x = sparse.csr_matrix(sparse.load_npz(folder / X_FILE)).astype(np.float32)
        y = sparse.csr_matrix(sparse.load_npz(folder / Y_FILE)).astype(np.float32)
        folding = np.load(folder / FOLDING_FILE, allow_pickle=False).astype(np.int64)
        tasks = tuple(Task(**row) for row in pl.read_parquet(folder / TASKS_FILE).to_dicts())
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, pl.exceptions.PolarsError) as cause:
        raise PreparedError(f"{folder.name}: a file cannot be read: {cause}") from cause
    return Prepared(x, y, folding, tasks, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return manifest.json, checked for its kind, format and list of files. Raises PreparedError."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError) as cause:
        error = PreparedError(f"{folder}: no readable {MANIFEST_FILE}, expected a prepared folder")
        error.add_note("run `hocket prepare` again")
        raise error from cause
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise PreparedError(f"{folder.name}/{MANIFEST_FILE}: expected kind {_KIND!r}")
    found = manifest.get("format")
    _require(MANIFEST_FILE, f"format {found}", f"format {FORMAT_VERSION}", found == FORMAT_VERSION)
    files = manifest.get("files")
    listed = isinstance(files, dict) and set(files) == _FILES and "n_folds" in manifest["settings"]["folds"]
    _require(MANIFEST_FILE, "another list of files", ", ".join(sorted(_FILES)), listed)
    return manifest


def is_intact(folder: Path) -> bool:
    """Say whether the folder holds every file just as it was written."""
    try:
        manifest = read_manifest(folder)
        return all(_digest(folder, name) == manifest["files"][name] for name in _FILES)
    except PreparedError:
        return False


def manifest_of(folder: Path, facts: dict[str, Any]) -> bytes:
    """Return the manifest that goes with the files in `folder`."""
    files = {name: _digest(folder, name) for name in sorted(_FILES)}
    manifest = {"kind": _KIND, "format": FORMAT_VERSION, **facts, "files": files}
    return json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"


def _digest(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise PreparedError(f"{folder.name}/{name}: cannot be read: {cause.strerror}") from cause


def _label_counts(y: sparse.csr_matrix) -> list[tuple[int, int]]:
    n_tasks = y.shape[1]
    active = np.bincount(y.indices[y.data > 0], minlength=n_tasks)
    inactive = np.bincount(y.indices[y.data < 0], minlength=n_tasks)
    return list(zip(active.tolist(), inactive.tolist(), strict=True))


def _require(name: str, found: str, expected: str, ok: bool) -> None:  # noqa: FBT001 - the condition reads best last
    if not ok:
        error = PreparedError(f"{name}: found {found}, expected {expected}")
        error.add_note("prepared folders are never edited: delete it and run `hocket prepare` again")
        raise error
