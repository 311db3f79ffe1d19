"""The columns of the input tables T0, T1 and T2: types, units, allowed words and examples.

The tables in data_prep/README.md and the output of `hocket prepare --columns` are made from this module.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from data_prep.settings import ASSAY_TYPES

TRUE_WORDS, FALSE_WORDS = ("true", "1", "yes", "t", "y", "1.0"), ("false", "0", "no", "f", "n", "0.0")
QUALIFIER_OF = {"<": "<", "<=": "<", "<<": "<", ">": ">", ">=": ">", ">>": ">", "=": "=", "~": "=", "": "="}
"""What each way to write a qualifier means; an empty one is exact."""
DIRECTIONS = ("high", "low")
_MOLAR = ("M", "mM", "uM", "nM", "pM")
UNITS = (*_MOLAR, *(f"log10 {m}" for m in _MOLAR), *(f"-log10 {m}" for m in _MOLAR), "log10", "%", "z-score")
COMPOUND_ID, SMILES = "input_compound_id", "smiles"
DAY = "day"  # of a measurement; what its column is called in T1 or T0 is a partner's setting

# Words of other sources that no comparison of letters leads to ours: (allowed words, their words).
_SYNONYMS = (
    ("OTHER", ("ic50", "ec50", "ac50", "ki", "kd", "pic50", "pec50", "pki", "pkd", "dose-response", "binding")),
    ("AUX_HTS", ("hts", "screen", "screening", "single point", "single-point", "inhibition", "% inhibition")),
    ("ADME", ("admet", "pk", "solubility", "clearance", "permeability", "stability", "logd", "physchem")),
    ("high", ("up", "increasing", "higher", "max")),
    ("low", ("down", "decreasing", "lower", "min")),
    ("<=", ("≤", "=<", "⩽")),
    (">=", ("≥", "=>", "⩾")),
    ("~", ("≈", "ca", "ca.", "about", "~=")),
    ("=", ("==", "equal", "exact", "eq")),
    ("<", ("lt", "less", "less than")),
    (">", ("gt", "greater", "greater than", "more than")),
    ("standard_unit", ("unit", "units", "uom")),
    ("direction", ("activity_direction",)),
    ("is_binary", ("binary",)),
    ("expert_threshold_1", ("threshold",)),
)
_SYNONYM = {theirs: ours for ours, words in _SYNONYMS for theirs in words}
_MOST_SHOWN = 3  # unknown words
_LONGEST_SHOWN = 20  # characters of an unknown word


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an input table."""

    name: str
    kind: str
    meaning: str
    example: str
    is_required: bool = False
    unit: str = "-"
    words: tuple[str, ...] = ()  # allowed words; empty: any text or number


def _flag(name: str, meaning: str, example: str) -> Column:
    return Column(name, "true or false", f"{meaning}; empty: false", example, words=("true", "false"))


