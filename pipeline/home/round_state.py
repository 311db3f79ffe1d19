"""A partner's state at the start of a round: shared vector, server state, heads, residual."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, Part, load_checkpoint, read_facts, save_checkpoint, trunk_pieces
from partners.network.server_state import ServerState, initial_server_state
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, initial_pieces, initial_trunk, trunk_digest
from pipeline.plan.plan import Plan
from secure.sealing.fixed_point import first_bounds

_RESIDUAL = "residual"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Plan and preparation under which a partner opened a sum."""

    plan: str  # digest
    preparation: str  # digest of preparation settings and structure seed


def read_provenance(path: Path) -> Provenance:
    """The provenance of a round's start, without reading its arrays; raises CheckpointDamaged."""
    return _provenance(read_facts(path), path)


@dataclass(frozen=True, slots=True, eq=False)
class RoundStart:
    """State at the start of a round; vector, server and bounds are equal at all partners."""

    layout: TrunkLayout  # of the vector
    vector: NDArray[np.float32]  # (n_params,) the trunk, then the catalogue's head rows
    server: ServerState
    bounds: NDArray[np.float64]  # (n_tensors,) largest change a parameter of the tensor may have in this round
    private: PartnerState | None  # heads and optimiser; None before the first training; shared head rows as in vector
    residual: NDArray[np.float32] | None  # (n_params,) left by rounding and clipping, added to the next update
    under: Provenance | None = None  # of the sum that made it; None before the first

    @property
    def trunk(self) -> NDArray[np.float32]:
        """The trunk alone, a view."""
        return self.vector[: self.layout.trunk.n_params]

    @classmethod
    def first(cls, plan: Plan, layout: TrunkLayout) -> Self:
        """Start of the first round, made from plan and layout, so nobody has to send it."""
        return cls(
            layout=layout,
            vector=initial_trunk(layout, plan.federation.seed),
            server=initial_server_state(plan.server, layout.n_params),
            bounds=first_bounds(len(layout.tensors), plan.seal),
            private=None,
            residual=None,
        )

    def write(self, path: Path) -> None:
        """Write the checkpoint atomically."""
        vectors = {} if self.residual is None else {_RESIDUAL: self.residual}
        facts = {"bounds": self.bounds.tolist(), "under": asdict(self.under) if self.under else None}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, Checkpoint(self.vector, self.private, self.server, facts=facts, vectors=vectors))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout, *, to_predict: bool = False) -> Self:
        """Read a start; raises partners.errors.CheckpointDamaged or CheckpointMismatch.

        to_predict : read trunk and heads only, not the states of optimiser and server step
        """
        if to_predict:
            checkpoint = load_checkpoint(path, layout, only=("trunk", "heads"))
        else:
            checkpoint = load_checkpoint(path, layout)
        return cls(
            layout=layout,
            vector=checkpoint.need_trunk(path),
            server=checkpoint.server or ServerState(),
            bounds=np.array(checkpoint.facts["bounds"], dtype=np.float64),
            private=checkpoint.partner,
            residual=checkpoint.vectors.get(_RESIDUAL),
            under=_provenance(checkpoint.facts, path),
        )


@dataclass(frozen=True)  # without slots, for the cached properties
class StoredStart:
    """The start of a round on disk, or the first one from the plan; each array is read only when it is used.

    An array is as large as the trunk, so none is kept in memory. Every method raises partners.errors.CheckpointDamaged
    or CheckpointMismatch.
    """

    plan: Plan
    layout: TrunkLayout  # of the vector
    path: Path

    def vector(self) -> NDArray[np.float32]:
        """RoundStart.vector."""
        if not self.path.exists():
            return initial_trunk(self.layout, self.plan.federation.seed)
        return self._read("trunk").need_trunk(self.path)

    def pieces(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Slices and values of the vector, in order, one piece at a time."""
        if not self.path.exists():
            return initial_pieces(self.layout, self.plan.federation.seed)
        return trunk_pieces(self.path)

    def private(self) -> PartnerState | None:
        """RoundStart.private."""
        return self._read("heads", "moments").partner

    def server(self) -> ServerState:
        """RoundStart.server."""
        if not self.path.exists():
            return initial_server_state(self.plan.server, self.layout.n_params)
        return self._read("server").server or ServerState()

    def residual(self) -> NDArray[np.float32] | None:
        """RoundStart.residual."""
        return self._read("vectors").vectors.get(_RESIDUAL)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """RoundStart.bounds."""
        if not self.path.exists():
            return first_bounds(len(self.layout.tensors), self.plan.seal)
        return np.array(read_facts(self.path)["bounds"], dtype=np.float64)

    @cached_property
    def digest(self) -> str:
        """Digest of the vector."""
        return trunk_digest(self.vector())

    def _read(self, *parts: Part) -> Checkpoint:
        return load_checkpoint(self.path, self.layout, only=parts) if self.path.exists() else Checkpoint()


def _provenance(facts: Mapping[str, Any], path: Path) -> Provenance:
    try:
        return Provenance(**facts["under"])
    except (KeyError, TypeError):
        raise CheckpointDamaged(f"{path}: is damaged: does not name the plan under which it was made") from None
