"""Catalogue assays: panels that partners share, named by the same `catalog_assay_id`."""

import polars as pl

from data_prep.settings import Activities

_CATALOGUE, _OWN = "CATALOG-PANEL", "NON-CATALOG-PANEL"
_SHARED = (_CATALOGUE, "PANEL")  # types that may belong to a catalogue


def settle_catalogue(assays: pl.DataFrame) -> pl.DataFrame:
    """Remove ids from assays that are no panel, and the type CATALOG-PANEL from assays without an id.

    New column `catalog_note`: `missing_catalog_id` (a CATALOG-PANEL treated as NON-CATALOG-PANEL),
    `catalog_id_ignored` (an id of an assay that is neither CATALOG-PANEL nor PANEL) or null.
    """
    shared, named = pl.col("assay_type").is_in(_SHARED), pl.col("catalog_assay_id").is_not_null()
    nameless = (pl.col("assay_type") == _CATALOGUE) & ~named
    note = pl.when(nameless).then(pl.lit("missing_catalog_id"))
    return assays.with_columns(
        note.when(~shared & named).then(pl.lit("catalog_id_ignored")).alias("catalog_note"),
        pl.when(nameless).then(pl.lit(_OWN)).otherwise("assay_type").alias("assay_type"),
        pl.when(shared).then("catalog_assay_id").alias("catalog_assay_id"),
    )


def demote(candidates: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Turn catalogue tasks with too few labels, in total or in a fold, into ordinary tasks.

    A CATALOG-PANEL becomes a NON-CATALOG-PANEL, a PANEL stays one.

    candidates : with label counts. New column `catalog_note`: `failed_quorum` if a task lost its id, else null.
    """
    named = pl.col("catalog_assay_id").is_not_null()
    enough = (
        (pl.col("n_active") + pl.col("n_inactive") >= settings.catalogue_min_labels)
        & (pl.col("min_fold_active") >= settings.catalogue_min_fold_active)
        & (pl.col("min_fold_inactive") >= settings.catalogue_min_fold_inactive)
    )
    return candidates.with_columns(
        pl.when(named & ~enough).then(pl.lit("failed_quorum")).alias("catalog_note"),
        pl.when(named & ~enough & (pl.col("assay_type") == _CATALOGUE))
        .then(pl.lit(_OWN))
        .otherwise("assay_type")
        .alias("assay_type"),
        pl.when(enough).then("catalog_assay_id").alias("catalog_assay_id"),
    )
