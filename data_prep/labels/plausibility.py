"""Refuse an assay whose values can hardly be in log units, such as one in nM or percent.

Each assay is checked by itself: values between 3 and 10 nM look like pXC50, but the other values of their assay do not.
The limits leave room around what 5,804 real assays have (ChEMBL's targets and Biogen's ADME set, split over 27
partners): all pass.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_prep.labels.activities import credible_limits
from data_prep.labels.scales import on_one_scale
from data_prep.settings import DOSE_TYPES, Activities, OwnTables
from data_prep.tables.tables import Table, reject
from data_prep.tables.units import UNIT, UNSTATED, scale_of

_LIMIT_WITHOUT_RANGE = 13.0  # log units; of types without a credible range, no logarithm of a measured value is larger
_FAR = 2.0  # log units beyond the credible range
_MOST_FAR = 0.1  # share of the values; those assays: 0
_ABOVE, _MOST_OUTSIDE = 1.0, 0.5  # log units above the credible range, share of the values; those assays: .004 at most
_FEWEST_VALUES = 10  # for the rules below; of fewer, one or two odd values say nothing
_LOWEST_MEDIAN = 1.0  # log units above the credible range's lower end, of exact values; those assays: 1.3
_WIDEST_STD = 3.0  # log units; those assays: 2.3
_WIDEST_SPREAD = 0.5  # standard deviation by mean; those assays: .36
_MOST_WHOLE = 0.6  # share of whole numbers; those assays: .35
_FEWEST_DISTINCT = 10  # whole numbers; fewer may be classes
_TINY, _MOST_TINY = 0.01, 0.9  # values in mol/l lie between 0 and 0.01
_WHOLE_BY_NATURE = ("AUX_PL",)  # pseudo-labels may be 0 and 1
_GUESSED = ("nM", "uM", "M", "log10 nM", "log10 M")
_LIKE_PERCENT, _PERCENT = ("nM", "uM"), (-20.0, 120.0)  # potent values in nM, and most in uM, look like percent
_USUAL_MEDIAN = 6.5  # pXC50; of those assays: 6.6


@dataclass(frozen=True, slots=True)
class ImplausibleAssay:
    """An assay whose values can hardly be in log units."""

    input_assay_id: str
    n_values: int
    seen: str  # what is odd about its values

    def __str__(self) -> str:
        return f"{self.input_assay_id}: {self.seen}"


@dataclass(frozen=True, slots=True)
class PlausibleActivities:
    """The activities on one scale for each assay, without those of implausible assays."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    implausible: tuple[ImplausibleAssay, ...]  # by id
    likely_unit: str = ""  # of the implausible assays, see likely_unit


def plausible(assays: pl.DataFrame, activities: Table, settings: Activities, own: OwnTables) -> PlausibleActivities:
    """Convert the activities (see on_one_scale), and reject all of every implausible assay that is not accepted anyway.

    Codes: those of on_one_scale, and `implausible_assay`. What read_activities rejected stays rejected.
    """
    scaled = on_one_scale(assays, activities.accepted, own.unit)
    odd = implausible_assays(assays, scaled.accepted, settings, own.accept)
    refused = pl.Series([assay.input_assay_id for assay in odd], dtype=pl.String).cast(pl.Categorical)
    reason = pl.when(pl.col("input_assay_id").is_in(refused.implode())).then(pl.lit("implausible_assay"))
    table = reject("T1", scaled.accepted, reason)
    rejected = pl.concat([activities.rejected, scaled.rejected, table.rejected])
    likely = likely_unit(assays, scaled.accepted, settings, odd) if odd else ""
    return PlausibleActivities(table.accepted.drop("unit"), rejected, odd, likely)


def implausible_assays(
    assays: pl.DataFrame, activities: pl.DataFrame, settings: Activities, accept: Iterable[str] = ()
) -> tuple[ImplausibleAssay, ...]:
    """Return the assays whose values can hardly be in log units, by id, but for the ids in `accept`.

    activities : on_one_scale's rows. Binary assays and those in percent or z-scores are not checked.
    """
    facts = _facts(activities, _limits(assays, settings))
    odd = facts.filter(_is_odd(), ~pl.col("assay").is_in(list(accept))).sort("assay")
    first = pl.coalesce(pl.when(rule).then(i) for i, (rule, _) in enumerate(_RULES))
    odd = odd.with_columns(first.alias("rule"))
    return tuple(ImplausibleAssay(row["assay"], row["n"], _sentence(row)) for row in odd.iter_rows(named=True))


def _limits(assays: pl.DataFrame, settings: Activities) -> pl.DataFrame:
    """Return the credible limits of each assay that is checked, keyed by its id in T1 (a category)."""
    low, high = credible_limits(settings)
    return assays.unique("input_assay_id").filter(~pl.col("is_binary")).select(
        pl.col("input_assay_id").cast(pl.String).cast(pl.Categorical),
        pl.col("assay_type").is_in(DOSE_TYPES).alias("is_dose"),
        pl.col("assay_type").is_in(_WHOLE_BY_NATURE).alias("may_be_whole"),
        low.is_null().alias("any_value"),
        low.fill_null(-_LIMIT_WITHOUT_RANGE).alias("low"),
        high.fill_null(_LIMIT_WITHOUT_RANGE).alias("high"),
    )  # fmt: skip


