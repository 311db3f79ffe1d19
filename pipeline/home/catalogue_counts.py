"""The catalogue at a partner: which of its own tasks are in it, and how many partners hold each task."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import model_validator

from data_prep.prepared import Task
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


class Counted(Schema):
    """The file in a home with the result of the catalogue round."""

    plan: str  # digest of the plan under which it was counted
    partners: tuple[str, ...]  # who was counted, sorted
    tasks: tuple[CatalogueTask, ...]
    counts: tuple[int, ...]  # how many partners hold each
    min_partners: int  # of that plan: rows that fewer hold have no place in the vector

    @model_validator(mode="after")
    def _a_count_for_each(self) -> Self:
        if len(self.counts) != len(self.tasks):
            raise ValueError(f"found {len(self.counts)} counts, expected {len(self.tasks)}, one for each task")
        return self


def known_counts(plan: Plan, home: Home) -> HolderCounts | None:
    """How many partners hold each task; None while the catalogue round of this plan is not done.

    Raises ConfigError if the plan does not fit what was counted before.
    """
    tasks, file = plan.catalogue.tasks, home.catalogue
    if not tasks:
        return HolderCounts()
    counted = _read(file) if file.exists() else None
    if plan.has_catalogue_round and (counted is None or counted.plan != plan.digest):
        _check_same_partners(plan, file, counted)
        return None
    if counted is None or counted.tasks != tasks:
        error = ConfigError(f"{file}: holds no counts of the plan's catalogue: a later revision keeps the first one's")
        error.add_note(
            "give the plan the [catalogue] tasks of the plan before, in their order; min_partners may differ"
        )
        raise error
    least = plan.catalogue.min_partners
    return HolderCounts(counted.counts, frozenset(counted.partners), least, counted.min_partners)


def counted_digest(plan: Plan, counts: HolderCounts) -> str:
    """SHA-256, hex, of what was counted and how: equal at all partners whose places belong to the same rows."""
    least = counts.least if counts.least_when_counted is None else counts.least_when_counted
    counted = {
        "tasks": [task.model_dump(mode="json") for task in plan.catalogue.tasks],
        "partners": sorted(counts.partners),
        "min_partners": least,
        "counts": list(counts.counts),
    }
    return digest(canonical_json(counted))


def known_layout(plan: Plan, home: Home) -> TrunkLayout | None:
    """Layout of the shared vector; None while the catalogue round of this plan is not done.

    Raises ConfigError as `known_counts` does.
    """
    counts = known_counts(plan, home)
    return None if counts is None else plan.layout_with(counts.n_places)


def keep_counts(plan: Plan, home: Home, counts: Iterable[int]) -> None:
    """Write the counts of the catalogue round, which ends it."""
    counted = Counted(
        plan=plan.digest,
        partners=tuple(plan.partner_names),
        tasks=plan.catalogue.tasks,
        counts=tuple(counts),
        min_partners=plan.catalogue.min_partners,
    )
    write_json(home.catalogue, counted.model_dump(mode="json"))


def _check_same_partners(plan: Plan, file: Path, counted: Counted | None) -> None:
    """Raise ConfigError for other partners: the difference of two counts would be the flags of one partner."""
    odd = set(counted.partners) ^ set(plan.partner_names) if counted else None
    if odd:
        error = ConfigError(f"{file}: was counted with other partners, the plan differs in {', '.join(sorted(odd))}")
        error.add_note("two counts would show which tasks those partners hold: give the revision an empty catalogue")
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
        earlier.add_note("begin anew, with a new federation.id, new homes and a new exchange")
        raise earlier
    return check_table(table, Counted, str(file))
