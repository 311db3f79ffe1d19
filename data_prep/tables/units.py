"""Units of T1's values: their names, and how a value becomes -log10 of mol/l (pXC50)."""

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

Scale = Literal["molar", "log10", "%", "z-score"]
"""The values of an assay must have one scale; "molar": -log10 of mol/l."""

_EXPONENTS = {"M": 0.0, "mM": 3.0, "uM": 6.0, "nM": 9.0, "pM": 12.0}  # 1 mol/l is 10^9 nM
_DECIMALS = 9  # of a converted value, so that 1000 nM is exactly 6 whatever the machine's logarithm gives
_NAMES_OF_PXC50 = ("pXC50", "pIC50", "pEC50", "pAC50", "pKi", "pKd", "pChEMBL")
# lower case first: U+00B5, the micro sign, becomes U+03BC, the Greek letter; U+2212 is a typographic minus
_SPELLINGS = ((r"[\s()\[\]]", ""), ("\u03bc", "u"), ("\u2212", "-"), ("mol/l", "m"), ("log10", "log"), ("percent", "%"))


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of T1's values. A value v of scale "molar" is v0 + sign * log10(v), or v0 + sign * v if it is a logarithm.

    A negative `sign` turns the order of values around, so "<" becomes ">".
    """

    name: str
    scale: Scale
    v0: float = 0.0
    sign: int = 1
    is_concentration: bool = False


def _units() -> dict[str, Unit]:
    units = [Unit(m, "molar", e, -1, is_concentration=True) for m, e in _EXPONENTS.items()]
    units += [Unit(f"log10 {m}", "molar", e, -1) for m, e in _EXPONENTS.items()]
    units += [Unit(f"-log10 {m}", "molar", e) for m, e in _EXPONENTS.items()]
    units += [Unit("log10", "log10"), Unit("%", "%"), Unit("z-score", "z-score")]
    return {unit.name: unit for unit in units}


UNITS = _units()
UNSTATED = ""
"""Of a value without a unit, which is taken as it is."""
UNIT = pl.Enum([UNSTATED, *UNITS])


def unit_named(text: str) -> Unit | None:
    """Return the unit of this name, in any case and with any micro sign; "nmol/l" is nM, "pIC50" -log10 M; or None."""
    return _UNIT_OF_KEY.get(_key(text))


def _key(text: str) -> str:
    key = text.casefold()
    for pattern, spelling in _SPELLINGS:
        key = re.sub(pattern, spelling, key)
    return key


_UNIT_OF_KEY = {_key(name): unit for name, unit in UNITS.items()}
_UNIT_OF_KEY |= {_key(name): UNITS["-log10 M"] for name in _NAMES_OF_PXC50} | {"zscore": UNITS["z-score"]}


def units_of(texts: pl.Series) -> pl.Series:
    """Return the UNIT of each text; UNSTATED for null, and null for an unknown unit."""
    names = {text: unit.name if (unit := unit_named(text)) else None for text in texts.unique().drop_nulls()}
    known = texts.fill_null(UNSTATED).replace_strict({**names, UNSTATED: UNSTATED}, return_dtype=pl.String)
    return known.cast(UNIT)


def is_reversed(unit: pl.Expr) -> pl.Expr:
    """Return whether conversion turns the order of values around; null for UNSTATED."""
    return _fact(unit, {name: u.sign < 0 for name, u in UNITS.items()}, pl.Boolean)


def is_concentration(unit: pl.Expr) -> pl.Expr:
    """Return whether the unit is a concentration, whose values are positive; null for UNSTATED."""
    return _fact(unit, {name: u.is_concentration for name, u in UNITS.items()}, pl.Boolean)


def scale_of(unit: pl.Expr) -> pl.Expr:
    """Return the scale of the converted values; null for UNSTATED."""
    return _fact(unit, {name: u.scale for name, u in UNITS.items()}, pl.String)


def converted(value: pl.Expr, unit: pl.Expr) -> pl.Expr:
    """Return the values on the scale of their unit; those of UNSTATED, "log10", "%" and "z-score" as they are."""
    logarithm = pl.when(is_concentration(unit)).then(value.log10()).otherwise(value)
    v0 = _fact(unit, {name: u.v0 for name, u in UNITS.items()}, pl.Float64)
    molar = pl.when(is_reversed(unit)).then(v0 - logarithm).otherwise(v0 + logarithm).round(_DECIMALS)
    return pl.when(scale_of(unit) == "molar").then(molar).otherwise(value)


def _fact(unit: pl.Expr, facts: dict[str, object], dtype: type[pl.DataType]) -> pl.Expr:
    return unit.cast(pl.String).replace_strict(facts, default=None, return_dtype=dtype)
