"""Shared head rows: catalogues as a consortium could declare them, with the counts of a counting round."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from data_prep.prepared import Task
from partners.network.shared_head_rows import HolderCounts
from pipeline.home.catalogue_counts import held_rows
from pipeline.plan.catalogue import FEWEST_HOLDERS, Catalogue, CatalogueTask
from tests.benchmarks.gain.partners import Partner

# prepared : the catalogue ids that preparation leaves to tasks with labels enough (its quorum is strict)
# declared : T0's catalogue ids, whatever the number of labels
# common   : targets by the truth, as if partners had declared all that they have in common
KINDS = ("prepared", "declared", "common")


@dataclass(frozen=True)
class HeldCatalogue:
    """A catalogue and its rows that each partner holds; empty by default."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    held: Mapping[str, Mapping[int, Sequence[int]]] = field(default_factory=dict)  # by partner: row to its tasks
    counts: HolderCounts = field(default_factory=HolderCounts)

    @property
    def n_rows(self) -> int:
        """Number of rows in the catalogue, shared or not."""
        return len(self.catalogue.tasks)

    @property
    def n_heads(self) -> int:
        """Number of heads of all partners that belong to a shared row."""
        shared = set(self.counts.shared_rows)
        return sum(len(tasks) for held in self.held.values() for row, tasks in held.items() if row in shared)


def held_catalogue(kind: str, partners: Mapping[str, Partner], min_partners: int) -> HeldCatalogue:
    """The catalogue of all tasks that two partners or more hold under the same id and threshold.

    min_partners : a row that fewer hold is not shared
    """
    tasks = {name: _with_ids(kind, partner) for name, partner in partners.items()}
    known = Counter(
        key
        for mine in tasks.values()
        for key in {(task.catalog_assay_id, task.threshold) for task in mine if not task.is_auxiliary}
    )
    listed = [CatalogueTask(id=id_, threshold=at) for (id_, at), n in known.items() if id_ and n >= FEWEST_HOLDERS]
    listed.sort(key=lambda task: (task.id, task.threshold))
    catalogue = Catalogue(tasks=tuple(listed), min_partners=min_partners)
    held = {name: held_rows(catalogue, mine) for name, mine in tasks.items()}
    holders = Counter(row for rows in held.values() for row in rows)
    counts = tuple(holders[row] for row in range(len(listed)))
    return HeldCatalogue(catalogue, held, HolderCounts(counts, frozenset(partners), min_partners))


def _with_ids(kind: str, partner: Partner) -> list[Task]:
    ids = {
        "prepared": [task.catalog_assay_id for task in partner.tasks],
        "declared": partner.declared,
        "common": partner.classes.targets,
    }[kind]
    return [replace(task, catalog_assay_id=id_ or None) for task, id_ in zip(partner.tasks, ids, strict=True)]
