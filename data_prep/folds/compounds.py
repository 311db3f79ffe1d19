"""From table T2 to rows of the matrix: one row per standardised structure, its bits and its fold."""

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
    Progress,
    Structures,
    Workers,
    fold_scaffolds,
    labelled,
    standardise_all,
)
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S, worker_pool
from data_prep.tables.tables import Table, first_reason, reject


@dataclass(frozen=True, slots=True)
class Compounds:
    """A partner's structures, in the order of their canonical SMILES."""

    x: sparse.csr_matrix  # (n_compounds, n_bits), float32 ones, or counts, at permuted bits
    folding: NDArray[np.int64]  # (n_compounds,)
    rows: pl.DataFrame  # every accepted id: `row`, `input_compound_id`, `canonical_smiles`, `fold`
    rejected: pl.DataFrame
    balance: list[dict[str, int | float]]  # of the folds: `fold`, `compounds`, `share`, `scaffolds`


def make_compounds(
    structures: pl.DataFrame,
    settings: Preparation,
    structure_seed: bytes,
    *,
    workers: Workers = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Compounds:
    """Standardise, fingerprint and fold the structures of read_structures.

    All ids with the same standardised structure share one row. An id with several different structures is rejected
    (`conflicting_structures`), as are structures and scaffolds that are refused (codes of standardise_all and
    fold_scaffolds). The result depends neither on the order of rows nor on `workers` nor on what the file `cache`
    remembers, and on `timeout_s` only through the reason `timeout`. `progress` is told of structures, then, with a
    note, of scaffolds and folds.
    """
    distinct = structures["smiles"].unique(maintain_order=True)
    with worker_pool():
        found = standardise_all(
            distinct.to_list(),
            settings.chemistry,
            settings.fingerprint,
            workers=workers,
            timeout_s=timeout_s,
            cache=cache,
            progress=progress,
        )
        scaffolds = FoldScaffolds.themselves(found.murcko)
        if needs_fold_scaffolds(settings.folds):
            told = labelled(progress, "scaffolds for the folds")
            scaffolds = fold_scaffolds(found.murcko, workers=workers, timeout_s=timeout_s, cache=cache, progress=told)
    judged = _judge(structures, distinct, found, scaffolds)
    kept = judged.accepted.unique("canonical_smiles").sort("canonical_smiles").with_row_index("row")
    at = kept["at"].to_numpy()
    x = fingerprint_matrix(found, bit_permutation(structure_seed, settings.fingerprint.n_bits), at)
    if progress:
        progress(len(at), len(at), "folds")
    folding = assign_folds(found, at, scaffolds, settings.folds, structure_seed)
    balance = fold_balance(folding, [scaffolds[found.murcko[i]] for i in at], settings.folds.n_folds)
    kept = kept.select("row", "canonical_smiles", pl.Series("fold", folding))
    rows = judged.accepted.select("input_compound_id", "canonical_smiles").unique()
    rows = rows.join(kept, on="canonical_smiles").sort("row", "input_compound_id")
    rows = rows.select("row", "input_compound_id", "canonical_smiles", "fold")
    return Compounds(x, folding, rows, judged.rejected, balance)


def _judge(structures: pl.DataFrame, distinct: pl.Series, found: Structures, scaffolds: FoldScaffolds) -> Table:
    refused = scaffolds.refused
    reasons = [
        reason or (refused.get(murcko) if murcko else None)
        for reason, murcko in zip(found.reasons, found.murcko, strict=True)
    ]
    outcome = pl.DataFrame(
        {"smiles": distinct, "canonical_smiles": found.smiles, "refusal": reasons},
        schema_overrides={"canonical_smiles": pl.String, "refusal": pl.String},
    ).with_row_index("at")
    rows = structures.join(outcome, on="smiles", how="left", nulls_equal=True, maintain_order="left")
    accepted = pl.col("canonical_smiles").filter(pl.col("refusal").is_null())
    several = accepted.n_unique().over("input_compound_id") > 1
    return reject("T2", rows, pl.coalesce("refusal", first_reason(conflicting_structures=several)))


def fingerprint_matrix(found: Structures, places: NDArray[np.int64], at: NDArray[np.integer[Any]]) -> sparse.csr_matrix:
    """Return the fingerprints of the structures at the places `at`, (len(at), n_bits), float32; bit b at places[b]."""
    shape = (len(found.smiles), len(places))
    counts = found.counts.astype(np.float32)
    everything = sparse.csr_matrix((counts, places[found.bits].astype(np.int32), found.starts), shape=shape)
    x = everything[at]
    x.sort_indices()
    starts = x.indptr.astype(np.int32) if x.nnz <= np.iinfo(np.int32).max else x.indptr  # as SparseChem's files
    return sparse.csr_matrix((x.data, x.indices.astype(np.int32), starts), shape=x.shape)
