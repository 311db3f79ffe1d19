"""What a partner brings to a federation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partners.network.shared_head_rows import HolderCounts, SharedHeadRows, hold_back_rows
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training
from partners.training.training import round_seed, seeded_state
from partners.training_data.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class PartnerData:
    """A partner's data and how it trains: nothing of it leaves but sealed updates and digests."""

    training_set: TrainingSet
    training: Training
    preparation_digest: str
    workers: int = 1  # most processes for sealing and opening
    validate_every: int = 1  # rounds
    held: Mapping[int, int] = field(default_factory=dict)  # row of the catalogue to task
    counts: HolderCounts = field(default_factory=HolderCounts)  # of the catalogue's rows

    def seed(self, round_no: int, attempt: int = 1, revision: int = 1) -> tuple[int, ...]:
        """All chance of one attempt at a round, each counted from 1; a later attempt or revision has fresh chance."""
        return round_seed(self.training.seed, round_no - 1, attempt - 1, revision)

    def first_state(self, layout: TrunkLayout, vector: NDArray[np.float32], seed: tuple[int, ...]) -> PartnerState:
        """Heads before any training: drawn from the seed, rows that travel as in the vector (n_params,)."""
        drawn = seeded_state(self.training_set, layout.trunk, self.training, seed)
        return self.shared_rows(layout).from_vector(vector, drawn)

    def is_validated(self, round_no: int, n_rounds: int) -> bool:
        """Whether a round ends with scores on the validation fold: the last one always does."""
        return round_no == n_rounds or round_no % self.validate_every == 0

    def shared_rows(self, layout: TrunkLayout) -> SharedHeadRows:
        """The head rows of this partner that travel."""
        return SharedHeadRows.of(layout, dict(self.held), self.counts.shared_rows)

    def hold_back(self, vector: NDArray[np.float32], layout: TrunkLayout, members: Collection[str]) -> None:
        """Zero, in place, the rows of which a roster may have too few holders; vector: (n_params,), what is sent."""
        hold_back_rows(vector, layout, self.counts, members)
