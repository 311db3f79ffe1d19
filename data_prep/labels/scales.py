"""Put the values of an assay on one scale: concentrations and their logarithms become -log10 of mol/l (pXC50)."""

import polars as pl

from data_prep.settings import DOSE_TYPES
from data_prep.tables.tables import QUALIFIER, Table, first_reason, reject
from data_prep.tables.units import UNIT, UNSTATED, converted, is_concentration, is_reversed, scale_of, unit_named

_SCALES = {
    **dict.fromkeys(DOSE_TYPES, ("molar",)),
    **dict.fromkeys(("ADME", "AUX_PL"), ("molar", "log10", "%", "z-score")),
    "AUX_HTS": ("z-score",),
}
"""The scales that an assay of each type may have, if its unit is stated."""
_OPPOSITE = {"<": ">", ">": "<", "=": "="}


def on_one_scale(assays: pl.DataFrame, activities: pl.DataFrame, unit: str = "") -> Table:
    """Convert concentrations and their logarithms to -log10 of mol/l; where that turns the order around, "<" is ">".

    activities : read_activities' rows; unit : of values without `standard_unit`, "": log units. A molar one is that of
    dose-response assays only: those of another type may have values that are no concentrations, such as logD.

    Binary assays have no unit, and a value without any stays as it is. Codes: `unit_of_another_type`, `not_positive`
    (a concentration), `mixed_units` (of an assay's values that have a scale its type may have).
    """
    default = unit_named(unit)
    if default is None and (activities["unit"] == UNSTATED).all():
        return reject("T1", activities, pl.lit(None, pl.String))
    rows = activities.join(_types(assays), on="input_assay_id", how="left", maintain_order="left")
    if default is not None:
        has_default = (pl.col("unit") == UNSTATED) & (pl.col("is_dose") | pl.lit(default.scale != "molar"))
        rows = rows.with_columns(pl.when(has_default).then(pl.lit(default.name, UNIT)).otherwise("unit").alias("unit"))
    rows = rows.with_columns(pl.when("is_binary").then(pl.lit(UNSTATED, UNIT)).otherwise("unit").alias("unit"))
    rows = rows.with_columns(_scale().alias("scale"))
    allowed = pl.col("scale").is_in(pl.col("scales")) | (pl.col("unit") == UNSTATED)
    n_scales = pl.col("scale").filter(allowed).n_unique().over("input_assay_id")
    table = reject(
        "T1",
        rows,
        first_reason(
            unit_of_another_type=~allowed,
            not_positive=is_concentration(pl.col("unit")) & (pl.col("standard_value") <= 0),
            mixed_units=n_scales > 1,
        ),
    )
    return Table(table.accepted.with_columns(*_values()).select(activities.columns), table.rejected)


def _types(assays: pl.DataFrame) -> pl.DataFrame:
    assay_type = pl.col("assay_type")
    return assays.unique("input_assay_id").select(
        pl.col("input_assay_id").cast(pl.String).cast(pl.Categorical),
        "is_binary",
        assay_type.is_in(DOSE_TYPES).alias("is_dose"),
        assay_type.replace_strict(_SCALES, return_dtype=pl.List(pl.String)).alias("scales"),
    )


def _scale() -> pl.Expr:
    """Return the scale of each value; without a unit that of its type, which has no name unless it is "molar"."""
    without_unit = pl.when("is_dose").then(pl.lit("molar")).otherwise(pl.lit(UNSTATED))
    return scale_of(pl.col("unit")).fill_null(without_unit)


def _values() -> tuple[pl.Expr, pl.Expr]:
    value, qualifier, unit = pl.col("standard_value"), pl.col("standard_qualifier"), pl.col("unit")
    opposite = qualifier.replace_strict(_OPPOSITE, return_dtype=QUALIFIER)
    turned = pl.when(is_reversed(unit)).then(opposite).otherwise(qualifier)
    return converted(value, unit).alias("standard_value"), turned.alias("standard_qualifier")
