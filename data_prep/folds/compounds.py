"""Turn the structures of table T2 into compounds: rows of the matrix x, with bits and fold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from data_prep.folds.folds import assign_folds, fold_balance, needs_fold_scaffolds
from data_prep.folds.keyed import bit_permutation
from data_prep.settings import Preparation
from data_prep.structures.structures import (
    FoldScaffolds,
    StructureProgress,
    Structures,
    StructureWorkers,
    describe_all,
    fold_scaffolds,
    labelled,
    standardise_all,
)
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S, worker_pool
from data_prep.tables.tables import Table, first_reason, reject


@dataclass(frozen=True, slots=True)
class Compounds:
    """A partner's compounds, in the order of their canonical SMILES."""

    x: sparse.csr_matrix  # (n_compounds, n_bits), float32 ones, or counts, at permuted bits
    folding: NDArray[np.int64]  # (n_compounds,)
    rows: pl.DataFrame  # every accepted id: `row`, `input_compound_id`, `canonical_smiles`, `fold`
    rejected: pl.DataFrame
    balance: list[dict[str, int | float]]  # of the folds: `fold`, `compounds`, `share`, `scaffolds`
    descriptors: NDArray[np.float32] | None  # (n_compounds, n_descriptors), see describe_all; None: not wanted


def make_compounds(
    table: pl.DataFrame,
    settings: Preparation,
    structure_seed: bytes,
    *,
    workers: StructureWorkers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: StructureProgress | None = None,
    descriptors: bool = False,
) -> Compounds:
    """Standardise and fingerprint the structures of read_structures, and assign their folds.

    All ids with the same standardised structure share one row. An id with several different structures is rejected
    (`conflicting_structures`), as are structures and scaffolds that are refused (codes of standardise_all and
    fold_scaffolds). The result depends neither on the order of rows nor on `workers` nor on the content of the file
    `cache`, and on `timeout_s` only through the reason `timeout`. `progress` is called for structures and then, with a
    note, for scaffolds, descriptors and folds. `descriptors`: whether they are computed; no compound is
    rejected for them.
    """
    distinct = table["smiles"].unique(maintain_order=True)
    with worker_pool():
        structures = standardise_all(
            distinct.to_list(),
            settings.chemistry,
            settings.fingerprint,
            workers=workers,
            timeout_s=timeout_s,
            cache=cache,
            progress=progress,
        )
        scaffolds = FoldScaffolds.themselves(structures.murcko)
        if needs_fold_scaffolds(settings.folds):
            scaffold_progress = labelled(progress, "scaffolds for the folds")
            scaffolds = fold_scaffolds(
                structures.murcko, workers=workers, timeout_s=timeout_s, cache=cache, progress=scaffold_progress
            )
        checked = _check_structures(table, distinct, structures, scaffolds)
        kept = checked.accepted.unique("canonical_smiles").sort("canonical_smiles").with_row_index("row")
        described = None
        if descriptors:
            described = describe_all(
                kept["canonical_smiles"].to_list(),
                workers=workers,
                timeout_s=timeout_s,
                cache=cache,
                progress=labelled(progress, "descriptors"),
            )
    indices = kept["index"].to_numpy()
    x = fingerprint_matrix(structures, bit_permutation(structure_seed, settings.fingerprint.n_bits), indices)
    if progress:
        progress(len(indices), len(indices), "folds")
    folding = assign_folds(structures, indices, scaffolds, settings.folds, structure_seed)
    balance = fold_balance(folding, [scaffolds[structures.murcko[i]] for i in indices], settings.folds.n_folds)
    kept = kept.select("row", "canonical_smiles", pl.Series("fold", folding))
    rows = checked.accepted.select("input_compound_id", "canonical_smiles").unique()
    rows = rows.join(kept, on="canonical_smiles").sort("row", "input_compound_id")
    rows = rows.select("row", "input_compound_id", "canonical_smiles", "fold")
    return Compounds(x, folding, rows, checked.rejected, balance, described)


def _check_structures(
    table: pl.DataFrame, distinct: pl.Series, structures: Structures, scaffolds: FoldScaffolds
) -> Table:
    refused_scaffolds = scaffolds.refused
    reasons = [
        reason or (refused_scaffolds.get(murcko) if murcko else None)
        for reason, murcko in zip(structures.reasons, structures.murcko, strict=True)
    ]
    results = pl.DataFrame(
        {"smiles": distinct, "canonical_smiles": structures.smiles, "refusal": reasons},
        schema_overrides={"canonical_smiles": pl.String, "refusal": pl.String},
    ).with_row_index("index")
    rows = table.join(results, on="smiles", how="left", nulls_equal=True, maintain_order="left")
    accepted = pl.col("canonical_smiles").filter(pl.col("refusal").is_null())
    is_ambiguous = accepted.n_unique().over("input_compound_id") > 1
    return reject("T2", rows, pl.coalesce("refusal", first_reason(conflicting_structures=is_ambiguous)))


def fingerprint_matrix(
    structures: Structures, positions: NDArray[np.int64], indices: NDArray[np.integer[Any]]
) -> sparse.csr_matrix:
    """Return the fingerprints of the structures with these indices, (len(indices), n_bits) float32.

    positions : (n_bits,) the column of each bit
    """
    shape = (len(structures.smiles), len(positions))
    counts = structures.counts.astype(np.float32)
    all_rows = sparse.csr_matrix((counts, positions[structures.bits].astype(np.int32), structures.starts), shape=shape)
    x = all_rows[indices]
    x.sort_indices()
    starts = x.indptr.astype(np.int32) if x.nnz <= np.iinfo(np.int32).max else x.indptr  # as in SparseChem's files
    return sparse.csr_matrix((x.data, x.indices.astype(np.int32), starts), shape=x.shape)
