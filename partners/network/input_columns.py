"""Input columns: those that a partner takes from the shared vector, and those of its private input layer.

An input column is what one fingerprint bit adds to the first layer: a row of `trunk.0.weight`. The vector has only the
columns that enough partners hold. All others belong to each partner: trained on its own compounds, never sent.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from partners.errors import StateMismatch
from partners.network.shared_head_rows import HolderCounts
from partners.network.state import PartnerState
from partners.network.trunk import INPUT_WEIGHT, TrunkLayout, initial_trunk
from partners.training_data.aligned_arrays import copied, empty

NO_COLUMNS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class InputColumns:
    """A partner's part in the counted input columns; by default nothing is counted, and all columns are shared.

    A column that this partner flagged travels in its updates. One that it holds and did not flag is its own: its
    updates have zeros there, and the copy in the vector is kept for the others and for the trunk's digest only.
    """

    counts: HolderCounts = field(default_factory=HolderCounts)  # by column, how many partners flagged it
    flagged: NDArray[np.int64] = field(default_factory=lambda: NO_COLUMNS)  # by this partner, ascending
    withheld: NDArray[np.int64] = field(default_factory=lambda: NO_COLUMNS)  # held, but not flagged, ascending
    trunk_seed: int = 0  # of the first trunk: columns of this partner's own begin as they are there
    start: Callable[[], NDArray[np.float32] | None] = field(default=lambda: None)
    """Reads the whole first trunk (layout.trunk.n_params,), if it is not drawn from the seed."""

    @property
    def is_counted(self) -> bool:
        """Whether columns are counted at all."""
        return bool(self.counts.counts)

    @property
    def shared(self) -> NDArray[np.int64] | None:
        """Columns in the vector, (n_columns,) ascending; None: all."""
        return np.array(self.counts.travelling, dtype=np.int64) if self.is_counted else None

    @property
    def n_columns(self) -> int | None:
        """Number of columns in the vector; None: all."""
        return len(self.counts.travelling) if self.is_counted else None

    @property
    def own(self) -> NDArray[np.int64]:
        """Columns that are not taken from the vector, (n_own,) ascending."""
        if self.shared is None:
            return NO_COLUMNS
        is_own = np.ones(len(self.counts.counts), dtype=bool)
        is_own[self.shared] = False
        is_own[self.withheld] = True
        return np.flatnonzero(is_own)

    def begin(self, layout: TrunkLayout, state: PartnerState) -> PartnerState:
        """State before any training, with this partner's own columns as they are in the first trunk."""
        if not self.is_counted:
            return state
        first = layout.trunk.views(initial_trunk(layout.trunk, self.trunk_seed, start=self.start()))[INPUT_WEIGHT]
        return replace(state, columns=copied(first[self.own]))

    def trunk(self, layout: TrunkLayout, vector: NDArray[np.float32], state: PartnerState) -> NDArray[np.float32]:
        """The whole trunk of this partner: shared columns from the vector, the others from its state.

        layout, vector : of what is shared, (layout.n_params,)
        Returns a view if all columns are shared, else a new vector (layout.trunk.n_params,). Raises StateMismatch.
        """
        if self.shared is None:
            return vector[: layout.trunk.n_params]
        self._check(layout, state)
        trunk, shared = empty((layout.trunk.n_params,)), layout.views(vector)
        for name, values in layout.trunk.views(trunk).items():
            if name == INPUT_WEIGHT:
                values[self.shared] = shared[name]
                values[self.own] = state.columns
            else:
                values[:] = shared[name]
        return trunk

    def take_back(
        self, layout: TrunkLayout, trunk: NDArray[np.float32], vector: NDArray[np.float32], state: PartnerState
    ) -> PartnerState:
        """Divide a trained trunk: write what this partner may send to the vector, in place, and keep its own columns.

        trunk : as `trunk` returned it, trained; vector : as it was before the training
        """
        if self.shared is None:
            return state
        shared, trained = layout.views(vector), layout.trunk.views(trunk)
        places = np.flatnonzero(np.isin(self.shared, self.flagged))
        shared[INPUT_WEIGHT][places] = trained[INPUT_WEIGHT][self.shared[places]]
        for name in trained.keys() - {INPUT_WEIGHT}:
            shared[name][:] = trained[name]
        return replace(state, columns=copied(trained[INPUT_WEIGHT][self.own]))

    def hold_back(self, vector: NDArray[np.float32], layout: TrunkLayout, members: Collection[str]) -> None:
        """Zero the columns that may have too few holders on a roster, in place.

        vector : (n_params,) a change, residual or mean change; members : the partners on the roster
        """
        if self.is_counted:
            layout.views(vector)[INPUT_WEIGHT][~self.counts.is_sent(members)] = 0

    def _check(self, layout: TrunkLayout, state: PartnerState) -> None:
        expected = (self.own.size, layout.hidden[0])
        found = None if state.columns is None else state.columns.shape
        if found != expected:
            raise StateMismatch(f"partner state: found input columns of its own {found}, expected {expected}")
