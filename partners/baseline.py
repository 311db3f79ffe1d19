"""Local-only baseline: the same rounds and optimiser steps on the partner's own trunk, no federation."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.errors import CheckpointDamaged, CheckpointMismatch
from partners.settings import Training, TrunkSettings
from partners.state import PartnerState
from partners.training import RoundResult, round_seed, train_round
from partners.training_set import TrainingSet
from partners.trunk import TrunkLayout, trunk_digest

Progress = Callable[[int, int], None]
AfterRound = Callable[[int, NDArray[np.float32], RoundResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long the baseline trains: as long as the federation does."""

    n_rounds: int
    n_steps: int  # optimiser steps per round

    def __post_init__(self) -> None:
        """Refuse a budget of nothing."""
        if self.n_rounds < 1 or self.n_steps < 1:
            raise ValueError(
                f"budget: found {self.n_rounds} rounds of {self.n_steps} steps, expected at least 1 of each"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The local-only model after its last round."""

    trunk: NDArray[np.float32]
    state: PartnerState


def train_baseline(  # noqa: PLR0913 -- as train_round, and where to keep and tell the progress
    training_set: TrainingSet,
    first_trunk: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    budget: Budget,
    checkpoint_file: Path,
    *,
    progress: Progress | None = None,
    after_round: AfterRound | None = None,
) -> Baseline:
    """Train for `budget` from `first_trunk`, where the federation starts too, and with the same seeds.

    checkpoint_file : written after every round; when it is there, training goes on from it, with the same result bit
                      for bit as without the interruption
    progress        : called with (steps done, steps in all)
    after_round     : called with the number of rounds done, the trunk and the round's result, once for each round
                      trained in this call
    Raises CheckpointMismatch when the file belongs to other data or settings, and what `train_round` raises.
    """
    facts = _facts(training_set, first_trunk, trunk_settings, training, budget.n_steps)
    trunk, state, n_done = _resume(checkpoint_file, facts, layout, training_set.n_tasks, first_trunk)
    if n_done > budget.n_rounds:
        raise CheckpointMismatch(
            f"{checkpoint_file.name}: {n_done} rounds are done, expected {budget.n_rounds} at most"
        )
    for round_no in range(n_done, budget.n_rounds):
        seed = round_seed(training.seed, round_no)
        steps_progress = _shifted(progress, round_no, budget)
        result = train_round(
            training_set,
            trunk,
            state,
            layout,
            trunk_settings,
            training,
            seed,
            budget.n_steps,
            progress=steps_progress,
        )
        trunk, state = trunk + result.trunk_change, result.state
        save_checkpoint(checkpoint_file, Checkpoint(trunk, state, facts=facts | {"n_rounds_done": round_no + 1}))
        if after_round is not None:
            after_round(round_no + 1, trunk, result)
    if state is None:  # pragma: no cover -- a budget has at least one round
        raise AssertionError("no round was trained")
    return Baseline(trunk, state)


def _facts(
    training_set: TrainingSet,
    first_trunk: NDArray[np.float32],
    trunk_settings: TrunkSettings,
    training: Training,
    n_steps: int,
) -> dict[str, object]:
    """Everything the result depends on, as JSON values."""
    return {
        "kind": "baseline",
        "data": training_set.digest(),
        "first_trunk": trunk_digest(first_trunk),
        "trunk_settings": {"hidden": list(trunk_settings.hidden), "dropout": trunk_settings.dropout},
        "training": asdict(training),
        "n_steps": n_steps,
    }


def _resume(
    path: Path, facts: dict[str, object], layout: TrunkLayout, n_tasks: int, first_trunk: NDArray[np.float32]
) -> tuple[NDArray[np.float32], PartnerState | None, int]:
    if not path.exists():
        return first_trunk, None, 0
    stored = load_checkpoint(path, layout, n_tasks)
    other = [key for key in facts if stored.facts.get(key) != facts[key]]
    if other:
        error = CheckpointMismatch(f"{path.name}: made with other {', '.join(other)}, expected those of this run")
        error.add_note("remove the file to train the baseline anew")
        raise error
    if stored.trunk is None or stored.partner is None:
        raise CheckpointDamaged(f"{path.name}: found no trunk or no partner state, expected both")
    return stored.trunk, stored.partner, int(stored.facts["n_rounds_done"])


def _shifted(progress: Progress | None, round_no: int, budget: Budget) -> Progress | None:
    if progress is None:
        return None
    return lambda done, _total: progress(round_no * budget.n_steps + done, budget.n_rounds * budget.n_steps)
