"""A partner's data and training settings, as a round uses them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partners.network.input_columns import InputColumns
from partners.network.shared_head_rows import HolderCounts, SharedHeadRows, hold_back_rows
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training
from partners.training.training import round_seed, seeded_state
from partners.training_data.task_keys import TaskKeys
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class PartnerData:
    """A partner's data and training settings; only sealed updates and digests of it leave the partner."""

    training_set: TrainingSet
    training: Training
    preparation_digest: str
    workers: int = 1  # most processes for sealing and opening
    validate_every: int = 1  # rounds
    held: Mapping[int, Sequence[int]] = field(default_factory=dict)  # row of the catalogue to its tasks here
    counts: HolderCounts = field(default_factory=HolderCounts)  # of the catalogue's rows
    columns: InputColumns = field(default_factory=InputColumns)  # which input columns are shared, and which its own
    chance: tuple[int, ...] = field(default=(), repr=False)  # part of every seed; never leaves the partner
    tasks: TaskKeys = field(default_factory=TaskKeys)  # in the order of the heads' rows; never leaves the partner

    def seed(self, round_no: int, attempt: int = 1, revision: int = 1) -> tuple[int, ...]:
        """Seed of one attempt at a round, all counted from 1; each attempt and revision has a different seed."""
        return round_seed(self.training.seed, round_no - 1, attempt - 1, revision, self.chance)

    def first_state(self, layout: TrunkLayout, vector: NDArray[np.float32], seed: tuple[int, ...]) -> PartnerState:
        """State before any training: heads drawn from the seed, shared head rows as in the vector (n_params,)."""
        state = seeded_state(self.training_set, layout.trunk, self.training, seed)
        return self.shared_rows(layout).from_vector(vector, state)

    def is_validated(self, round_no: int, n_rounds: int) -> bool:
        """Whether a round ends with scores on the validation fold; the last round always does."""
        return round_no == n_rounds or round_no % self.validate_every == 0

    def shared_rows(self, layout: TrunkLayout) -> SharedHeadRows:
        """Head rows of this partner that are shared."""
        return SharedHeadRows.of(layout, self.held, self.counts)

    @property
    def shared_tasks(self) -> frozenset[int]:
        """Classification tasks of this partner whose head rows are shared."""
        shared = set(self.counts.shared_rows)
        return frozenset(task for row, tasks in self.held.items() if row in shared for task in tasks)

    def hold_back(self, vector: NDArray[np.float32], layout: TrunkLayout, members: Collection[str]) -> None:
        """Zero, in place, head rows and input columns that may have too few holders on a roster.

        vector : (n_params,), to be sealed
        """
        hold_back_rows(vector, layout, self.counts, members)
        self.columns.hold_back(vector, layout, members)
