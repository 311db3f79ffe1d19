"""Files that a partner makes in one attempt at a round and never posts; removed when the attempt is over."""

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

    Reading raises ConfigError for a missing file, partners.errors.CheckpointDamaged or CheckpointMismatch.
    """

    folder: Path
    layout: TrunkLayout  # of the vector

    @property
    def unposted(self) -> Path:
        """The sealed update, as long as its residual is not on disk."""
        return self.folder / "update.unposted"

    @property
    def is_trained(self) -> bool:
        """Whether this attempt's training is done."""
        return self._trained.exists()

    def write_trained(self, change: NDArray[np.float32], private: PartnerState, loss: float) -> None:
        """Write the result of training: the change (n_params,) in the clear, heads and optimiser, the mean loss."""
        _save(self._trained, Checkpoint(partner=private, facts={"loss": loss}, vectors={_CHANGE: change}))

    def read_change(self) -> NDArray[np.float32]:
        """The change (n_params,) of the trunk by training."""
        return load_checkpoint(_existing(self._trained), self.layout, only=["vectors"]).vectors[_CHANGE]

    def read_private(self) -> tuple[PartnerState, float]:
        """Heads and optimiser after training, and the mean loss."""
        checkpoint = load_checkpoint(_existing(self._trained), self.layout, only=["heads", "moments"])
        return checkpoint.need_partner(self._trained), float(checkpoint.facts["loss"])

    def write_residual(self, residual: NDArray[np.float32], clipped_share: float) -> None:
        """Write the residual of sealing (n_params,), and the share of parameters that were clipped."""
        _save(self._residual, Checkpoint(facts={"clipped_share": clipped_share}, vectors={_RESIDUAL: residual}))

    def read_residual(self) -> tuple[NDArray[np.float32], float]:
        """The residual of sealing (n_params,), and the share of parameters that were clipped."""
        checkpoint = load_checkpoint(_existing(self._residual), self.layout)
        return checkpoint.vectors[_RESIDUAL], float(checkpoint.facts["clipped_share"])

    def remove(self) -> None:
        """Remove all files of the attempt: an update is never sealed for two rosters."""
        for file in (self._trained, self._residual, self.unposted):
            file.unlink(missing_ok=True)

    @property
    def _trained(self) -> Path:
        return self.folder / "trained.safetensors"

    @property
    def _residual(self) -> Path:
        return self.folder / "leftover.safetensors"


def _existing(file: Path) -> Path:
    if not file.exists():
        error = ConfigError(f"{file}: is missing, but the outbox has a message that was made from it")
        error.add_note("restore the whole home, then go on under a revision of the plan: see secure/KEYS.md")
        raise error
    return file


def _save(path: Path, checkpoint: Checkpoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, checkpoint)
