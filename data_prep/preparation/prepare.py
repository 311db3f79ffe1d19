"""Turn a partner's tables into a prepared folder of matrices."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import rdkit
from scipy import sparse

from data_prep import prepared
from data_prep.atomic import atomic_folder
from data_prep.descriptors.listed import DESCRIPTORS_VERSION
from data_prep.errors import TableError
from data_prep.folds.compounds import Compounds, make_compounds
from data_prep.folds.folds import balance_warnings
from data_prep.folds.keyed import keyed_digest, require_strong_seed
from data_prep.labels.all_tasks import make_tasks
from data_prep.labels.plausibility import PlausibleActivities
from data_prep.labels.regression import value_matrices
from data_prep.labels.tasks import assay_report, label_matrix
from data_prep.preparation.input_tables import Days, InputTables, read_tables
from data_prep.preparation.losses import Losses, expect_few, implausible_notes
from data_prep.preparation.summary import (
    assay_summary,
    classification_summary,
    fold_summary,
    regression_summary,
    table_summary,
)
from data_prep.settings import OwnTables, Preparation
from data_prep.structures.steps import CRASHED, TIMEOUT
from data_prep.structures.structures import StructureProgress, StructureWorkers
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S
from data_prep.tables.plain_file import open_plain
from data_prep.version import CODE_VERSION, FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class _Result:
    compounds: Compounds
    n_ids: int  # accepted compound ids
    tasks: pl.DataFrame  # all candidates, with their quorums
    regression: pl.DataFrame  # the same
    assays: pl.DataFrame
    y: sparse.csr_matrix
    y_regr: sparse.csr_matrix
    y_censor: sparse.csr_matrix
    rejected: pl.DataFrame
    n_rows: dict[str, int]  # of each input table
    losses: Losses
    plausible: PlausibleActivities
    notes: tuple[str, ...]  # about columns that are not read
    days: Days | None  # of each compound's first measurement

    @property
    def trained(self) -> pl.DataFrame:
        return self.tasks.filter("training_quorum").sort("task_id")

    @property
    def trained_regression(self) -> pl.DataFrame:
        return self.regression.filter("training_quorum").sort("task_id")


_ANY_TABLES = OwnTables()


def prepare(  # noqa: PLR0913 - inputs of a run; all after the tables' settings by keyword
    t0: Path,
    t1: Path,
    t2: Path,
    settings: Preparation,
    structure_seed: bytes,
    prepared_root: Path,
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
    descriptors: bool = False,
    own: OwnTables = _ANY_TABLES,
) -> Path:
    """Prepare the tables; return the prepared folder (see data_prep.prepared), `prepared_root`/<digest>.

    The digest is SHA-256 over the input files, settings, a commitment to the seed and the versions; an intact folder
    that exists is returned at once. The folder appears complete or not at all, and its bytes depend only on what the
    digest covers, unless a structure takes longer than `timeout_s` or its process dies (rejected as `timeout` and
    `crashed`). `timeout_s` is part of the digest, so a longer limit gives such structures another chance; `cache`,
    the file of earlier results, is not. `progress` is called with (done, total) structures.
    `workers` are processes of this machine or a cluster, which is used only if the cache lacks structures.
    `descriptors`: whether RDKit's descriptors of the compounds are added; it changes the digest and no other file.
    `own`: names of columns, unit of T1's values, and how much of T1 may be left out, which is no part of the digest.

    Raises TableError for a file that is no such table, StructureSeedError for a seed of fewer than 32 bytes,
    TooMuchLeftOut before structures are standardised, or afterwards if it is because of them, and the errors of the
    cluster.
    """
    require_strong_seed(structure_seed)
    identity = _identity(t0, t1, t2, settings, structure_seed) | {"timeout_s": timeout_s}
    identity |= {"descriptors": DESCRIPTORS_VERSION} if descriptors else {}
    identity |= {"own_tables": own.reading} if own.reading else {}
    folder = prepared_root / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if prepared.is_intact(folder):
        expect_few(_losses_in(folder), own)
        return folder

    def compounds_of(structures: pl.DataFrame) -> Compounds:
        return make_compounds(
            structures,
            settings,
            structure_seed,
            workers=workers,
            timeout_s=timeout_s,
            cache=cache,
            progress=progress,
            descriptors=descriptors,
        )

    result = _compute(read_tables(t0, t1, t2, settings, own), settings, own, compounds_of)
    with atomic_folder(folder) as unfinished:
        _write(unfinished, result, _summary(result, settings), {**identity, "digest": folder.name})
    expect_few(result.losses, own)
    return folder


def _compute(
    tables: InputTables, settings: Preparation, own: OwnTables, compounds_of: Callable[[pl.DataFrame], Compounds]
) -> _Result:
    tables.expect_few(settings, own)  # before the long step
    compounds = compounds_of(tables.structures.accepted)
    values = tables.values(compounds.rows, settings)
    rejected = tables.all_rejected(compounds.rejected, values.rejected)
    n_compounds = compounds.x.shape[0]
    made = make_tasks(tables.settled, values.accepted, compounds.folding, settings)
    y_regr, y_censor = value_matrices(made.regression, values.accepted, n_compounds)
    return _Result(
        compounds=compounds,
        n_ids=compounds.rows.height,
        tasks=made.classification,
        regression=made.regression,
        assays=assay_report(tables.settled, values.accepted, made.classification, made.regression, settings.activities),
        y=label_matrix(made.classification, made.labels, n_compounds),
        y_regr=y_regr,
        y_censor=y_censor,
        rejected=rejected.sort("table", "input_row"),
        n_rows=tables.n_rows,
        losses=tables.losses(values, rejected, settings, own),
        plausible=tables.plausible,
        notes=tables.notes,
        days=tables.first_days(compounds.rows, settings, n_compounds) if own.date_column else None,
    )


def _identity(t0: Path, t1: Path, t2: Path, settings: Preparation, structure_seed: bytes) -> dict[str, Any]:
    return {
        "inputs": {"T0": _file_digest(t0), "T1": _file_digest(t1), "T2": _file_digest(t2)},
        "settings": asdict(settings),
        "seed_commitment": keyed_digest(structure_seed, b"hocket structure seed commitment").hex(),
        "versions": {"rdkit": rdkit.__version__, "code": CODE_VERSION, "format": FORMAT_VERSION},
    }


def _file_digest(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise TableError(f"{path.name}: cannot be read: {cause.strerror}") from cause


def _summary(result: _Result, settings: Preparation) -> dict[str, Any]:
    n_compounds = result.compounds.x.shape[0]
    folds = fold_summary(result.compounds.folding, result.compounds.balance, result.y, result.y_regr)
    return {
        "tables": table_summary(result.n_rows, result.rejected),
        "compounds": {"rows": n_compounds, "ids": result.n_ids, "merged_ids": result.n_ids - n_compounds},
        "assays": assay_summary(result.assays),
        "classification": classification_summary(result.trained, result.tasks, result.y),
        "regression": regression_summary(result.trained_regression, result.regression),
        "folds": folds,
        "rejected_share": result.losses.share,
        "lost_assays": list(result.losses.lost_assays),
        "warnings": [
            *balance_warnings(folds, settings.folds),
            *_machine_warnings(result),
            *result.notes,
            *_undated(result),
            *implausible_notes(result.plausible.implausible, result.plausible.likely_unit),
        ],
    }


def _losses_in(folder: Path) -> Losses:
    summary = prepared.read_summary(folder)
    table = summary["tables"]["T1"]
    return Losses(table["rows"], table["rejected"], tuple(summary["lost_assays"]))


def _machine_warnings(result: _Result) -> list[str]:
    """Return warnings if labels or descriptors are missing for reasons of this machine."""
    n_rejected = result.rejected.filter(pl.col("reason").is_in([TIMEOUT, CRASHED])).height
    described = result.compounds.descriptors
    n_undescribed = 0 if described is None else int(np.isnan(described).all(axis=1).sum())
    missing = {"T2: {} rows rejected": n_rejected, "{} compounds without descriptors": n_undescribed}
    advice = "raise compound_timeout_s, or remove this prepared folder, to try them again"
    return [
        f"{what.format(n)} because of this machine ({TIMEOUT}, {CRASHED}): {advice}" for what, n in missing.items() if n
    ]


def _undated(result: _Result) -> list[str]:
    """Return a warning if compounds have no day although days were read."""
    n_undated = 0 if result.days is None else int(np.isnat(result.days).sum())
    n = result.compounds.x.shape[0]
    return [f"{n_undated:,} of {n:,} compounds have no day of a measurement"] if n_undated else []


def _write(folder: Path, result: _Result, summary: dict[str, Any], facts: dict[str, Any]) -> None:
    matrices = {
        prepared.X_FILE: result.compounds.x,
        prepared.Y_FILE: result.y,
        prepared.Y_REGR_FILE: result.y_regr,
        prepared.Y_CENSOR_FILE: result.y_censor,
    }
    for name, matrix in matrices.items():
        sparse.save_npz(folder / name, matrix)
    np.save(folder / prepared.FOLDING_FILE, result.compounds.folding)
    if result.compounds.descriptors is not None:
        np.save(folder / prepared.DESCRIPTORS_FILE, result.compounds.descriptors)
    if result.days is not None:
        np.save(folder / prepared.DAYS_FILE, result.days)
    weights = [pl.col("assay_type").alias("task_type"), pl.col("training_weight"), pl.col("aggregation_weight")]
    catalogue = pl.col("catalog_assay_id").alias("catalog_id")
    trained, regression = result.trained, result.trained_regression
    trained.select("task_id", catalogue, *weights).write_csv(folder / prepared.WEIGHTS_FILE)
    regression.select("task_id", *weights, "censored_weight").write_csv(folder / prepared.REGRESSION_WEIGHTS_FILE)
    tables = {
        prepared.TASKS_FILE: trained.select(prepared.columns_of(prepared.Task)),
        prepared.REGRESSION_TASKS_FILE: regression.select(prepared.columns_of(prepared.RegressionTask)),
        prepared.ASSAYS_FILE: result.assays,
        prepared.COMPOUNDS_FILE: result.compounds.rows,
        prepared.REJECTED_FILE: result.rejected,
    }
    for name, table in tables.items():
        ids = pl.col("input_assay_id").cast(
            pl.String
        )  # an Enum would store all of the partner's assay ids in every file
        (table.with_columns(ids) if "input_assay_id" in table.columns else table).write_parquet(folder / name)
    (folder / prepared.SUMMARY_FILE).write_bytes(json.dumps(summary, indent=1, sort_keys=True).encode() + b"\n")
    (folder / prepared.MANIFEST_FILE).write_bytes(prepared.manifest_of(folder, facts))
