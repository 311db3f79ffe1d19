"""What a partner keeps of a round: the state at its start, and what it trained in the current attempt."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partners.checkpoint import Checkpoint, load_checkpoint, read_facts, save_checkpoint
from partners.errors import CheckpointDamaged
from partners.server_step import ServerState, initial_server_state
from partners.state import PartnerState
from partners.trunk import TrunkLayout, initial_trunk
from pipeline.plan import Plan
from secure.fixed_point import first_bounds

_RESIDUAL, _CHANGE = "residual", "change"


@dataclass(frozen=True, slots=True)
class Under:
    """What a member went by when it opened a sum."""

    plan: str  # digest
    preparation: str  # digest of preparation settings and structure seed


def read_under(path: Path) -> Under:
    """What the start of a round was made under, without reading the arrays; raises CheckpointDamaged."""
    return _under(read_facts(path), path)


@dataclass(frozen=True, slots=True, eq=False)
class RoundStart:
    """State at the start of a round; vector, server and bounds are equal at all partners."""

    layout: TrunkLayout  # of the vector
    vector: NDArray[np.float32]  # (n_params,) the trunk, and behind it the catalogue's head rows
    server: ServerState
    bounds: NDArray[np.float64]  # (n_tensors,) largest change a parameter of the tensor may have in this round
    private: PartnerState | None  # heads and optimiser; None before the first own training; rows that travel as above
    residual: NDArray[np.float32] | None  # (n_params,) what rounding and clipping left over, carried on
    under: Under | None = None  # of the sum that made it; None before the first

    @property
    def trunk(self) -> NDArray[np.float32]:
        """The trunk alone, a view."""
        return self.vector[: self.layout.trunk.n_params]

    @classmethod
    def first(cls, plan: Plan) -> Self:
        """Start of the first round: all from the plan, so nobody has to send it."""
        layout = plan.layout
        return cls(
            layout=layout,
            vector=initial_trunk(layout, plan.federation.seed),
            server=initial_server_state(plan.server, layout.n_params),
            bounds=first_bounds(len(layout.tensors), plan.seal),
            private=None,
            residual=None,
        )

    def write(self, path: Path) -> None:
        """Write atomically."""
        vectors = {} if self.residual is None else {_RESIDUAL: self.residual}
        facts = {"bounds": self.bounds.tolist(), "under": asdict(self.under) if self.under else None}
        _save(path, Checkpoint(self.vector, self.private, self.server, facts=facts, vectors=vectors))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> Self:
        """Read what `write` wrote; raises partners.errors.CheckpointDamaged or CheckpointMismatch."""
        found = load_checkpoint(path, layout)
        return cls(
            layout=layout,
            vector=found.need_trunk(path),
            server=found.server or ServerState(),
            bounds=np.array(found.facts["bounds"], dtype=np.float64),
            private=found.partner,
            residual=found.vectors.get(_RESIDUAL),
            under=_under(found.facts, path),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What one attempt's training gave."""

    change: NDArray[np.float32]  # (n_params,) vector after minus vector before, rows that stay here zero
    private: PartnerState
    loss: float  # mean training loss over the attempt's steps

    def write(self, path: Path) -> None:
        """Write atomically."""
        _save(path, Checkpoint(partner=self.private, facts={"loss": self.loss}, vectors={_CHANGE: self.change}))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> Self:
        """Read what `write` wrote; raises partners.errors.CheckpointDamaged or CheckpointMismatch."""
        found = load_checkpoint(path, layout)
        return cls(
            change=found.vectors[_CHANGE],
            private=found.need_partner(path),
            loss=float(found.facts["loss"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Leftover:
    """What sealing an attempt's update left over."""

    residual: NDArray[np.float32]  # (n_params,)
    clipped_share: float

    def write(self, path: Path) -> None:
        """Write atomically."""
        _save(path, Checkpoint(facts={"clipped_share": self.clipped_share}, vectors={_RESIDUAL: self.residual}))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> Self:
        """Read what `write` wrote; raises partners.errors.CheckpointDamaged or CheckpointMismatch."""
        found = load_checkpoint(path, layout)
        return cls(found.vectors[_RESIDUAL], float(found.facts["clipped_share"]))


def _under(facts: Mapping[str, Any], path: Path) -> Under:
    try:
        return Under(**facts["under"])
    except (KeyError, TypeError):
        raise CheckpointDamaged(f"{path}: does not say under which plan it was made") from None


def _save(path: Path, checkpoint: Checkpoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, checkpoint)
