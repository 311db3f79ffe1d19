"""The catalogue at a partner: which of its tasks stand in it, how many partners hold each, and which rows travel."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import model_validator

from data_prep.prepared import Task
from partners.network.shared_head_rows import HolderCounts
from pipeline.errors import ConfigError
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.plan.plan import Catalogue, CatalogueTask, Plan
from pipeline.plan.toml_schema import Schema, check_table


def held_rows(catalogue: Catalogue, tasks: Iterable[Task]) -> dict[int, int]:
    """Row of the catalogue to classification task, for those that a partner holds.

    Of several tasks of a partner for one row, the one with the most labels travels; the others stay private.
    """
    rows = {(task.id, task.threshold): row for row, task in enumerate(catalogue.tasks)}
    held: dict[int, Task] = {}
    for task in tasks:
        row = rows.get((task.catalog_assay_id or "", task.threshold))
        if row is None or task.is_auxiliary:
            continue
        if row not in held or _n_labels(task) > _n_labels(held[row]):
            held[row] = task
    return {row: task.task_id for row, task in sorted(held.items())}


def _n_labels(task: Task) -> int:
    return task.n_active + task.n_inactive


class Counted(Schema):
    """The file in a home with what the catalogue round gave."""

    plan: str  # digest of the plan under which it was counted
    partners: tuple[str, ...]  # who was counted, sorted
    tasks: tuple[CatalogueTask, ...]
    counts: tuple[int, ...]  # how many partners hold each

    @model_validator(mode="after")
    def _a_count_for_each(self) -> Self:
        if len(self.counts) != len(self.tasks):
            raise ValueError(f"found {len(self.counts)} counts, expected {len(self.tasks)}, one for each task")
        return self


def known_counts(plan: Plan, home: Home) -> HolderCounts | None:
    """What was counted; None while the catalogue round of this plan is not done.

    Raises ConfigError where the plan and what was counted before do not go together.
    """
    tasks, file = plan.catalogue.tasks, home.catalogue
    if not tasks:
        return HolderCounts()
    found = _read(file) if file.exists() else None
    if plan.has_catalogue_round and (found is None or found.plan != plan.digest):
        _check_same_partners(plan, file, found)
        return None
    if found is None or found.tasks != tasks:
        error = ConfigError(f"{file}: holds no counts of the plan's catalogue: a later revision keeps the first one's")
        error.add_note(
            "give the plan the [catalogue] tasks of the plan before, in their order; min_partners may differ"
        )
        raise error
    return HolderCounts(found.counts, frozenset(found.partners), plan.catalogue.min_partners)


def keep_counts(plan: Plan, home: Home, counts: Iterable[int]) -> None:
    """Write what the catalogue round gave; this ends it."""
    partners = tuple(plan.partner_names)
    counted = Counted(plan=plan.digest, partners=partners, tasks=plan.catalogue.tasks, counts=tuple(counts))
    write_json(home.catalogue, counted.model_dump(mode="json"))


def _check_same_partners(plan: Plan, file: Path, found: Counted | None) -> None:
    """The difference of two counts, with and without a partner, would be that partner's flags."""
    odd = set(found.partners) ^ set(plan.partner_names) if found else None
    if odd:
        error = ConfigError(f"{file}: was counted with other partners, the plan differs in {', '.join(sorted(odd))}")
        error.add_note("two counts would tell what those partners hold: give the revision an empty catalogue")
        raise error


def _read(file: Path) -> Counted:
    """Raises ConfigError for a damaged file."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON: {error}") from error
    return check_table(table, Counted, str(file))
