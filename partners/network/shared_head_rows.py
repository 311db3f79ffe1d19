"""Shared head rows: those of a partner's classification tasks that are in the catalogue, to and from the shared vector.

The vector is the trunk, followed by a place, a row of weights and a bias, for every row of the plan's catalogue that
enough partners hold, and for as many more as make a power of two. Before a round a partner's head rows are set from the
vector, after the round their change is part of the update. All other parts of the heads stay at the partner.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, PartnerState
from partners.network.trunk import CATALOGUE_BIAS, CATALOGUE_WEIGHT, TrunkLayout, padded_rows


@dataclass(frozen=True, slots=True)
class HolderCounts:
    """How many partners hold each row of the catalogue: the same at all partners, who learn no more than these.

    Input columns are counted in the same way: see `partners.network.input_columns`.
    """

    counts: tuple[int, ...] = ()  # by row; empty: nothing is counted
    partners: frozenset[str] = frozenset()  # the partners that were counted
    least: int = 0  # the plan's catalogue.min_partners
    least_when_counted: int | None = None  # that of the plan under which they were counted; None: the same
    are_capped: bool = False  # larger counts than a cap are not known, so no mean is divided by them

    @property
    def travelling(self) -> list[int]:
        """Catalogue rows with a place in the vector, in the order of their places; a revision keeps this order."""
        least = self.least if self.least_when_counted is None else self.least_when_counted
        return [row for row, count in enumerate(self.counts) if count >= least]

    @property
    def n_places(self) -> int:
        """Number of places for rows in the vector; surplus places at the end belong to no row and never change."""
        return padded_rows(len(self.travelling))

    @property
    def shared_rows(self) -> list[int]:
        """Rows that travel and that enough partners hold; no other row ever leaves a partner."""
        return [row for row in self.travelling if self.counts[row] >= self.least]

    def factors(self, members: Collection[str]) -> NDArray[np.float64]:
        """Factor on the mean of each place over a roster, (n_places,); 0 for a row that is not sent to this roster.

        Which partners hold a row is not known. Each counted partner that is not on the roster may be a holder, so a row
        is sent only if enough holders are on the roster even then. A partner without the row sends zeros: the mean over
        the members, times members / holders, is the mean over the holders. If holders may be absent, the factor is the
        smallest possible, so that a row never moves too far. It is 1 if counts are capped.
        """
        counts, is_sent, travelling = np.ones(self.n_places), np.zeros(self.n_places, dtype=bool), self.travelling
        counts[: len(travelling)] = [self.counts[row] for row in travelling]
        is_sent[: len(travelling)] = self.is_sent(members)
        largest = 1.0 if self.are_capped else len(members) / np.minimum(counts, len(members))
        return np.where(is_sent, largest, 0.0)

    def is_sent(self, members: Collection[str]) -> NDArray[np.bool_]:
        """Whether each travelling row surely has enough holders on a roster, (n_travelling,)."""
        n_absent = len(self.partners - set(members))
        return np.array([self.counts[row] for row in self.travelling], dtype=np.int64) - n_absent >= self.least


@dataclass(frozen=True, slots=True, eq=False)
class SharedHeadRows:
    """Which heads of a partner belong to which place of the vector; empty for a partner that holds no shared row.

    Several tasks may belong to one row: their heads are equal whenever they are set from the vector, and are trained as
    one, so that the row's change is that of any of them.
    """

    layout: TrunkLayout  # of the whole vector
    places: NDArray[np.int64]  # (n_heads,) of rows in the vector, ascending; a place once for each task of its row
    tasks: NDArray[np.int64]  # (n_heads,) this partner's classification tasks, in the same order

    @classmethod
    def of(cls, layout: TrunkLayout, held: Mapping[int, Sequence[int]], counts: HolderCounts) -> Self:
        """Find the rows that this partner holds and that are shared.

        held : row of the catalogue to classification tasks
        """
        shared = set(counts.shared_rows)
        pairs = [
            (place, task)
            for place, row in enumerate(counts.travelling)
            for task in (held.get(row, ()) if row in shared else ())
        ]
        places, tasks = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return cls(layout, places, tasks)

    @property
    def tied(self) -> list[list[int]]:
        """Tasks of every row that has several, which are trained as one."""
        groups = np.split(self.tasks, np.flatnonzero(np.diff(self.places)) + 1)
        return [group.tolist() for group in groups if group.size > 1]

    def from_vector(self, vector: NDArray[np.float32], state: PartnerState) -> PartnerState:
        """Copy of the state with its shared head rows set from the vector (n_params,)."""
        if self.places.size == 0:
            return state
        shared, heads = self.layout.views(vector), dict(state.heads)
        for name, theirs in ((HEAD_WEIGHT, CATALOGUE_WEIGHT), (HEAD_BIAS, CATALOGUE_BIAS)):
            heads[name] = state.heads[name].copy()
            heads[name][self.tasks] = shared[theirs][self.places]
        return replace(state, heads=heads)

    def to_vector(self, state: PartnerState, vector: NDArray[np.float32]) -> None:
        """Write the shared head rows to their places in the vector (n_params,), in place."""
        shared = self.layout.views(vector)
        if self.places.size:
            shared[CATALOGUE_WEIGHT][self.places] = state.heads[HEAD_WEIGHT][self.tasks]
            shared[CATALOGUE_BIAS][self.places] = state.heads[HEAD_BIAS][self.tasks]


def scale_rows(vector: NDArray[np.float32], layout: TrunkLayout, factors: NDArray[np.float64]) -> None:
    """Multiply the row of each place by its factor, in place; float64 products, rounded once.

    vector : (n_params,) float32; factors : (n_places,), 0 for a row that must not be in the vector
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
    if not is_sent[: len(counts.travelling)].all():
        scale_rows(vector, layout, is_sent.astype(np.float64))
