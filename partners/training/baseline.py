"""The network without federation, trained on one partner's data in as many rounds and steps."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partners.errors import BadFolds, CheckpointMismatch
from partners.files.checkpoint import Checkpoint, load_checkpoint, read_facts, save_checkpoint
from partners.network.state import HeadSizes, PartnerState
from partners.network.trunk import TrunkLayout, trunk_digest
from partners.settings import Training, TrunkSettings
from partners.training.evaluation import Evaluation, evaluate
from partners.training.history import RoundScores, best_round, should_stop
from partners.training.training import TrainingProgress, round_seed, seeded_state, train_in_place
from partners.training_data.aligned_arrays import copied
from partners.training_data.training_set import TrainingSet

_KIND = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Length of the local training, the same as the federation's, and the part of its seeds that the settings lack."""

    n_rounds: int
    n_steps: int  # optimiser steps per round
    chance: tuple[int, ...] = field(default=(), repr=False)  # see `round_seed`

    def __post_init__(self) -> None:
        """Raise ValueError for a budget without a step."""
        if self.n_rounds < 1 or self.n_steps < 1:
            raise ValueError(
                f"budget: found {self.n_rounds} rounds of {self.n_steps} steps, expected at least 1 of each"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The network without federation after its last round, or after its best one if `patience` is set."""

    trunk: NDArray[np.float32]
    state: PartnerState
    history: tuple[RoundScores, ...] = ()


def train_baseline(  # noqa: PLR0913 -- as train_round, with a checkpoint file and progress
    training_set: TrainingSet,
    first_trunk: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    budget: Budget,
    checkpoint_file: Path,
    *,
    first_state: PartnerState | None = None,
    progress: TrainingProgress | None = None,
) -> Baseline:
    """Train for `budget` from `first_trunk`, with the federation's first trunk and seeds.

    checkpoint_file : written after every round, with the history among its facts; if the file exists, training goes on
                      from it, with the same result bit for bit as without the interruption
    first_state     : heads before the first round; absent: drawn from the settings' seed
    progress        : called with (steps done, steps in all, losses and scores as text)
    With `training.patience` it ends when the validation loss has not improved for as many rounds, and the model is the
    best round's. Raises CheckpointMismatch if the file belongs to other data or settings, BadFolds for patience without
    a validation fold, and what `train_round` raises.
    """
    if training.patience and training_set.rows_of(training_set.validation_fold).size == 0:
        raise BadFolds(f"fold {training_set.validation_fold}: found no labelled compound, expected some for patience")
    facts = _facts(training_set, first_trunk, trunk_settings, training, budget.n_steps)
    if first_state is not None:
        facts["first_heads"] = {name: trunk_digest(array) for name, array in sorted(first_state.heads.items())}
    files = _Files(checkpoint_file, facts, layout, HeadSizes.of(training_set, training))
    now = files.read()
    if now is None:
        state = seeded_state(training_set, layout, training, round_seed(training.seed, 0, chance=budget.chance))
        now = Baseline(copied(first_trunk), state if first_state is None else first_state.copied())
    if len(now.history) > budget.n_rounds:
        raise CheckpointMismatch(
            f"{checkpoint_file.name}: {len(now.history)} rounds are done, expected {budget.n_rounds} at most"
        )
    while len(now.history) < budget.n_rounds and not should_stop(now.history, training.patience):
        now = _next_round(now, training_set, layout, trunk_settings, training, budget, progress)
        files.write(now, keep_best=training.patience is not None)
    return now if training.patience is None else files.read_best(now)


def read_baseline(checkpoint_file: Path, layout: TrunkLayout) -> tuple[Baseline, dict[str, Any]]:
    """Read a finished network (the best round's if `patience` was set), and the facts that it depends on.

    Raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.
    """
    facts = {name: fact for name, fact in read_facts(checkpoint_file).items() if name != "history"}
    if facts.get("kind") != _KIND:
        raise CheckpointMismatch(f"{checkpoint_file.name}: found no baseline, expected one")
    files = _Files(checkpoint_file, facts, layout, None)
    last = files.read_last()
    return (last if facts["training"]["patience"] is None else files.read_best(last)), facts


def _next_round(
    now: Baseline,
    training_set: TrainingSet,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    budget: Budget,
    progress: TrainingProgress | None,
) -> Baseline:
    """Train one more round, in the memory of `now`."""
    trunk, round_no = now.trunk, len(now.history)
    before = copied(trunk)
    trained = train_in_place(
        training_set,
        trunk,
        now.state,
        layout,
        trunk_settings,
        training,
        round_seed(training.seed, round_no, chance=budget.chance),
        budget.n_steps,
        progress=_shifted(progress, now.history, budget),
    )
    trunk -= before  # and back, to round as a change that is sent and added
    trunk += before
    evaluation = _validation(training_set, trunk, trained.state, layout, trunk_settings, training)
    scores = RoundScores.of(round_no + 1, trained.state.n_steps, float(trained.losses.mean()), evaluation)
    return Baseline(trunk, trained.state, (*now.history, scores))


def _validation(
    training_set: TrainingSet,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Evaluation | None:
    fold = training_set.validation_fold
    if training_set.rows_of(fold).size == 0:
        return None
    return evaluate(training_set, fold, trunk, state, layout, trunk_settings, training)


@dataclass(frozen=True, slots=True)
class _Files:
    """Two checkpoint files: that of the last round, with the history of all rounds, and that of the best."""

    last: Path
    facts: dict[str, object]
    layout: TrunkLayout
    sizes: HeadSizes | None  # None: any

    @property
    def best(self) -> Path:
        return self.last.with_name(f"{self.last.stem}.best.safetensors")

    def read(self) -> Baseline | None:
        """Read the last round's model; None before the first round."""
        return self.read_last() if self.last.exists() else None

    def read_last(self) -> Baseline:
        """Read the last round's model; raises FileNotFoundError before the first round."""
        return self._read(self.last)

    def read_best(self, now: Baseline) -> Baseline:
        if best_round(now.history) == 0:  # no round has a validation loss
            return now
        return replace(self._read(self.best), history=now.history)

    def write(self, now: Baseline, *, keep_best: bool) -> None:
        """Write the best file first: after a kill in between the round is repeated and writes the same best again."""
        facts = self.facts | {"history": [asdict(row) for row in now.history]}
        checkpoint = Checkpoint(now.trunk, now.state, facts=facts)
        if keep_best and best_round(now.history) == len(now.history):
            save_checkpoint(self.best, checkpoint)
        save_checkpoint(self.last, checkpoint)

    def _read(self, path: Path) -> Baseline:
        stored = load_checkpoint(path, self.layout, self.sizes)
        other = [key for key in self.facts if stored.facts.get(key) != self.facts[key]]
        if other:
            error = CheckpointMismatch(f"{path.name}: made with other {', '.join(other)}, expected those of this run")
            error.add_note("remove the file to train the baseline again")
            raise error
        history = tuple(RoundScores(**row) for row in stored.facts["history"])
        return Baseline(stored.need_trunk(path), stored.need_partner(path), history)


def _facts(
    training_set: TrainingSet,
    first_trunk: NDArray[np.float32],
    trunk_settings: TrunkSettings,
    training: Training,
    n_steps: int,
) -> dict[str, object]:
    """Everything that the result depends on, as JSON values."""
    facts: dict[str, object] = {
        "kind": _KIND,
        "data": training_set.digest(),
        "first_trunk": trunk_digest(first_trunk),
        "trunk_settings": trunk_settings.of_network(),
        "training": asdict(training),
        "n_steps": n_steps,
    }
    as_read: dict[str, object] = json.loads(json.dumps(facts))  # tuples become lists
    return as_read


def _shifted(
    progress: TrainingProgress | None, history: tuple[RoundScores, ...], budget: Budget
) -> TrainingProgress | None:
    if progress is None:
        return None
    before = f", {history[-1].short}" if history else ""
    n_done, n_all = len(history) * budget.n_steps, budget.n_rounds * budget.n_steps
    return lambda done, _total, note: progress(n_done + done, n_all, note + before)
