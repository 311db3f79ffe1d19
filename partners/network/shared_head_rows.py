"""Shared head rows: those of a partner's classification tasks that are in the catalogue, to and from the shared vector.

The vector is the trunk, followed by a row of weights and a bias for every task of the plan's catalogue. Before a round
a partner's head rows are set from the vector, after the round their change is part of the update. All other parts of
the heads stay at the partner.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, PartnerState
from partners.network.trunk import CATALOGUE_BIAS, CATALOGUE_WEIGHT, TrunkLayout


@dataclass(frozen=True, slots=True)
class HolderCounts:
    """How many partners hold each row of the catalogue: the same at all partners, who learn no more than these."""

    counts: tuple[int, ...] = ()  # by row; empty without a catalogue
    partners: frozenset[str] = frozenset()  # the partners that were counted
    least: int = 0  # the plan's catalogue.min_partners

    @property
    def shared_rows(self) -> list[int]:
        """Rows that enough partners hold; no other row ever leaves a partner."""
        return [row for row, count in enumerate(self.counts) if count >= self.least]

    def factors(self, members: Collection[str]) -> NDArray[np.float64]:
        """Factor on each row's mean over a roster, (n_rows,); 0 for a row that is not sent to this roster.

        Which partners hold a row is not known. Each counted partner that is not on the roster may be a holder, so a row
        is sent only if enough holders are on the roster even then. A partner without the row sends zeros: the mean over
        the members, times members / holders, is the mean over the holders. If holders may be absent, the factor is the
        smallest possible, so that a row never moves too far.
        """
        n_absent, n_members = len(self.partners - set(members)), len(members)
        counts = np.array(self.counts, dtype=np.float64)
        sent = counts - n_absent >= self.least
        return np.where(sent, n_members / np.minimum(np.maximum(counts, 1.0), n_members), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class SharedHeadRows:
    """Which heads of a partner belong to which row of the catalogue; empty for a partner that holds none.

    Several tasks may belong to one row: their heads are equal whenever they are set from the vector, and are trained as
    one, so that the row's change is that of any of them.
    """

    layout: TrunkLayout  # of the whole vector
    rows: NDArray[np.int64]  # (n_heads,) rows of the catalogue, ascending; a row once for each of its tasks
    tasks: NDArray[np.int64]  # (n_heads,) this partner's classification tasks, in the same order

    @classmethod
    def of(cls, layout: TrunkLayout, held: Mapping[int, Sequence[int]], shared: Collection[int]) -> Self:
        """Find the rows that this partner holds and that are shared.

        held   : row of the catalogue to classification tasks
        shared : rows of the catalogue, see `HolderCounts.shared_rows`
        """
        pairs = [(row, task) for row in sorted(set(held) & set(shared)) for task in held[row]]
        rows, tasks = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return cls(layout, rows, tasks)

    @property
    def tied(self) -> list[list[int]]:
        """Tasks of every row that has several, which are trained as one."""
        groups = np.split(self.tasks, np.flatnonzero(np.diff(self.rows)) + 1)
        return [group.tolist() for group in groups if group.size > 1]

    def from_vector(self, vector: NDArray[np.float32], state: PartnerState) -> PartnerState:
        """Copy of the state with its shared head rows set from the vector (n_params,)."""
        if self.rows.size == 0:
            return state
        shared, heads = self.layout.views(vector), dict(state.heads)
        for name, theirs in ((HEAD_WEIGHT, CATALOGUE_WEIGHT), (HEAD_BIAS, CATALOGUE_BIAS)):
            heads[name] = state.heads[name].copy()
            heads[name][self.tasks] = shared[theirs][self.rows]
        return replace(state, heads=heads)

    def to_vector(self, state: PartnerState, vector: NDArray[np.float32]) -> None:
        """Write the shared head rows to their places in the vector (n_params,), in place."""
        shared = self.layout.views(vector)
        if self.rows.size:
            shared[CATALOGUE_WEIGHT][self.rows] = state.heads[HEAD_WEIGHT][self.tasks]
            shared[CATALOGUE_BIAS][self.rows] = state.heads[HEAD_BIAS][self.tasks]


def scale_rows(vector: NDArray[np.float32], layout: TrunkLayout, factors: NDArray[np.float64]) -> None:
    """Multiply each row of the catalogue by its factor, in place; float64 products, rounded once.

    vector : (n_params,) float32; factors : (n_rows,), 0 for a row that must not be in the vector
    """
    if layout.n_rows == 0:
        return
    shared = layout.views(vector)
    shared[CATALOGUE_WEIGHT][:] = shared[CATALOGUE_WEIGHT] * factors[:, np.newaxis]
    shared[CATALOGUE_BIAS][:] = shared[CATALOGUE_BIAS] * factors


def hold_back_rows(
    vector: NDArray[np.float32], layout: TrunkLayout, counts: HolderCounts, members: Collection[str]
) -> None:
    """Zero the catalogue's rows that may have too few holders on a roster, in place.

    vector  : (n_params,) a change or residual: zero in the rows that are never shared
    members : the partners on the roster
    """
    is_sent = counts.factors(members) > 0
    if not is_sent[counts.shared_rows].all():
        scale_rows(vector, layout, is_sent.astype(np.float64))
