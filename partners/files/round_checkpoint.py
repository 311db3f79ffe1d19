"""The checkpoints of a round in a partner's home: the state at its start, and what training and sealing gave."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partners.errors import CheckpointDamaged
from partners.files.checkpoint import (
    Checkpoint,
    Part,
    content_digest,
    load_checkpoint,
    read_facts,
    save_checkpoint,
    trunk_length,
    trunk_pieces,
)
from partners.network.input_columns import InputColumns
from partners.network.server_state import ServerState, initial_server_state
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, initial_pieces, initial_trunk, trunk_digest
from partners.settings import ServerOptimiser
from partners.training_data.task_keys import TaskKeys

_CHANGE, _RESIDUAL = "change", "residual"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Plan and preparation under which a partner opened a sum."""

    plan: str  # digest
    preparation: str  # digest of preparation settings and structure seed


@dataclass(frozen=True, slots=True, eq=False)
class FirstRound:
    """Settings that the state at the start of the first round is made from, so nobody has to send it."""

    layout: TrunkLayout
    seed: int  # of the shared vector
    server: ServerOptimiser
    bounds: NDArray[np.float64]  # (n_tensors,) largest change a parameter of the tensor may have
    columns: NDArray[np.int64] | None = None  # (layout.n_columns,) input columns in the vector; None: all
    start: "TrunkFile | None" = None  # the whole first trunk; None: drawn from the seed

    def vector(self) -> NDArray[np.float32]:
        """RoundStart.vector of the first round."""
        return initial_trunk(self.layout, self.seed, self.columns, self._started())

    def pieces(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Positions and values of the same vector, in order, one piece at a time."""
        return initial_pieces(self.layout, self.seed, self.columns, self._started())

    def _started(self) -> NDArray[np.float32] | None:
        return self.start.read() if self.start else None


@dataclass(frozen=True, slots=True, eq=False)
class RoundStart:
    """State at the start of a round; vector, server and bounds are equal at all partners."""

    layout: TrunkLayout  # of the vector
    vector: NDArray[np.float32]  # (n_params,) what is shared: the trunk, then the catalogue's head rows
    server: ServerState
    bounds: NDArray[np.float64]  # (n_tensors,) largest change a parameter of the tensor may have in this round
    private: (
        PartnerState | None
    )  # heads, optimiser, columns of its own; None before the first training; shared head rows as in vector
    residual: NDArray[np.float32] | None  # (n_params,) left by rounding and clipping, added to the next update
    under: Provenance  # of the sum that made it
    tasks: TaskKeys | None = None  # of the heads, in the order of their rows; None: not known

    def model(self, columns: InputColumns) -> tuple[NDArray[np.float32], PartnerState]:
        """Whole trunk (layout.trunk.n_params,) and heads of a partner that has trained, to predict with.

        columns : the partner's part in the input columns
        """
        if self.private is None:
            raise ValueError("round start: found no heads, expected a partner that has trained")
        return columns.trunk(self.layout, self.vector, self.private), replace(self.private, columns=None)

    @property
    def digest(self) -> str:
        """Digest of the vector, computed each time."""
        return trunk_digest(self.vector)

    def write(self, path: Path) -> None:
        """Write the checkpoint atomically, and the folder if it is missing."""
        vectors = {} if self.residual is None else {_RESIDUAL: self.residual}
        facts: dict[str, Any] = {"bounds": self.bounds.tolist(), "under": asdict(self.under)}
        if self.tasks is not None:
            facts["tasks"] = asdict(self.tasks)
        _save(path, Checkpoint(self.vector, self.private, self.server, facts=facts, vectors=vectors))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout, *, to_predict: bool = False) -> Self:
        """Read a start; raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.

        to_predict : read vector, heads and columns only, not the states of optimiser and server step
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
            tasks=_tasks(checkpoint.facts, path),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SharedState:
    """What all partners have alike at the start of a round, as it is handed over to a partner that joins."""

    vector: NDArray[np.float32]  # (n_params,)
    server: ServerState
    bounds: NDArray[np.float64]  # (n_tensors,)
    under: Provenance  # of the sum that made it
    counted: Mapping[str, Any] | None  # JSON values: what was counted; None: nothing

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of all of it: equal at all partners."""
        return content_digest(self._checkpoint())

    def write(self, path: Path) -> None:
        """Write it atomically."""
        _save(path, self._checkpoint())

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> Self:
        """Read it; raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch."""
        stored = load_checkpoint(path, layout, only=("trunk", "server"))
        try:
            bounds = np.array(stored.facts["bounds"], dtype=np.float64)
            counted = stored.facts["counted"]
        except (KeyError, TypeError, ValueError):
            raise CheckpointDamaged(f"{path.name}: found no bounds or counts, expected a handed-over state") from None
        under = _provenance(stored.facts, path)
        return cls(stored.need_trunk(path), stored.server or ServerState(), bounds, under, counted)

    def _checkpoint(self) -> Checkpoint:
        facts = {"bounds": self.bounds.tolist(), "under": asdict(self.under), "counted": self.counted}
        return Checkpoint(self.vector, server=self.server, facts=facts)


@dataclass(frozen=True)  # without slots, for the cached properties
class StoredStart:
    """The start of a round on disk, or the first one without a file; each array is read only when it is used.

    An array is as large as the trunk, so none is kept in memory. Every method raises CheckpointDamaged or
    CheckpointMismatch.
    """

    path: Path
    first: FirstRound

    def vector(self) -> NDArray[np.float32]:
        """RoundStart.vector."""
        if not self.path.exists():
            return self.first.vector()
        return self._read("trunk").need_trunk(self.path)

    def pieces(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Slices and values of the vector, in order, one piece at a time."""
        if not self.path.exists():
            return self.first.pieces()
        return trunk_pieces(self.path)

    def private(self) -> PartnerState | None:
        """RoundStart.private."""
        return self._read("heads", "moments").partner

    def server(self) -> ServerState:
        """RoundStart.server."""
        if not self.path.exists():
            return initial_server_state(self.first.server, self.first.layout.n_params)
        return self._read("server").server or ServerState()

    def residual(self) -> NDArray[np.float32] | None:
        """RoundStart.residual."""
        return self._read("vectors").vectors.get(_RESIDUAL)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """RoundStart.bounds."""
        if not self.path.exists():
            return self.first.bounds
        return np.array(read_facts(self.path)["bounds"], dtype=np.float64)

    @cached_property
    def digest(self) -> str:
        """Digest of the vector."""
        return trunk_digest(self.vector())

    @property
    def under(self) -> Provenance | None:
        """RoundStart.under, read without the arrays; None for the first start."""
        return _provenance(read_facts(self.path), self.path) if self.path.exists() else None

    @property
    def tasks(self) -> TaskKeys | None:
        """RoundStart.tasks, read without the arrays."""
        return _tasks(read_facts(self.path), self.path) if self.path.exists() else None

    @property
    def n_params(self) -> int:
        """Length of the vector, read without its values; it may differ from the layout's."""
        return trunk_length(self.path) if self.path.exists() else self.first.layout.n_params

    def _read(self, *parts: Part) -> Checkpoint:
        return load_checkpoint(self.path, self.first.layout, only=parts) if self.path.exists() else Checkpoint()


@dataclass(frozen=True, slots=True)
class TrainedFile:
    """What a partner's training in an attempt gave: the change of the vector in the clear, heads and optimiser, loss.

    Reading raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.
    """

    path: Path
    layout: TrunkLayout  # of the vector

    def write(
        self, change: NDArray[np.float32], private: PartnerState, loss: float, tasks: TaskKeys | None = None
    ) -> None:
        """Write the change (n_params,), heads, their tasks and optimiser, and the mean loss, atomically."""
        facts: dict[str, Any] = {"loss": loss} | ({} if tasks is None else {"tasks": asdict(tasks)})
        _save(self.path, Checkpoint(partner=private, facts=facts, vectors={_CHANGE: change}))

    def change(self) -> NDArray[np.float32]:
        """The change (n_params,) of the vector by training."""
        return load_checkpoint(self.path, self.layout, only=["vectors"]).vectors[_CHANGE]

    @property
    def tasks(self) -> TaskKeys | None:
        """Tasks of the heads, in the order of their rows; None: not known."""
        return _tasks(read_facts(self.path), self.path)

    def private(self) -> tuple[PartnerState, float]:
        """Heads and optimiser after training, and the mean loss."""
        checkpoint = load_checkpoint(self.path, self.layout, only=["heads", "moments"])
        return checkpoint.need_partner(self.path), float(checkpoint.facts["loss"])


@dataclass(frozen=True, slots=True)
class ResidualFile:
    """What sealing left over in an attempt: the residual, and the share of parameters that were clipped.

    Reading raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.
    """

    path: Path
    layout: TrunkLayout  # of the vector

    def write(self, residual: NDArray[np.float32], clipped_share: float) -> None:
        """Write the residual (n_params,) and the share of clipped parameters, atomically."""
        _save(self.path, Checkpoint(facts={"clipped_share": clipped_share}, vectors={_RESIDUAL: residual}))

    def read(self) -> tuple[NDArray[np.float32], float]:
        """The residual (n_params,), and the share of clipped parameters."""
        checkpoint = load_checkpoint(self.path, self.layout)
        return checkpoint.vectors[_RESIDUAL], float(checkpoint.facts["clipped_share"])


@dataclass(frozen=True, slots=True)
class TrunkFile:
    """The shared vector of a round alone.

    Reading raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.
    """

    path: Path
    layout: TrunkLayout  # of the vector

    def read(self) -> NDArray[np.float32]:
        """The vector, (n_params,)."""
        return load_checkpoint(self.path, self.layout, only=["trunk"]).need_trunk(self.path)

    @staticmethod
    def write(path: Path, vector: NDArray[np.float32], facts: Mapping[str, Any] | None = None) -> None:
        """Write the vector (n_params,) and what the caller notes of it, JSON values, atomically."""
        _save(path, Checkpoint(vector, facts=dict(facts or {})))


def _provenance(facts: Mapping[str, Any], path: Path) -> Provenance:
    try:
        return Provenance(**facts["under"])
    except (KeyError, TypeError):
        raise CheckpointDamaged(f"{path}: is damaged: does not name the plan under which it was made") from None


def _tasks(facts: Mapping[str, Any], path: Path) -> TaskKeys | None:
    keys = facts.get("tasks")
    try:
        return (
            None
            if keys is None
            else TaskKeys(*(tuple(map(str, keys[kind])) for kind in ("classification", "regression")))
        )
    except (KeyError, TypeError):
        raise CheckpointDamaged(f"{path}: is damaged: does not name the tasks of its heads") from None


def _save(path: Path, checkpoint: Checkpoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, checkpoint)