_THRESHOLD = (
    "where active begins, as T1's converted values; all empty: hocket chooses one. Binary and `AUX_HTS` assays use none"
)
TABLES: Mapping[str, tuple[Column, ...]] = {
    "T0": (
        Column("input_assay_id", "id", "the assay", "KIN-17", is_required=True),
        Column(
            "assay_type",
            "word",
            "what the assay measures: it decides credible values, thresholds and weights; in any case",
            "OTHER",
            is_required=True,
            words=ASSAY_TYPES,
        ),
        _flag("use_in_regression", "the assay also gives a regression task", "true"),
        _flag("is_binary", "its values in T1 are 1 (active) and -1 (inactive)", "false"),
        *(Column(f"expert_threshold_{i}", "number", _THRESHOLD, f"{5 + i}", unit="log units") for i in range(1, 6)),
        Column(
            "direction",
            "word",
            "`high`: active at or above the threshold; `low`: at or below; empty: as `high`",
            "high",
            words=DIRECTIONS,
        ),
        Column(
            "catalog_assay_id",
            "text",
            "name under which partners share the assay; types `CATALOG-PANEL` and `PANEL` only",
            "CHEMBL240",
        ),
        Column("parent_assay_id", "text", "your own note; it is copied to the tables of tasks", "KIN"),
    ),
    "T1": (
        Column(COMPOUND_ID, "id", "the compound, as in T2", "C-0001", is_required=True),
        Column("input_assay_id", "id", "the assay, as in T0", "KIN-17", is_required=True),
        Column(
            "standard_qualifier",
            "word",
            "`<`: the true value lies below; `<=` and `<<` are read as `<`, `>=` and `>>` as `>`, `~` and empty as `=`",
            "=",
            is_required=True,
            words=tuple(word for word in QUALIFIER_OF if word),
        ),
        Column(
            "standard_value",
            "number",
            "the value, in the unit of its row; of a binary assay 1 or -1",
            "7.32",
            is_required=True,
            unit="`standard_unit`",
        ),
        Column(
            "standard_unit",
            "word",
            "the unit of the value; empty: that of `[data] unit` (a molar one: `OTHER`, panels only), else log units",
            "-log10 M",
            words=UNITS,
        ),
    ),
    "T2": (
        Column(COMPOUND_ID, "id", "the compound", "C-0001", is_required=True),
        Column(
            SMILES,
            "SMILES",
            "its structure; salts are stripped, and stereo marks removed unless the plan keeps them",
            "CC(=O)Oc1ccccc1C(=O)O",
            is_required=True,
        ),
    ),
}
COLUMN_NAMES = tuple(dict.fromkeys(column.name for columns in TABLES.values() for column in columns))


def names_of(table: str, *, required: bool) -> tuple[str, ...]:
    """Return the names of a table's required or of its optional columns, in order."""
    return tuple(column.name for column in TABLES[table] if column.is_required == required)


def words_of(name: str) -> tuple[str, ...]:
    """Return the allowed words of a column, empty if it may have any text."""
    return next(column.words for columns in TABLES.values() for column in columns if column.name == name)


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the allowed word that is most like another one or means the same, None if there is none.

    cutoff : 0 to 1, least similarity by difflib
    """
    spelling = {allowed.casefold(): allowed for allowed in words}
    synonym = _SYNONYM.get(word.strip().casefold(), "").casefold()
    if synonym in spelling:
        return spelling[synonym]
    close = get_close_matches(word.strip().casefold(), spelling, 1, cutoff)
    return spelling[close[0]] if close else None


def expected_words(unknown: Sequence[str], words: Sequence[str]) -> str:
    """Return a text with unknown words, the allowed ones, and for each unknown word the nearest."""
    shown = [_shown(word) for word in unknown[:_MOST_SHOWN]]
    more = ", ..." if len(unknown) > _MOST_SHOWN else ""
    text = f"found {', '.join(shown)}{more}, expected one of {', '.join(words)}"
    near = [(label, nearest(word, words)) for label, word in zip(shown, unknown, strict=False)]
    return text + "".join(f"; nearest to {label}: {word}" for label, word in near if word)


def _shown(word: str) -> str:
    if not word:
        return "nothing"
    return repr(word if len(word) <= _LONGEST_SHOWN else f"{word[:_LONGEST_SHOWN]}...")


def columns_text() -> str:
    """Return the Markdown tables of all columns, one for each input table."""
    titles = {"T0": "**T0, the assays**", "T1": "**T1, the activities**", "T2": "**T2, the structures**"}
    return "\n\n".join(f"{titles[table]}\n\n{_markdown(columns)}" for table, columns in TABLES.items()) + "\n"


def _markdown(columns: Sequence[Column]) -> str:
    head = ("| column | type | unit | allowed words | example | meaning |", "|---|---|---|---|---|---|")
    rows = (_row(tuple(alike)) for _, alike in groupby(columns, lambda column: column.meaning))
    return "\n".join((*head, *(f"| {' | '.join(cells)} |" for cells in rows)))


def _row(alike: tuple[Column, ...]) -> tuple[str, ...]:
    first = alike[0]
    name = f"`{first.name}`" + (f" to `{alike[-1].name}`" if len(alike) > 1 else "")
    kind = f"{first.kind}, required" if first.is_required else first.kind
    words = ", ".join(f"`{word}`" for word in first.words) or "any"
    return name, kind, first.unit, words, f"`{first.example}`", first.meaning
