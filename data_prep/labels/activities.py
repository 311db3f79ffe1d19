"""Which measured values are believed, and by which rule their replicates become one (data_prep.labels.replicates)."""

import polars as pl

from data_prep.settings import ASSAY_TYPES, Activities
from data_prep.tables.tables import Table, first_reason, reject

ASSAY_TYPE = pl.Enum(ASSAY_TYPES)
RULE = pl.Enum(["majority", "median", "highest", "lowest", "largest"])
"""How replicates become one value."""
_STORABLE = 3.4e38  # the matrices hold float32
DOSE_RESPONSE = ("OTHER", "NON-CATALOG-PANEL")
_PANELS = ("PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL")


def credible(assays: pl.DataFrame, activities: pl.DataFrame, settings: Activities) -> Table:
    """Keep the activities whose value is believed, with `assay_type` and the `rule` for their replicates.

    activities : read_activities' rows, with `row` (of the structure; null: none accepted). Codes: `unknown_assay`,
    `unknown_compound`, `not_binary`, `out_of_range`. The assay ids of the accepted are read_assays' own.
    """
    kinds = _kinds(assays, settings)
    rows = activities.join(kinds, on="input_assay_id", how="left", maintain_order="left")
    value, binary = pl.col("standard_value"), pl.col("rule") == "majority"
    split = reject(
        "T1",
        rows,
        first_reason(
            unknown_assay=pl.col("rule").is_null(),
            unknown_compound=pl.col("row").is_null(),
            not_binary=binary & (value.abs() != 1),
            out_of_range=(value < pl.col("low")) | (value > pl.col("high")),
        ),
    )
    own = split.accepted.drop("input_assay_id", "low", "high").rename({"assay": "input_assay_id"})
    return Table(own, split.rejected)


def _kinds(assays: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return what a row needs to know of its assay, found by an id of T1 (a category)."""
    low, high = credible_limits(settings)
    binary = pl.col("is_binary")
    return assays.unique("input_assay_id").select(
        pl.col("input_assay_id").cast(pl.String).cast(pl.Categorical),
        pl.col("input_assay_id").alias("assay"),
        pl.col("assay_type").cast(ASSAY_TYPE),
        _rule().cast(RULE).alias("rule"),
        pl.when(~binary).then(low).fill_null(-_STORABLE).alias("low"),
        pl.when(~binary).then(high).fill_null(_STORABLE).alias("high"),
    )


def credible_limits(settings: Activities) -> tuple[pl.Expr, pl.Expr]:
    """Return the least and the largest believed value of an `assay_type`; null: any is believed."""
    dose = ("OTHER", *_PANELS)
    low = {
        **dict.fromkeys(dose, settings.credible_min),
        "AUX_HTS": settings.credible_hts_min,
        "ADME": settings.credible_adme_min,
    }
    high = {
        **dict.fromkeys(dose, settings.credible_max),
        "AUX_HTS": settings.credible_hts_max,
        "ADME": settings.credible_adme_max,
    }
    return tuple(  # type: ignore[return-value]  # two of them
        pl.col("assay_type").replace_strict(limit, default=None, return_dtype=pl.Float64) for limit in (low, high)
    )


def _rule() -> pl.Expr:
    assay_type, direction = pl.col("assay_type"), pl.col("direction")
    return (
        pl.when("is_binary")
        .then(pl.lit("majority"))
        .when(assay_type == "ADME")
        .then(pl.lit("median"))
        .when(direction == "low")
        .then(pl.lit("lowest"))
        .when((direction == "high") | assay_type.is_in(DOSE_RESPONSE))
        .then(pl.lit("highest"))
        .otherwise(pl.lit("largest"))
    )
