"""What a partner makes in one attempt at a round and never posts: its files, which go when the attempt is over."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from pipeline.errors import ConfigError

_CHANGE, _RESIDUAL = "change", "residual"


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """The files of one attempt, written atomically.

    To read raises ConfigError for a file that is missing, partners.errors.CheckpointDamaged or CheckpointMismatch.
    """

    folder: Path
    layout: TrunkLayout  # of the vector

    @property
    def unposted(self) -> Path:
        """The sealed update, until its residual is on disk too."""
        return self.folder / "update.unposted"

    @property
    def is_trained(self) -> bool:
        """Whether this attempt's training is done."""
        return self._trained.exists()

    def write_trained(self, change: NDArray[np.float32], private: PartnerState, loss: float) -> None:
        """Keep what training gave: the change (n_params,) in the clear, heads and optimiser, the mean loss."""
        _save(self._trained, Checkpoint(partner=private, facts={"loss": loss}, vectors={_CHANGE: change}))

    def read_change(self) -> NDArray[np.float32]:
        """The change (n_params,) that training gave."""
        return load_checkpoint(_needed(self._trained), self.layout, only=["vectors"]).vectors[_CHANGE]

    def read_private(self) -> tuple[PartnerState, float]:
        """Heads and optimiser after training, and its loss."""
        found = load_checkpoint(_needed(self._trained), self.layout, only=["heads", "moments"])
        return found.need_partner(self._trained), float(found.facts["loss"])

    def write_residual(self, residual: NDArray[np.float32], clipped_share: float) -> None:
        """Keep what sealing left over (n_params,), and the share of parameters that were clipped."""
        _save(self._residual, Checkpoint(facts={"clipped_share": clipped_share}, vectors={_RESIDUAL: residual}))

    def read_residual(self) -> tuple[NDArray[np.float32], float]:
        """What `write_residual` kept."""
        found = load_checkpoint(_needed(self._residual), self.layout)
        return found.vectors[_RESIDUAL], float(found.facts["clipped_share"])

    def forget(self) -> None:
        """Remove them all: an update is never sealed for two rosters."""
        for file in (self._trained, self._residual, self.unposted):
            file.unlink(missing_ok=True)

    @property
    def _trained(self) -> Path:
        return self.folder / "trained.safetensors"

    @property
    def _residual(self) -> Path:
        return self.folder / "leftover.safetensors"


def _needed(file: Path) -> Path:
    if not file.exists():
        error = ConfigError(f"{file}: is missing, but the outbox holds what was said of it")
        error.add_note("a home is restored whole, and goes on under a revision of the plan: see secure/KEYS.md")
        raise error
    return file


def _save(path: Path, checkpoint: Checkpoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, checkpoint)
