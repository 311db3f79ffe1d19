"""Turn one value per assay and compound into labels: the thresholds, and which compounds are active.

The rules are MELLODDY-TUNER's; adaptive thresholds of a direction-low assay are tried from the other end, which
mirrors direction high exactly. Panels and AUX_PL have no rule of their own and are treated like OTHER.
"""

from math import log10

import polars as pl

from data_prep.settings import Activities

_CENSOR_SHIFT = log10(2.0)  # log units: for the median, a censored value counts as twice its bound
_LABELLED = {"candidate": pl.UInt32, "row": pl.UInt32, "label": pl.Int8}


def label(value: pl.Expr, qualifier: pl.Expr, threshold: pl.Expr, side: pl.Expr) -> pl.Expr:
    """Return 1 (active), -1 (inactive) or null (a censored value that could be either).

    side : "high": active at or above the threshold; "low": at or below; "hts-high", "hts-low", "hts-size": the same
    without regard to the qualifier, "hts-size" on the absolute value (thresholds of "hts-low" are negative).
    """
    low = side.is_in(["low", "hts-low"])
    sign = pl.when(low).then(-1.0).otherwise(1.0)
    height = pl.when(side == "hts-size").then(value.abs()).otherwise(value) * sign
    bound = threshold * sign
    certain = side.str.starts_with("hts")
    at_most = ~certain & (qualifier == pl.when(low).then(pl.lit(">")).otherwise(pl.lit("<")))
    at_least = ~certain & (qualifier == pl.when(low).then(pl.lit("<")).otherwise(pl.lit(">")))
    inactive = (height < bound) & ~at_least | (height == bound) & at_most
    return pl.when((height >= bound) & ~at_most).then(1).when(inactive).then(-1).cast(pl.Int8)


def uses_experts() -> pl.Expr:
    """Return whether an assay's thresholds are the expert ones of T0; if it has none, they are chosen by its values."""
    return ~pl.col("is_binary") & (pl.col("assay_type") != "AUX_HTS")


