"""Turn a partner's tables into a prepared folder of matrices."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from data_prep.labels.activities import credible
from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.regression import regression_tasks, value_matrices
from data_prep.labels.replicates import aggregate
from data_prep.labels.tasks import apply_quorum, assay_report, label_matrix
from data_prep.labels.thresholds import candidate_tasks, label_all
from data_prep.settings import OwnTables, Preparation
from data_prep.structures.steps import CRASHED, TIMEOUT
from data_prep.structures.structures import Progress, StructureWorkers
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S
from data_prep.summary import (
    assay_summary,
    classification_summary,
    fold_summary,
    regression_summary,
    table_summary,
)
from data_prep.tables.tables import Table, read_activities, read_assays, read_structures
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

    @property
    def trained(self) -> pl.DataFrame:
        return self.tasks.filter("training_quorum").sort("task_id")

    @property
    def trained_regression(self) -> pl.DataFrame:
        return self.regression.filter("training_quorum").sort("task_id")


_ANY_TABLES = OwnTables()


class _Tables(NamedTuple):
    """The input tables, all read before the long step, so that an unreadable one is refused early."""

    assays: Table
    activities: Table
    structures: Table


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
    progress: Progress | None = None,
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
    `own`: how the tables are read; part of the digest.

    Raises TableError for a file that is no such table and StructureSeedError for a seed of fewer than 32 bytes,
    and the errors of the cluster.
    """
    require_strong_seed(structure_seed)
    identity = _identity(t0, t1, t2, settings, structure_seed) | {"timeout_s": timeout_s}
    identity |= {"descriptors": DESCRIPTORS_VERSION} if descriptors else {}
    identity |= {"own_tables": own.reading} if own.reading else {}
    folder = prepared_root / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if prepared.is_intact(folder):
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

    tables = _Tables(read_assays(t0, own.columns), read_activities(t1, own.columns), read_structures(t2, own.columns))
    result = _compute(tables, settings, compounds_of)
    with atomic_folder(folder) as unfinished:
        _write(unfinished, result, _summary(result, settings), {**identity, "digest": folder.name})
    return folder


def _compute(tables: _Tables, settings: Preparation, compounds_of: Callable[[pl.DataFrame], Compounds]) -> _Result:
    assays, activities, structures = tables
    compounds = compounds_of(structures.accepted)
    named = zip(("T0", "T1", "T2"), tables, strict=True)
    n_rows = {name: table.accepted.height + table.rejected.height for name, table in named}
    settled = settle_catalogue(assays.accepted)
    values = _values(settled, activities, compounds, settings)
    rejected = pl.concat([assays.rejected, structures.rejected, compounds.rejected, values.rejected])
    n_compounds = compounds.x.shape[0]
    candidates = candidate_tasks(settled, values.accepted, settings.activities)
    labels = label_all(candidates, values.accepted)
    tasks = apply_quorum(candidates, labels, compounds.folding, settings.folds.n_folds, settings.activities)
    regression = regression_tasks(settled, values.accepted, compounds.folding, settings)
    y_regr, y_censor = value_matrices(regression, values.accepted, n_compounds)
    return _Result(
        compounds=compounds,
        n_ids=compounds.rows.height,
        tasks=tasks,
        regression=regression,
        assays=assay_report(settled, values.accepted, tasks, regression, settings.activities),
        y=label_matrix(tasks, labels, n_compounds),
        y_regr=y_regr,
        y_censor=y_censor,
        rejected=_refine_reasons(rejected).sort("table", "input_row"),
        n_rows=n_rows,
    )


def _values(assays: pl.DataFrame, activities: Table, compounds: Compounds, settings: Preparation) -> Table:
    """Return one value per assay and compound, and all rejected activities."""
    row_of = compounds.rows.select(pl.col("input_compound_id").cast(pl.Categorical), "row")
    measured = activities.accepted.join(row_of, on="input_compound_id", how="left", maintain_order="left")
    credible_rows = credible(assays, measured, settings.activities)
    values = aggregate(credible_rows.accepted, settings.activities)
    return Table(values.accepted, pl.concat([activities.rejected, credible_rows.rejected, values.rejected]))


def _refine_reasons(rejected: pl.DataFrame) -> pl.DataFrame:
    """Give activities of a rejected assay or compound another reason than those of an unknown one."""
    reason, table = pl.col("reason"), pl.col("table")
    refused = {
        name: rejected.filter(table == source)[column].drop_nulls().unique().implode()
        for name, source, column in (("assay", "T0", "input_assay_id"), ("compound", "T2", "input_compound_id"))
    }
    explained = reason
    for name, ids in refused.items():
        of_refused = (table == "T1") & (reason == f"unknown_{name}") & pl.col(f"input_{name}_id").is_in(ids)
        explained = pl.when(of_refused).then(pl.lit(f"rejected_{name}")).otherwise(explained)
    return rejected.with_columns(explained.alias("reason"))


def _identity(t0: Path, t1: Path, t2: Path, settings: Preparation, structure_seed: bytes) -> dict[str, Any]:
    return {
        "inputs": {"T0": _file_digest(t0), "T1": _file_digest(t1), "T2": _file_digest(t2)},
        "settings": asdict(settings),
        "seed_commitment": keyed_digest(structure_seed, b"hocket structure seed commitment").hex(),
        "versions": {"rdkit": rdkit.__version__, "code": CODE_VERSION, "format": FORMAT_VERSION},
    }


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
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
        "warnings": [*balance_warnings(folds, settings.folds), *_machine_warnings(result)],
    }


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
