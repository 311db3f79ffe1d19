"""Seal a vector and open a sum, with a partner's keys: the same in training rounds and in the counting round."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.protocol.enrolment import Enrolment
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import SealParameters, SealSettings
from secure.encoding.roster import Roster
from secure.sealing.open_sum import CheckedSum, OpenedSum, check_sum
from secure.sealing.release import ReleaseSeed
from secure.sealing.seal import SealReport, seal_update
from secure.sealing.workers import Progress


def update_weight(settings: SealSettings, n_labels: int, reporter: ProgressReporter) -> int:
    """1, or the number of labels in the training folds if the plan weighs by size."""
    if settings.weights == "equal":
        return 1
    if n_labels > settings.max_weight:
        reporter.report(f"{n_labels} training labels count as {settings.max_weight}, the plan's seal.max_weight")
    return max(1, min(n_labels, settings.max_weight))


@dataclass(frozen=True, slots=True)
class RoundSeal:
    """Keys, parameters and tensor positions, with which a partner seals and opens in every attempt."""

    me: str
    enrolment: Enrolment
    parameters: SealParameters
    slices: Sequence[slice]  # of the vector, a tensor each
    workers: int = 1  # most processes

    def seal(  # noqa: PLR0913 -- by name, see `seal_update`
        self,
        vector: NDArray[np.float32],
        roster: Roster,
        path: Path,
        *,
        release: ReleaseSeed,
        bounds: NDArray[np.float64],
        rng: np.random.Generator,
        weight: int = 1,
        residual: NDArray[np.float32] | None = None,
        progress: Progress | None = None,
    ) -> SealReport:
        """Seal a vector (n_params,) for exactly this roster; the file of an interrupted seal is replaced.

        The new residual takes the vector's memory. release, bounds, rng, weight, residual, errors: see `seal_update`.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return seal_update(
            vector,
            weight=weight,
            bounds=bounds,
            slices=self.slices,
            residual=residual,
            roster=roster,
            me=self.me,
            pair_keys=self.enrolment.pair_keys,
            release=release,
            group=self.enrolment.group,
            parameters=self.parameters,
            rng=rng,
            path=path,
            residual_out=vector,
            workers=self.workers,
            progress=progress,
        )

    def check(self, sum_file: Path, roster: Roster, progress: Progress | None = None) -> CheckedSum:
        """Decrypt the sum of a roster and check its tag. Raises what `check_sum` raises."""
        return check_sum(
            sum_file,
            roster=roster,
            group=self.enrolment.group,
            parameters=self.parameters,
            n_params=self.slices[-1].stop,
            workers=self.workers,
            progress=progress,
        )

    def open(self, checked: CheckedSum, seeds: Sequence[ReleaseSeed], bounds: NDArray[np.float64]) -> OpenedSum:
        """Open a checked sum with all members' seeds; bounds as for sealing. Raises what `CheckedSum.open` raises."""
        return checked.open(seeds, slices=self.slices, bounds=bounds, workers=self.workers)
