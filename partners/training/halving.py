"""Choose settings of the network by successive halving on one partner's validation fold, without federation.

All candidates are trained a little; the best third goes on from its checkpoints three times as long, and so on
(Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from partners.errors import BadFolds, TrainingDiverged
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training.baseline import Budget, read_baseline, train_baseline
from partners.training.history import RoundScores
from partners.training.training import TrainingProgress
from partners.training_data.training_set import TrainingSet

_FACTOR = 3  # of rounds from one rung to the next, and of candidates the other way round


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """Settings that are tried together."""

    hidden: tuple[int, ...]  # units of each trunk layer
    dropout: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the search: so many candidates are trained up to this round."""

    n_candidates: int
    n_rounds: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate with its scores on the validation fold, round by round as far as it was trained."""

    number: int
    candidate: Candidate
    history: tuple[RoundScores, ...]
    diverged: bool = False

    @property
    def best(self) -> RoundScores | None:
        """The first round with the highest mean average precision; None before one could be scored."""
        scored = [row for row in self.history if row.validation_average_precision is not None]
        return max(scored, key=_precision, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What all trials have in common."""

    data: TrainingSet
    trunk: TrunkSettings  # of which units and dropout are replaced
    training: Training  # of which the learning rate is replaced
    trunk_seed: int
    n_steps: int  # optimiser steps of a round
    folder: Path  # of the trials' checkpoints, from which an interrupted search goes on

    def train(self, trial: Trial, n_rounds: int, progress: TrainingProgress | None = None) -> Trial:
        """Train a trial up to this round, from its checkpoint if there is one; a diverged one stays where it is."""
        candidate = trial.candidate
        layout = trunk_layout(self.data.n_inputs, candidate.hidden)
        file = self.folder / f"trial-{trial.number:03d}.safetensors"
        if file.exists() and len(history := read_baseline(file, layout)[0].history) >= n_rounds:
            return replace(trial, history=history[:n_rounds])  # an interrupted search had come further
        try:
            trained = train_baseline(
                self.data,
                initial_trunk(layout, self.trunk_seed),
                layout,
                replace(self.trunk, hidden=candidate.hidden, dropout=candidate.dropout),
                replace(self.training, learning_rate=candidate.learning_rate, patience=None),
                Budget(n_rounds=n_rounds, n_steps=self.n_steps),
                file,
                progress=progress,
            )
        except TrainingDiverged:
            return replace(trial, diverged=True)
        return replace(trial, history=trained.history)


def candidates_of(
    own: Candidate,
    hidden: Sequence[tuple[int, ...]],
    dropout: Sequence[float],
    learning_rate: Sequence[float],
    n: int,
    rng: np.random.Generator,
) -> list[Candidate]:
    """`own` first, then combinations of the choices: all if there are fewer than n, else n - 1 drawn at random."""
    others = sorted({Candidate(*each) for each in product(hidden, dropout, learning_rate)} - {own})
    drawn = rng.permutation(len(others))[: n - 1]
    return [own, *(others[i] for i in sorted(drawn))]


def rungs_of(n_candidates: int, n_rounds: int) -> list[Rung]:
    """The steps of a search: a third of the candidates goes on each time, and the last are trained for all rounds."""
    kept = [n_candidates]
    while kept[-1] > 1 and len(kept) <= n_rounds.bit_length():
        kept.append(max(1, kept[-1] // _FACTOR))
    lengths = [max(1, round(n_rounds / _FACTOR ** (len(kept) - 1 - i))) for i in range(len(kept))]
    return [Rung(n, length) for n, length in zip(kept, lengths, strict=True)]


def rounds_needed(rungs: Sequence[Rung]) -> int:
    """Most rounds that a search trains in all; the first candidate is always trained to the end."""
    before = [0, *(rung.n_rounds for rung in rungs)]
    searched = sum(rung.n_candidates * (rung.n_rounds - start) for rung, start in zip(rungs, before, strict=False))
    return searched + (rungs[-1].n_rounds - rungs[0].n_rounds)


def halve(
    candidates: Sequence[Candidate],
    rungs: Sequence[Rung],
    train: Callable[[Trial, int], Trial],
    seen: Callable[[Sequence[Trial]], None] = lambda _trials: None,
) -> list[Trial]:
    """Train candidates rung by rung; returns all, best first, those that were trained longest before the others.

    train : trains a trial up to a round
    seen  : called with all trials after each rung
    The first candidate, which stands for the settings as they are, is trained to the end whatever it scores.
    Raises BadFolds if the validation fold has no task that can be scored, TrainingDiverged if all candidates diverged.
    """
    trials = [Trial(number, candidate, ()) for number, candidate in enumerate(candidates)]
    going_on = list(trials)
    for rung in rungs:
        chosen = {each.number for each in going_on[: rung.n_candidates]} | {0}
        trials = [train(each, rung.n_rounds) if each.number in chosen else each for each in trials]
        if all(each.diverged for each in trials):
            raise TrainingDiverged("every candidate diverged: try lower learning rates")
        if all(each.best is None for each in trials):
            raise BadFolds("validation fold: found no task with actives and inactives, expected one to choose by")
        going_on = ranked([each for each in trials if each.number in chosen])
        seen(ranked(trials))
    return ranked(trials)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials by the round up to which they were trained, then by their best score; diverged ones last."""
    return sorted(trials, key=lambda trial: (trial.diverged, -len(trial.history), -_best(trial), trial.number))


def _best(trial: Trial) -> float:
    return -1.0 if trial.best is None else _precision(trial.best)


def _precision(row: RoundScores) -> float:
    return -1.0 if row.validation_average_precision is None else row.validation_average_precision
