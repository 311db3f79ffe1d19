"""From measured values to one value per assay and structure: credibility and replicates.

The rules are MELLODDY-TUNER's, except that none depends on the order of rows and that direction low is the exact
mirror image of direction high (the peer takes the first of equals and forgets the qualifiers when it looks for minima).
"""

import numpy as np
import polars as pl

from data_prep.settings import Activities
from data_prep.tables import Table, first_reason, reject

_GROUP = ["input_assay_id", "row"]
_DOSE_RESPONSE = ("OTHER", "NON-CATALOG-PANEL")
_PANELS = ("PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL")


def credible(assays: pl.DataFrame, activities: pl.DataFrame, settings: Activities) -> Table:
    """Keep the activities whose value is believed, with their assay's properties.

    activities : read_activities' rows, with `row` (of the structure; null: none accepted). Codes: `unknown_assay`,
    `unknown_compound`, `not_binary`, `out_of_range`.
    """
    rows = activities.join(assays.drop("input_row").unique("input_assay_id"), on="input_assay_id", how="left")
    value = pl.col("standard_value")
    low, high = _limits(settings)
    return reject(
        "T1",
        rows,
        first_reason(
            unknown_assay=pl.col("assay_type").is_null(),
            unknown_compound=pl.col("row").is_null(),
            not_binary=pl.col("is_binary") & (value.abs() != 1),
            out_of_range=~pl.col("is_binary") & ((value < low) | (value > high)),
        ),
    )


def _limits(settings: Activities) -> tuple[pl.Expr, pl.Expr]:
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


def aggregate(activities: pl.DataFrame, settings: Activities) -> Table:
    """Merge replicates: one `standard_qualifier` and `standard_value` per assay and structure, sorted by both.

    activities : credible's rows. All rows of a group that cannot be merged are rejected as `conflicting_qualifiers`.

    * binary: the majority, a tie is active
    * ADME: median, with the most common qualifier (a tie with = is =, a tie of < and > cannot be merged)
    * else a chosen measurement. OTHER, NON-CATALOG-PANEL and direction high: the largest that is not <, else the
      largest; direction low: the smallest that is not >, else the smallest; other types without direction: the
      largest absolute value. Among equals = goes before > before <.
    """
    averaged = pl.col("is_binary") | (pl.col("assay_type") == "ADME")
    merged = _averaged(activities.filter(averaged))
    tied = merged.filter(pl.col("standard_qualifier").is_null()).select(_GROUP)
    refused = activities.join(tied, on=_GROUP, how="semi")
    values = pl.concat(
        [_chosen(activities.filter(~averaged)), merged.filter(pl.col("standard_qualifier").is_not_null())]
    )
    rejected = reject("T1", refused, pl.lit("conflicting_qualifiers")).rejected
    return Table(_rounded(values, settings.decimals).sort(_GROUP), rejected)


_KEPT = ["input_assay_id", "row", "assay_type", "standard_qualifier", "standard_value"]


def _averaged(activities: pl.DataFrame) -> pl.DataFrame:
    value, binary = pl.col("standard_value"), pl.col("is_binary").first()
    counts = {q: (pl.col("standard_qualifier") == q).sum() for q in "<=>"}
    groups = activities.group_by(_GROUP).agg(
        pl.col("assay_type").first(),
        pl.when(binary)
        .then(pl.when(value.sum() >= 0).then(1.0).otherwise(-1.0))
        .otherwise(value.median())
        .alias("standard_value"),
        binary.alias("binary"),
        *(count.alias(q) for q, count in counts.items()),
    )
    below, exact, above = (pl.col(q) for q in "<=>")
    common = (
        pl.when(pl.col("binary") | ((exact >= below) & (exact >= above)))
        .then(pl.lit("="))
        .when(below > above)
        .then(pl.lit("<"))
        .when(above > below)
        .then(pl.lit(">"))
    )
    return groups.with_columns(common.alias("standard_qualifier")).select(_KEPT)


def _chosen(activities: pl.DataFrame) -> pl.DataFrame:
    value, qualifier, low = pl.col("standard_value"), pl.col("standard_qualifier"), pl.col("direction") == "low"
    by_size = ~low & (pl.col("direction") != "high") & ~pl.col("assay_type").is_in(_DOSE_RESPONSE)
    ranked = activities.with_columns(
        (by_size | (qualifier != pl.when(low).then(pl.lit(">")).otherwise(pl.lit("<")))).alias("believed"),
        pl.when(by_size).then(value.abs()).when(low).then(-value).otherwise(value).alias("rank"),
        qualifier.replace_strict({"=": 2, ">": 1, "<": 0}, return_dtype=pl.Int8).alias("precision"),
    )
    order = [*_GROUP, "believed", "rank", "standard_value", "precision"]
    return ranked.sort(order).unique(_GROUP, keep="last", maintain_order=True).select(_KEPT)


def _rounded(values: pl.DataFrame, decimals: int) -> pl.DataFrame:
    rounded = np.round(values["standard_value"].to_numpy(), decimals)  # halves to even after scaling, like the peer
    keep = ~pl.col("assay_type").is_in(_DOSE_RESPONSE)
    return values.with_columns(
        pl.when(keep).then(pl.col("standard_value")).otherwise(pl.Series(rounded)).alias("standard_value")
    )
