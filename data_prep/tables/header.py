"""Find the columns of an input table in a file's header line, under any of their configured names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.columns import COLUMN_NAMES, nearest
from data_prep.errors import TableError

NamesInFile = Mapping[str, Sequence[str]]
"""Names that columns may have in a file, by the column's own name; the first that the file has is taken."""

_DECISIVE = ("direction", "is_binary", "standard_unit")
"""Optional columns without which values have another meaning."""
_LIKE, _VERY_LIKE = 0.75, 0.85  # by difflib; `standard_type` is .77 like `standard_unit`, `standard_units` .96


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns to read from a file; a column that is not in `names` has its own name in the file."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    names: NamesInFile = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, the required ones first."""
        return (*self.required, *self.optional)

    def names_of(self, column: str) -> Sequence[str]:
        """Return the names that a column may have in the file."""
        return self.names.get(column, (column,))


def wanted_columns(
    required: tuple[str, ...], optional: tuple[str, ...], renamed: Mapping[str, Sequence[str]] | None
) -> Wanted:
    """Return the columns of a table of which some have other names in the file, or their own.

    renamed : other names by column; a column with another name is required, so that a mistyped name is noticed
    """
    others = renamed or {}
    required = (*required, *(column for column in optional if column in others))
    names = {column: (*others[column], column) for column in (*required, *optional) if column in others}
    return Wanted(required, tuple(column for column in optional if column not in others), names)


def match_columns(path: Path, header: Sequence[str], wanted: Wanted) -> dict[str, int]:
    """Return the index in the header of each wanted column that is there; letters may have any case.

    Raises TableError if a required column is missing, a wanted one is there more than once, or a column that decides
    what values mean seems to be there under another name.
    """
    indices = {column: _indices(header, wanted.names_of(column)) for column in wanted.columns}
    repeated = [header[found[0]] for found in indices.values() if len(found) > 1]
    if repeated:
        error = TableError(f"{path.name}: found column {', '.join(repeated)} more than once, expected it once")
        error.add_note("remove or rename the other columns of this name")
        raise error
    missing = [column for column in wanted.required if not indices[column]]
    if missing:
        raise _missing_error(path, header, missing, wanted)
    _expect_no_misspelled(path, header, wanted)
    return {column: found[0] for column, found in indices.items() if found}


def n_matches(header: Sequence[str], wanted: Wanted) -> int:
    """Return how many of the wanted columns a header has."""
    return sum(bool(_indices(header, wanted.names_of(column))) for column in wanted.columns)


def misspelled_columns(header: Sequence[str], wanted: Wanted) -> dict[str, str]:
    """Return the header's names that are like an optional column that it lacks, with that column."""
    return _near(header, wanted, wanted.optional, _LIKE)


def _near(header: Sequence[str], wanted: Wanted, columns: Sequence[str], cutoff: float) -> dict[str, str]:
    """Return the names in the header that are like one of these columns that it lacks, with that column."""
    indices = {column: _indices(header, wanted.names_of(column)) for column in wanted.columns}
    lacking = [column for column in columns if not indices[column]]
    used = {index for places in indices.values() for index in places}
    near = {name: nearest(name, lacking, cutoff) for index, name in enumerate(header) if index not in used}
    return {name: column for name, column in near.items() if column}


def _expect_no_misspelled(path: Path, header: Sequence[str], wanted: Wanted) -> None:
    decisive = [column for column in wanted.optional if column in _DECISIVE]
    near = _near(header, wanted, decisive, _VERY_LIKE)
    if near:
        texts = [f"found column {name}, which is not known, expected {column}" for name, column in near.items()]
        error = TableError(f"{path.name}: {'; '.join(texts)}")
        error.add_note("rename it, or name it in [data.columns] of partner.toml; if it is something else, remove it")
        raise error


def _indices(header: Sequence[str], names: Sequence[str]) -> list[int]:
    for name in names:
        exact = [index for index, found in enumerate(header) if found == name]
        same = exact or [index for index, found in enumerate(header) if found.casefold() == name.casefold()]
        if same:
            return same
    return []


def _missing_error(path: Path, header: Sequence[str], missing: Sequence[str], wanted: Wanted) -> TableError:
    # the first line of a file without header is data, so only what looks like a column of these tables is shown
    shown = [name for name in header if nearest(name, (*COLUMN_NAMES, *_own_names(wanted)))]
    among = f", among them {', '.join(shown)}" if shown else ", none with a name like those of T0, T1 or T2"
    texts = [_missing_text(column, shown, wanted) for column in missing]
    error = TableError(f"{path.name}: missing column {', '.join(texts)}; found {len(header)} columns{among}")
    error.add_note(
        f"expected a header line with at least {', '.join(wanted.required)}; commas, semicolons or tabs between"
    )
    error.add_note(
        "columns of other names: [data.columns] in partner.toml, or --id-column and --smiles-column of predict and "
        "embed; `hocket prepare --columns` shows all columns"
    )
    return error


def _own_names(wanted: Wanted) -> list[str]:
    return [name for names in wanted.names.values() for name in names]


def _missing_text(column: str, shown: Sequence[str], wanted: Wanted) -> str:
    names = [name for name in wanted.names_of(column) if name != column]
    text = f"{column} (named {' or '.join(names)})" if names else column
    near = nearest(column, shown)
    return f"{text} (nearest: {near})" if near else text
