"""The input columns that a partner flagged in the counting round, kept in its home: they are never flagged again."""

from collections.abc import Callable
from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import model_validator

from partners.network.input_columns import InputColumns
from partners.training_data.column_flags import ColumnFlags
from pipeline.errors import ConfigError
from pipeline.home.catalogue_counts import Holders
from pipeline.home.counted_flags import expect_counted_flags, must_flag_anew
from pipeline.home.first_trunk import started_trunk
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import Schema, check_table


class OwnColumns(Schema):
    """File with the columns that this partner flagged; later tables do not change it."""

    plan: str  # digest of the plan under which it was flagged
    flagged: tuple[int, ...]
    withheld: tuple[int, ...]

    @model_validator(mode="after")
    def _are_columns(self) -> Self:
        for columns in (self.flagged, self.withheld):
            if any(column < 0 for column in columns[:1]) or any(a >= b for a, b in pairwise(columns)):
                raise ValueError("found columns that are not ascending numbers from 0 on")
        if set(self.flagged) & set(self.withheld):
            raise ValueError("found a column that is both flagged and withheld")
        return self


def obtain_flags(plan: Plan, home: Home, make: Callable[[], ColumnFlags]) -> ColumnFlags:
    """What this partner flags under a plan: made once, and kept before anything is sealed.

    A count under another plan gets the same flags: two counts would differ by what the tables gained in between.
    Raises ConfigError for a damaged file, or if flags were sealed that the home no longer has.
    """
    kept = _read(home) if home.columns.exists() else None
    is_new = must_flag_anew(plan, home, home.columns, kept.plan if kept else None)
    if kept is not None and not is_new:
        return _flags(kept)
    flags = make()
    own = OwnColumns(plan=plan.digest, flagged=tuple(flags.flagged.tolist()), withheld=tuple(flags.withheld.tolist()))
    write_json(home.columns, own.model_dump(mode="json"))
    return flags


def input_columns(plan: Plan, home: Home, holders: Holders) -> InputColumns:
    """A partner's part in the input columns that were counted. Raises ConfigError for a missing or damaged file."""
    if not plan.columns.are_counted:
        return InputColumns()
    if not home.columns.exists():
        error = ConfigError(f"{home.columns}: is missing, but {home.catalogue} was counted with what it says")
        error.add_note("restore the whole home, then go on under a revision of the plan: see secure/KEYS.md")
        raise error
    kept = _read(home)
    expect_counted_flags(home, home.columns, kept.plan)
    flags = _flags(kept)
    most = max(flags.flagged.max(initial=-1), flags.withheld.max(initial=-1))
    if most >= plan.layout.n_inputs:
        raise ConfigError(f"{home.columns}: found column {most}, expected columns below {plan.layout.n_inputs}")
    started = started_trunk(plan, home)
    read = started.read if started else lambda: None
    return InputColumns(holders.columns, flags.flagged, flags.withheld, plan.federation.seed, read)


def _flags(own: OwnColumns) -> ColumnFlags:
    return ColumnFlags(np.array(own.flagged, dtype=np.int64), np.array(own.withheld, dtype=np.int64))


def _read(home: Home) -> OwnColumns:
    """Read the file; raises ConfigError if it is damaged."""
    try:
        table = read_json(home.columns)
    except ValueError as error:
        raise ConfigError(f"{home.columns}: cannot be read as JSON: {error}") from error
    return check_table(table, OwnColumns, str(home.columns))
