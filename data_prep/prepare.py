"""From a partner's tables to a prepared folder."""

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
from data_prep.activities import aggregate, credible
from data_prep.atomic import appearing
from data_prep.compounds import Compounds, make_compounds
from data_prep.errors import TableError
from data_prep.folds import balance_warnings
from data_prep.keyed import keyed_digest, require_strong_seed
from data_prep.settings import Preparation
from data_prep.steps import CRASHED, TIMEOUT
from data_prep.structures import Progress
from data_prep.tables import read_activities, read_assays, read_structures
from data_prep.tasks import assay_report, judge_tasks
from data_prep.thresholds import candidate_tasks, label_all
from data_prep.version import CODE_VERSION, FORMAT_VERSION
from data_prep.watchdog import DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class _Result:
    compounds: Compounds
    tasks: pl.DataFrame  # trained ones, by task_id
    assays: pl.DataFrame
    y: sparse.csr_matrix
    rejected: pl.DataFrame
    n_rows: dict[str, int]  # of each input table


def prepare(  # noqa: PLR0913 - what a run needs; all after the tables' settings by keyword
    t0: Path,
    t1: Path,
    t2: Path,
    settings: Preparation,
    structure_seed: bytes,
    prepared_root: Path,
    *,
    workers: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Prepare the tables and return the folder with the result (see data_prep.prepared), `prepared_root`/<digest>.

    The digest is SHA-256 over the input files, settings, a commitment to the seed and the versions; a folder that is
    there and intact is returned at once. The folder appears whole or not at all, and its bytes depend on nothing but
    what the digest covers, unless a structure takes longer than `timeout_s` or its process dies (rejected as `timeout`
    and `crashed`; with a `cache`, the file that remembers structures, such a folder is made anew). `progress` is told
    (done, total) structures.

    Raises TableError for a file that is no such table and StructureSeedError for a seed of fewer than 32 bytes.
    """
    require_strong_seed(structure_seed)
    identity = _identity(t0, t1, t2, settings, structure_seed)
    folder = prepared_root / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if prepared.is_intact(folder) and not (cache and _gave_up(folder)):
        return folder

    def compounds_of(structures: pl.DataFrame) -> Compounds:
        return make_compounds(
            structures, settings, structure_seed, workers=workers, timeout_s=timeout_s, cache=cache, progress=progress
        )

    result = _compute(t0, t1, t2, settings, compounds_of)
    with appearing(folder) as unfinished:
        _write(unfinished, result, {**identity, "digest": folder.name, **_summary(result, settings)})
    return folder


def _gave_up(folder: Path) -> bool:
    """Say whether a structure was left out for its time or its process, which may be better now."""
    rejected = prepared.read_manifest(folder)["tables"]["T2"]["rejected"]
    return TIMEOUT in rejected or CRASHED in rejected


def _compute(
    t0: Path, t1: Path, t2: Path, settings: Preparation, compounds_of: Callable[[pl.DataFrame], Compounds]
) -> _Result:
    assays, activities, structures = read_assays(t0), read_activities(t1), read_structures(t2)
    compounds = compounds_of(structures.accepted)
    row_of = compounds.rows.select("input_compound_id", "row")
    measured = activities.accepted.join(row_of, on="input_compound_id", how="left", maintain_order="left")
    believed = credible(assays.accepted, measured, settings.activities)
    values = aggregate(believed.accepted, settings.activities)
    tasks, labels = _tasks(assays.accepted, values.accepted, compounds, settings)
    tables = (assays, activities, structures)
    rejected = _explained(
        pl.concat([*(t.rejected for t in tables), compounds.rejected, believed.rejected, values.rejected])
    )
    return _Result(
        compounds=compounds,
        tasks=tasks.filter(pl.col("training_quorum")).sort("task_id"),
        assays=assay_report(assays.accepted, values.accepted, tasks, settings.activities),
        y=_label_matrix(tasks, labels, compounds.x.shape[0]),
        rejected=rejected.sort("table", "input_row"),
        n_rows={
            name: t.accepted.height + t.rejected.height for name, t in zip(("T0", "T1", "T2"), tables, strict=True)
        },
    )


def _tasks(
    assays: pl.DataFrame, values: pl.DataFrame, compounds: Compounds, settings: Preparation
) -> tuple[pl.DataFrame, pl.DataFrame]:
    candidates = candidate_tasks(assays, values, settings.activities)
    labels = label_all(candidates, values)
    return judge_tasks(candidates, labels, compounds.folding, settings.folds.n_folds, settings.activities), labels


def _explained(rejected: pl.DataFrame) -> pl.DataFrame:
    """Tell activities of a rejected assay or compound from those of an unknown one."""
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


def _label_matrix(tasks: pl.DataFrame, labels: pl.DataFrame, n_compounds: int) -> sparse.csr_matrix:
    """Return (n_compounds, n_tasks), float32, 1 active and -1 inactive, nothing stored for the rest."""
    trained = tasks.filter(pl.col("training_quorum")).select("candidate", "task_id")
    kept = labels.join(trained, on="candidate")
    places = (kept["row"].to_numpy(), kept["task_id"].to_numpy())
    y = sparse.coo_matrix((kept["label"].to_numpy().astype(np.float32), places), shape=(n_compounds, trained.height))
    return sparse.csr_matrix(y)


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
    folding, y = result.compounds.folding, result.y
    by_reason = result.rejected.group_by("table", "reason").len().sort("table", "reason")
    rejected: dict[str, dict[str, int]] = {name: {} for name in result.n_rows}
    for table, reason, n in by_reason.iter_rows():
        rejected[table][reason] = n
    rows = {
        name: {"rows": n, "accepted": n - sum(rejected[name].values()), "rejected": rejected[name]}
        for name, n in result.n_rows.items()
    }
    counts = {
        "compounds": y.shape[0],
        "tasks": y.shape[1],
        "evaluated_tasks": int(result.tasks["evaluated"].sum()),
        "labels": int(y.nnz),
        "near_constant_assays": int(result.assays["near_constant"].sum()),
    }
    balance = [row | {"labels": int(y[folding == row["fold"]].nnz)} for row in result.compounds.balance]
    warnings = balance_warnings(balance, settings.folds)
    return {"tables": rows, "counts": counts, "folds": balance, "warnings": warnings}


def _write(folder: Path, result: _Result, facts: dict[str, Any]) -> None:
    sparse.save_npz(folder / prepared.X_FILE, result.compounds.x)
    sparse.save_npz(folder / prepared.Y_FILE, result.y)
    np.save(folder / prepared.FOLDING_FILE, result.compounds.folding)
    weights = result.tasks.select(
        "task_id", pl.lit(None, pl.String).alias("catalog_id"), pl.col("assay_type").alias("task_type"),
        "training_weight", "aggregation_weight",
    )  # fmt: skip
    weights.write_csv(folder / prepared.WEIGHTS_FILE)
    columns = list(prepared.Task.__dataclass_fields__)
    result.tasks.select(columns).write_parquet(folder / prepared.TASKS_FILE)
    result.assays.write_parquet(folder / prepared.ASSAYS_FILE)
    result.compounds.rows.write_parquet(folder / prepared.COMPOUNDS_FILE)
    result.rejected.write_parquet(folder / prepared.REJECTED_FILE)
    (folder / prepared.MANIFEST_FILE).write_bytes(prepared.manifest_of(folder, facts))
