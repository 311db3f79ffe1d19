"""Files that a partner makes once in a round, for all attempts at it, and never posts; removed with the round."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partners.files.round_checkpoint import ResidualFile, TrainedFile
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.training_data.task_keys import TaskKeys
from pipeline.errors import ConfigError
from secure.files import remove_for_good

TRAINED_FILE = "trained.safetensors"
File = TypeVar("File", TrainedFile, ResidualFile)


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """The files of one round under one plan, written atomically.

    Reading raises ConfigError for a missing file, partners.errors.CheckpointDamaged or CheckpointMismatch.
    """

    folder: Path
    layout: TrunkLayout  # of the vector

    @property
    def unposted(self) -> Path:
        """The sealed update of an attempt, as long as its residual is not on disk."""
        return self.folder / "update.unposted"

    @property
    def is_trained(self) -> bool:
        """Whether this round's training is done."""
        return self._trained.path.exists()

    def write_trained(
        self, change: NDArray[np.float32], private: PartnerState, loss: float, tasks: TaskKeys | None = None
    ) -> None:
        """Write the result of training: the change (n_params,) in the clear, heads, tasks and optimiser, mean loss."""
        self._trained.write(change, private, loss, tasks)

    def read_tasks(self) -> TaskKeys | None:
        """Tasks of the trained heads, in the order of their rows; None: not known."""
        return _existing(self._trained).tasks

    def read_change(self) -> NDArray[np.float32]:
        """The change (n_params,) of the trunk by training."""
        return _existing(self._trained).change()

    def read_private(self) -> tuple[PartnerState, float]:
        """Heads and optimiser after training, and the mean loss."""
        return _existing(self._trained).private()

    def write_residual(self, residual: NDArray[np.float32], clipped_share: float) -> None:
        """Write the residual of sealing (n_params,), and the share of parameters that were clipped."""
        self._residual.write(residual, clipped_share)

    def read_residual(self) -> tuple[NDArray[np.float32], float]:
        """The residual of sealing (n_params,), and the share of parameters that were clipped."""
        return _existing(self._residual).read()

    def remove(self) -> None:
        """Remove all files of the round, above all the update in the clear."""
        for file in (self._trained.path, self._residual.path, self.unposted):
            remove_for_good(file)

    @property
    def _trained(self) -> TrainedFile:
        return TrainedFile(self.folder / TRAINED_FILE, self.layout)

    @property
    def _residual(self) -> ResidualFile:
        return ResidualFile(self.folder / "leftover.safetensors", self.layout)


def _existing(file: File) -> File:
    if not file.path.exists():
        error = ConfigError(f"{file.path}: is missing, but the outbox has a message that was made from it")
        error.add_note("restore the whole home, then go on under a revision of the plan: see secure/KEYS.md")
        raise error
    return file