def candidate_tasks(assays: pl.DataFrame, values: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return all possible tasks of the assays with values, sorted by assay and threshold.

    Columns: `candidate` (0, 1, ...), `input_assay_id`, `catalog_assay_id`, `parent_assay_id`, `assay_type`,
    `direction`, `side` (see label), `threshold`, `threshold_method`, `is_auxiliary`, `rank` (of the threshold within
    its assay).
    """
    measured = assays.drop("input_row").unique("input_assay_id").join(values, on="input_assay_id", how="semi")
    measured = measured.with_columns(_side().alias("side"))
    by_expert = measured["experts"].list.len() > 0
    dose = uses_experts() & (pl.col("assay_type") != "ADME")
    adme = uses_experts() & (pl.col("assay_type") == "ADME")
    dose_without, adme_without = measured.filter(dose & ~by_expert), measured.filter(adme & ~by_expert)
    main = pl.concat(
        [
            _fixed(measured, settings),
            measured.filter(uses_experts() & by_expert)
            .select("input_assay_id", pl.col("experts").alias("threshold"), pl.lit("expert").alias("threshold_method"))
            .explode("threshold"),
            _adaptive(dose_without, values, settings),
            _quantiles(adme_without, values),
        ]
    )
    auxiliary_thresholds = _auxiliary(main.join(measured.filter(dose), on="input_assay_id", how="semi"), settings)
    tasks = (
        pl.concat([main, auxiliary_thresholds]).join(measured, on="input_assay_id").sort("input_assay_id", "threshold")
    )
    auxiliary = pl.col("threshold_method").str.starts_with("aux") | pl.col("assay_type").str.starts_with("AUX")
    tasks = tasks.with_columns(auxiliary.alias("is_auxiliary"))
    tasks = tasks if settings.auxiliary_tasks else tasks.filter(~pl.col("is_auxiliary"))
    return tasks.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("candidate"),
        *("input_assay_id", "catalog_assay_id", "parent_assay_id", "assay_type", "direction", "side"),
        *("threshold", "threshold_method", "is_auxiliary"),
        pl.int_range(pl.len(), dtype=pl.UInt32).over("input_assay_id").alias("rank"),
    )


def label_all(candidates: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Return the labels, 1 or -1, of all candidate tasks: columns `candidate`, `row`, `label`."""
    parts = [pl.DataFrame(schema=_LABELLED)]
    for _, tasks in candidates.select("rank", "input_assay_id", "candidate", "threshold", "side").group_by("rank"):
        label_of_value = label(*(pl.col(c) for c in ("standard_value", "standard_qualifier", "threshold", "side")))
        labelled = values.join(tasks, on="input_assay_id").with_columns(label_of_value.alias("label"))
        parts.append(labelled.filter(pl.col("label").is_not_null()).select(list(_LABELLED)))
    return pl.concat(parts).sort("candidate", "row")


def _side() -> pl.Expr:
    hts = ~pl.col("is_binary") & (pl.col("assay_type") == "AUX_HTS")
    direction = pl.col("direction")
    return (
        pl.when(hts & (direction == ""))
        .then(pl.lit("hts-size"))
        .when(hts)
        .then(pl.lit("hts-") + direction)
        .when(~pl.col("is_binary") & (direction == "low"))
        .then(pl.lit("low"))
        .otherwise(pl.lit("high"))
    )


def _fixed(measured: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return the thresholds of binary assays (0, between -1 and 1) and of AUX_HTS."""
    fixed = pl.when(pl.col("side") == "hts-low").then(-settings.hts_threshold).otherwise(settings.hts_threshold)
    return measured.filter(pl.col("is_binary") | (pl.col("assay_type") == "AUX_HTS")).select(
        "input_assay_id",
        pl.when("is_binary").then(0.0).otherwise(fixed).alias("threshold"),
        pl.when("is_binary").then(pl.lit("binary")).otherwise(pl.lit("fixed")).alias("threshold_method"),
    )


def _adaptive(assays: pl.DataFrame, values: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return for each assay the first trial threshold with enough actives and inactives, else the median."""
    rows = values.drop("assay_type").join(assays.select("input_assay_id", "side"), on="input_assay_id")
    value, qualifier, side = pl.col("standard_value"), pl.col("standard_qualifier"), pl.col("side")
    trials = settings.adaptive_thresholds
    shift = qualifier.replace_strict({"<": -_CENSOR_SHIFT, ">": _CENSOR_SHIFT, "=": 0.0}, return_dtype=pl.Float64)
    labels = {f"label_{i}": label(value, qualifier, pl.lit(trial), side) for i, trial in enumerate(trials)}
    rows = rows.with_columns((value + shift).alias("median"), **labels)  # within agg, label is slow with many assays
    passes = []
    for name in labels:
        active, inactive = (pl.col(name) == 1).sum(), (pl.col(name) == -1).sum()
        enough = (active >= settings.adaptive_min_active) & (inactive >= settings.adaptive_min_inactive)
        passes.append(enough & (active >= settings.adaptive_active_share * (active + inactive)))
    groups = rows.group_by("input_assay_id").agg(
        side.first(), pl.col("median").median(), *(p.alias(f"{i}") for i, p in enumerate(passes))
    )
    high = [pl.when(f"{i}").then(trial) for i, trial in enumerate(trials)]
    first = pl.when(side == "low").then(pl.coalesce(*high[::-1])).otherwise(pl.coalesce(*high))
    method = pl.when(first.is_null()).then(pl.lit("median")).otherwise(pl.lit("fixed_adaptive"))
    return groups.select(
        "input_assay_id", pl.coalesce(first, "median").alias("threshold"), method.alias("threshold_method")
    )


def _quantiles(assays: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Return the median of the exact values of ADME assays and, if they have a direction, the quartile beyond it."""
    exact = values.filter(pl.col("standard_qualifier") == "=").drop("assay_type")
    rows = exact.join(assays.select("input_assay_id", "direction"), on="input_assay_id")
    value = pl.col("standard_value")
    groups = rows.group_by("input_assay_id", "direction").agg(
        pl.len().alias("n"),
        value.median().alias("median"),
        value.quantile(0.25, "linear").alias("low"),
        value.quantile(0.75, "linear").alias("high"),
    )
    groups = groups.filter(pl.col("n") > 1)
    quartile = pl.when(pl.col("direction") == "low").then("low").when(pl.col("direction") == "high").then("high")
    groups = groups.with_columns(quartile.alias("quartile"))
    beyond = groups.filter(pl.col("quartile") != pl.col("median"))
    return pl.concat(
        part.select("input_assay_id", pl.col(method).alias("threshold"), pl.lit(method).alias("threshold_method"))
        for method, part in (("median", groups), ("quartile", beyond))
    )


def _auxiliary(main: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return a threshold below the lowest and one above the highest of each assay with few enough thresholds."""
    ends = main.group_by("input_assay_id").agg(
        pl.col("threshold").min().alias("aux_low") - settings.auxiliary_offset,
        pl.col("threshold").max().alias("aux_high") + settings.auxiliary_offset,
        pl.len().alias("n"),
    )
    few = ends.filter(pl.col("n") <= settings.auxiliary_until_experts).drop("n")
    return few.unpivot(index="input_assay_id", variable_name="threshold_method", value_name="threshold").select(
        main.columns
    )
