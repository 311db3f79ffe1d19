"""The catalogue's rows that a partner flagged in the counting round, kept in its home: later tables add none.

The mean of a row is divided by the holders that were counted, so the change of one more would move it too far.
"""

from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import ConfigError
from pipeline.home.counted_flags import expect_counted_flags, must_flag_anew
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.plan.catalogue import CatalogueTask
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import Schema, check_table


class OwnRows(Schema):
    """The file in a home with what this partner flagged; private, like the flags."""

    plan: str  # digest of the plan under which it was flagged
    tasks: tuple[CatalogueTask, ...]


def obtain_rows(plan: Plan, home: Home, held: Collection[int]) -> list[int]:
    """Rows of the catalogue that this partner flags under a plan: made once, and kept before anything is sealed.

    held : rows that today's tables hold
    A count under another plan gets the same flags: two counts would differ by what the tables gained in between.
    Raises ConfigError for a damaged file, or if flags were sealed that the home no longer has.
    """
    kept = _read(home) if home.rows.exists() else None
    is_new = must_flag_anew(plan, home, home.rows, kept.plan if kept else None)
    if kept is None or is_new:
        kept = OwnRows(plan=plan.digest, tasks=tuple(plan.catalogue.tasks[row] for row in sorted(held)))
        write_json(home.rows, kept.model_dump(mode="json"))
    return _rows(plan, kept)


def flagged_rows(plan: Plan, home: Home, held: Mapping[int, Sequence[int]]) -> Mapping[int, Sequence[int]]:
    """Of the rows that today's tables hold, with their tasks, those that were flagged; all if none were ever kept.

    Raises ConfigError for a damaged file, or one that is missing or of another plan though its flags were counted.
    """
    kept = _read(home) if home.rows.exists() else None
    if plan.catalogue.tasks:
        expect_counted_flags(home, home.rows, kept.plan if kept else None)
    if kept is None:
        return held
    flagged = set(_rows(plan, kept))
    return {row: tasks for row, tasks in held.items() if row in flagged}


def _rows(plan: Plan, kept: OwnRows) -> list[int]:
    rows = {(task.id, task.threshold): row for row, task in enumerate(plan.catalogue.tasks)}
    return [rows[task.id, task.threshold] for task in kept.tasks if (task.id, task.threshold) in rows]


def _read(home: Home) -> OwnRows:
    """Read the file; raises ConfigError if it is damaged."""
    try:
        table = read_json(home.rows)
    except ValueError as error:
        raise ConfigError(f"{home.rows}: cannot be read as JSON: {error}") from error
    return check_table(table, OwnRows, str(home.rows))