def _facts(activities: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    """Return what the rules compare, one row per checked assay with values; `assay` is its id as text."""
    value, exact = pl.col("standard_value"), pl.col("standard_qualifier") == "="
    low, high = pl.col("low"), pl.col("high")
    far = (value < low - _FAR) | (value > high + _FAR)
    scale = scale_of(pl.col("unit"))
    columns = activities.select("input_assay_id", "standard_qualifier", "standard_value", "unit")
    checked = columns.filter(scale.is_null() | scale.is_in(["molar", "log10"])).join(limits, on="input_assay_id")
    return checked.group_by("input_assay_id").agg(
        pl.len().alias("n"),
        pl.col("is_dose", "may_be_whole", "any_value", "low", "high").first(),
        far.mean().alias("far"),
        ((value < low) | (value > high + _ABOVE)).mean().alias("outside"),
        value.filter(exact).median().alias("exact_median"),
        value.median().alias("median"),
        value.filter(~far).mean().fill_null(0.0).alias("mean"),  # a few typing errors do not make it spread
        value.filter(~far).std().fill_null(0.0).alias("std"),
        (value.filter(exact) == value.filter(exact).round()).mean().fill_null(0.0).alias("whole"),
        exact.sum().alias("n_exact"),
        value.filter(exact).n_unique().alias("distinct"),
        ((value > 0) & (value < _TINY)).mean().alias("tiny"),
    ).with_columns(pl.col("input_assay_id").cast(pl.String).alias("assay"))  # fmt: skip


def _rules() -> Iterator[tuple[pl.Expr, str]]:
    """Yield the conditions under which an assay is implausible, and what was seen, to be formatted with its facts."""
    several, dose = pl.col("n") >= _FEWEST_VALUES, pl.col("is_dose")
    yield pl.col("far") > _MOST_FAR, "{far:.0%} of {n:,} values lie outside {far_low:g} to {far_high:g}"
    yield (
        several & (pl.col("outside") > _MOST_OUTSIDE),
        "{outside:.0%} of {n:,} values lie outside {low:g} to {above:g}",
    )
    yield (
        dose & several & (pl.col("exact_median") < pl.col("low") + _LOWEST_MEDIAN),
        "the median of the exact values is {exact_median:.3g}",
    )
    wide = (pl.col("std") > _WIDEST_STD) | (pl.col("std") > _WIDEST_SPREAD * pl.col("mean"))
    yield dose & several & wide, "{n:,} values spread by {std:.3g} around {mean:.3g}"
    whole = (pl.col("distinct") > _FEWEST_DISTINCT) & (pl.col("whole") > _MOST_WHOLE)
    yield ~pl.col("may_be_whole") & whole, "{whole:.0%} of {n_exact:,} exact values are whole numbers"
    yield pl.col("any_value") & several & (pl.col("tiny") > _MOST_TINY), "{tiny:.0%} of {n:,} values lie below 0.01"


_RULES = tuple(_rules())


def _sentence(row: dict[str, Any]) -> str:
    _, text = _RULES[row["rule"]]
    seen = text.format(**row, far_low=row["low"] - _FAR, far_high=row["high"] + _FAR, above=row["high"] + _ABOVE)
    return f"{seen}, median {row['median']:,.4g}"


def likely_unit(
    assays: pl.DataFrame, activities: pl.DataFrame, settings: Activities, odd: Iterable[ImplausibleAssay]
) -> str:
    """Return the unit in which values without a unit would be plausible pXC50 in most assays; "" if there is none.

    activities : on_one_scale's rows, of which those of the implausible dose-response assays are looked at
    """
    ids = pl.Series([a.input_assay_id for a in odd if a.n_values >= _FEWEST_VALUES], dtype=pl.String)
    dose = pl.col("assay_type").is_in(DOSE_TYPES)
    chosen = assays.filter(pl.col("input_assay_id").cast(pl.String).is_in(ids.implode()), dose)
    rows = activities.filter(pl.col("unit") == UNSTATED).join(
        _limits(chosen, settings), on="input_assay_id", how="semi"
    )
    fits = {unit: _fit(chosen, rows, settings, unit) for unit in (_GUESSED if rows.height else ())}
    best = max(fits, key=fits.__getitem__, default="")
    if not best or 2 * fits[best][0] < chosen["input_assay_id"].n_unique():
        return ""
    percent = rows.select((pl.col("standard_value").is_between(*_PERCENT)).mean() > 1 - _MOST_FAR).item()
    return f"{best} or %" if percent and best in _LIKE_PERCENT else best


def _fit(assays: pl.DataFrame, rows: pl.DataFrame, settings: Activities, unit: str) -> tuple[int, float]:
    """Return in how many assays the values would be plausible in this unit, and how near their medians are to usual."""
    values = on_one_scale(assays, rows.with_columns(pl.lit(unit, UNIT).alias("unit"))).accepted
    facts = _facts(values, _limits(assays, settings)).filter(~_is_odd())
    return facts.height, -float((facts["median"] - _USUAL_MEDIAN).abs().mean() or 0.0)  # type: ignore[arg-type]


def _is_odd() -> pl.Expr:
    return pl.any_horizontal(rule.fill_null(value=False) for rule, _ in _RULES)
