"""Select credible measured values and the rule that merges their replicates (data_prep.labels.replicates)."""

import polars as pl

from data_prep.settings import ASSAY_TYPES, DOSE_TYPES, Activities
from data_prep.tables.tables import Table, first_reason, reject

ASSAY_TYPE = pl.Enum(ASSAY_TYPES)
RULE = pl.Enum(["majority", "median", "highest", "lowest", "largest"])
"""How replicates of an assay and compound are merged into one value."""
_STORABLE = 3.4e38  # the matrices hold float32
DOSE_RESPONSE = ("OTHER", "NON-CATALOG-PANEL")


def credible(assays: pl.DataFrame, activities: pl.DataFrame, settings: Activities) -> Table:
    """Keep the activities with credible values, and add `assay_type` and the `rule` for their replicates.

    activities : read_activities' rows, with `row` (of the structure; null: none accepted). Codes: `unknown_assay`,
    `unknown_compound`, `not_binary`, `out_of_range`. Accepted rows have the assay ids of `assays`.
    """
    limits = _limits_of_assays(assays, settings)
    rows = activities.join(limits, on="input_assay_id", how="left", maintain_order="left")
    value, binary = pl.col("standard_value"), pl.col("rule") == "majority"
    table = reject(
        "T1",
        rows,
        first_reason(
            unknown_assay=pl.col("rule").is_null(),
            unknown_compound=pl.col("row").is_null(),
            not_binary=binary & (value.abs() != 1),
            out_of_range=(value < pl.col("low")) | (value > pl.col("high")),
        ),
    )
    accepted = table.accepted.drop("input_assay_id", "low", "high").rename({"assay": "input_assay_id"})
    return Table(accepted, table.rejected)


def _limits_of_assays(assays: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return the type, rule and credible limits of each assay, keyed by its id in T1 (a category)."""
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
    """Return the smallest and the largest credible value of an `assay_type`; null: no limit."""
    low = {
        **dict.fromkeys(DOSE_TYPES, settings.credible_min),
        "AUX_HTS": settings.credible_hts_min,
        "ADME": settings.credible_adme_min,
    }
    high = {
        **dict.fromkeys(DOSE_TYPES, settings.credible_max),
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
