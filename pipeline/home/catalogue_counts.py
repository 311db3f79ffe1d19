"""What the counting round counted, at a partner: holders of each catalogue task and of each input column."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import model_validator

from data_prep.prepared import Task
from partners.network.input_columns import InputColumns
from partners.network.shared_head_rows import HolderCounts
from partners.network.trunk import TrunkLayout
from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.plan.catalogue import Catalogue, CatalogueTask
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import Schema, check_table
from secure.encoding.canonical import canonical_json, digest


def held_rows(catalogue: Catalogue, tasks: Iterable[Task]) -> dict[int, tuple[int, ...]]:
    """Row of the catalogue to task_ids of a partner's classification tasks, which are trained as one.

    If for some of them high values are active and for others low ones, only the former: see `opposite_tasks`.
    """
    listed = _listed(catalogue, tasks)
    return {row: tuple(task.task_id for task in _of_one_direction(found)) for row, found in sorted(listed.items())}


def opposite_tasks(catalogue: Catalogue, tasks: Iterable[Task]) -> Iterator[str]:
    """Yield a warning for each row that a partner has in both directions: what it holds, and what stays private."""
    for row, found in sorted(_listed(catalogue, tasks).items()):
        held = _of_one_direction(found)
        left = [task for task in found if task not in held]
        if left:
            yield (
                f"catalogue row {catalogue.tasks[row].id} at {catalogue.tasks[row].threshold:g}: "
                f"the head is shared of {_assays(held)}, where high values are active, but not of {_assays(left)}, "
                "whose direction in T0 is low: give them a catalog_assay_id of their own, or correct the direction"
            )


def _listed(catalogue: Catalogue, tasks: Iterable[Task]) -> dict[int, list[Task]]:
    rows = {(task.id, task.threshold): row for row, task in enumerate(catalogue.tasks)}
    listed: dict[int, list[Task]] = {}
    for task in tasks:
        row = rows.get((task.catalog_assay_id or "", task.threshold))
        if row is not None and not task.is_auxiliary:
            listed.setdefault(row, []).append(task)
    return listed


def _of_one_direction(tasks: Sequence[Task]) -> Sequence[Task]:
    """Tasks for which high values are active, or all if there are none, because one head cannot learn both."""
    return [task for task in tasks if task.direction != "low" or task.threshold_method == "binary"] or tasks


def _assays(tasks: Iterable[Task]) -> str:
    return ", ".join(sorted({task.input_assay_id for task in tasks}))


class CountedColumns(Schema):
    """How many partners flagged each input column."""

    counts: tuple[int, ...]  # by column
    min_partners: int  # of that plan: columns that fewer flagged are not in the vector


class Counted(Schema):
    """The file in a home with the result of the counting round."""

    plan: str  # digest of the plan under which it was counted
    partners: tuple[str, ...]  # who was counted, sorted
    tasks: tuple[CatalogueTask, ...]
    counts: tuple[int, ...]  # how many partners hold each
    min_partners: int  # of that plan: rows that fewer hold have no place in the vector
    columns: CountedColumns | None = None  # None: not counted, all columns are in the vector
    flagged_under: str | None = None  # digest of the plan that this partner's kept flags are of; None: none are kept

    @model_validator(mode="after")
    def _a_count_for_each(self) -> Self:
        if len(self.counts) != len(self.tasks):
            raise ValueError(f"found {len(self.counts)} counts, expected {len(self.tasks)}, one for each task")
        counts, most = (*self.counts, *(self.columns.counts if self.columns else ())), len(self.partners)
        if any(not 0 <= count <= most for count in counts):
            raise ValueError(f"found a count that is not from 0 to {most}, the number of partners that were counted")
        return self


@dataclass(frozen=True, slots=True)
class Holders:
    """How many partners hold each row of the catalogue and each input column; empty where nothing is counted."""

    rows: HolderCounts = field(default_factory=HolderCounts)
    columns: HolderCounts = field(default_factory=HolderCounts)

    def layout(self, plan: Plan) -> TrunkLayout:
        """Layout of the shared vector."""
        return plan.layout_with(self.rows.n_places, InputColumns(self.columns).n_columns)


def known_holders(plan: Plan, home: Home) -> Holders | None:
    """How many partners hold each task and each input column; None while the counting round of this plan is not done.

    Raises ConfigError if the plan does not fit what was counted before.
    """
    if not plan.has_counts:
        return Holders()
    file = home.catalogue
    counted = _read(file) if file.exists() else None
    if plan.has_counting_round:
        _check_same_partners(plan, file, counted)
        if counted is None or counted.plan != plan.digest:
            return None
    tasks, n_columns = plan.catalogue.tasks, _n_counted_columns(plan)
    if counted and plan.spare_holders is not None:
        counted = capped(counted, plan.spare_holders)
    if counted is None or counted.tasks != tasks or len(counted.columns.counts if counted.columns else ()) != n_columns:
        error = ConfigError(f"{file}: holds no counts of what the plan counts: a later revision keeps the first one's")
        error.add_note(
            "give the plan the [catalogue] tasks of the plan before, in their order, and its [columns]; "
            "min_partners may differ"
        )
        raise error
    partners, rows, columns = frozenset(counted.partners), HolderCounts(), HolderCounts()
    if tasks:
        rows = HolderCounts(
            counted.counts, partners, plan.catalogue.min_partners, counted.min_partners, plan.spare_holders is not None
        )
    if counted.columns:
        least = plan.columns.min_partners
        columns = HolderCounts(counted.columns.counts, partners, least, counted.columns.min_partners)
    return Holders(rows, columns)


def capped(counted: Counted, spare_holders: int) -> Counted:
    """The counts as who joined later knows them: 0 for what does not travel, the others up to the cap."""

    def of(counts: Iterable[int], least: int) -> tuple[int, ...]:
        return tuple(min(count, least + spare_holders) if count >= least else 0 for count in counts)

    columns = counted.columns
    if columns is not None:
        columns = columns.model_copy(update={"counts": of(columns.counts, columns.min_partners)})
    changes = {"counts": of(counted.counts, counted.min_partners), "columns": columns, "flagged_under": None}
    return counted.model_copy(update=changes)


def read_counted(home: Home) -> Counted | None:
    """What was counted, None if the home has no counts. Raises ConfigError for a damaged file."""
    return _read(home.catalogue) if home.catalogue.exists() else None


def _n_counted_columns(plan: Plan) -> int:
    return plan.layout.n_inputs if plan.columns.are_counted else 0


def has_counted(plan: Plan, home: Home) -> bool:
    """Whether the home has counts of exactly the plan's partners, tasks and columns, under this plan or one before.

    Counting again then tells nothing new, as flags are made once. Raises ConfigError for a damaged file.
    """
    if not home.catalogue.exists():
        return False
    counted = _read(home.catalogue)
    n_columns = len(counted.columns.counts) if counted.columns else 0
    expected = (tuple(plan.partner_names), plan.catalogue.tasks, _n_counted_columns(plan))
    return (counted.partners, counted.tasks, n_columns) == expected


def counted_digest(plan: Plan, holders: Holders) -> str:
    """SHA-256, hex, of what was counted and how: equal at all partners whose vectors have the same rows and columns."""
    partners = sorted(holders.rows.partners | holders.columns.partners)
    counted: dict[str, object] = {
        "tasks": [task.model_dump(mode="json") for task in plan.catalogue.tasks],
        "partners": partners,
        "min_partners": _least_when_counted(holders.rows) if plan.catalogue.tasks else plan.catalogue.min_partners,
        "counts": list(holders.rows.counts),
    }
    if holders.columns.counts:
        least = _least_when_counted(holders.columns)
        counted["columns"] = {"counts": list(holders.columns.counts), "min_partners": least}
    return digest(canonical_json(counted))


def _least_when_counted(counts: HolderCounts) -> int:
    return counts.least if counts.least_when_counted is None else counts.least_when_counted


def known_layout(plan: Plan, home: Home) -> TrunkLayout | None:
    """Layout of the shared vector; None while the counting round of this plan is not done.

    Raises ConfigError as `known_holders` does.
    """
    holders = known_holders(plan, home)
    return None if holders is None else holders.layout(plan)


def keep_counts(plan: Plan, home: Home, counts: Sequence[int], flagged_under: str | None = None) -> None:
    """Write the counts of the counting round, which ends it.

    counts        : by task, then by input column if these are counted
    flagged_under : digest of the plan that this partner's kept flags are of
    """
    n_tasks = len(plan.catalogue.tasks)
    columns = CountedColumns(counts=tuple(counts[n_tasks:]), min_partners=plan.columns.min_partners)
    counted = Counted(
        plan=plan.digest,
        partners=tuple(plan.partner_names),
        tasks=plan.catalogue.tasks,
        counts=tuple(counts[:n_tasks]),
        min_partners=plan.catalogue.min_partners,
        columns=columns if plan.columns.are_counted else None,
        flagged_under=flagged_under,
    )
    write_counted(home, counted)


def write_counted(home: Home, counted: Counted) -> None:
    """Write what was counted."""
    write_json(home.catalogue, counted.model_dump(mode="json", exclude_none=True))


def _check_same_partners(plan: Plan, file: Path, counted: Counted | None) -> None:
    """Raise ConfigError for other partners: the difference of two counts would be the flags of one partner."""
    odd = set(counted.partners) ^ set(plan.partner_names) if counted else None
    if odd:
        error = ConfigError(f"{file}: was counted with other partners, the plan differs in {', '.join(sorted(odd))}")
        error.add_note(
            "two counts would show what those partners hold: give the revision an empty catalogue, and columns with "
            "min_partners = 0"
        )
        raise error


def _read(file: Path) -> Counted:
    """Read the counts; raises ConfigError for a damaged file."""
    try:
        table = read_json(file)
    except ValueError as error:
        raise ConfigError(f"{file}: cannot be read as JSON: {error}") from error
    if isinstance(table, dict) and "counts" in table and "min_partners" not in table:
        earlier = ConfigError(
            f"{file}: found counts without min_partners, expected it: an earlier version counted them"
        )
        earlier.add_note("its vectors had a place for every row of the catalogue, so nothing here can go on from them:")
        earlier.add_note("start a new federation, with a new federation.id, new homes and a new exchange")
        raise earlier
    return check_table(table, Counted, str(file))
