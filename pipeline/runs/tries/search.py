"""`hocket try`: a search for settings on a partner's own validation fold, without federation."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partners.settings import Training, TrunkSettings
from partners.training.halving import Candidate, Rung, Search, Trial, candidates_of, halve, rounds_needed, rungs_of
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.home.canaries import canaries_file, left_out_of
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.runs.tries.matrices import matrices_of
from pipeline.runs.tries.proposal import PROPOSAL, TRIES, Tries, own_settings, proposal_text
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter
from secure.files import write_atomically


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be tried, and how much: the budget is the number of candidates and of rounds."""

    hidden: tuple[tuple[int, ...], ...] = ()  # units of each layer; none: a quarter, a half and all of the plan's
    dropout: tuple[float, ...] = ()  # none: 0.2, 0.4 and 0.6
    learning_rate: tuple[float, ...] = ()  # none: a third of the configuration's, that, and thrice that
    n_candidates: int = 9
    n_rounds: int | None = None  # that the last candidate is trained for; None: the plan's
    seed: int = 0  # which combinations are drawn

    def candidates(self, own: Candidate, *, units_are_fixed: bool = False) -> list[Candidate]:
        """The candidates, the settings as they are first. Raises ConfigError for impossible ones.

        units_are_fixed : the federation begins from a trunk in a file, whose units nobody can change
        """
        if units_are_fixed and set(self.hidden) - {own.hidden}:
            raise ConfigError(f"--hidden: found other units than {list(own.hidden)}, those of the plan's trunk.start")
        hidden = self.hidden or tuple(dict.fromkeys(_scaled(own.hidden, share) for share in (0.25, 0.5, 1.0)))
        hidden = (own.hidden,) if units_are_fixed else hidden
        rates = self.learning_rate or tuple(own.learning_rate * factor for factor in (1 / 3, 1.0, 3.0))
        rng = np.random.default_rng(self.seed)
        chosen = candidates_of(own, hidden, self.dropout or (0.2, 0.4, 0.6), rates, self.n_candidates, rng)
        for each in chosen:
            _expect_possible(each)
        return chosen


def try_settings(config_file: Path, choices: Choices, log: Log | None = None) -> Tries:
    """Search, write scores and proposal into the home, and return them; the same command goes on where it was stopped.

    Raises HomeInUse while another process works in the home, ConfigError for impossible choices, and what preparing and
    training raise.
    """
    config = PartnerConfig.read(config_file)
    plan, home = read_plan(config.plan_file), Home(config.home_folder)
    candidates = choices.candidates(own_settings(plan, config), units_are_fixed=bool(plan.trunk.start))
    rungs = rungs_of(len(candidates), choices.n_rounds or plan.rounds.n_rounds)
    reporter = ProgressReporter(config.name, log)
    with home.alone():
        matrices, _, is_of_group = matrices_of(config, plan, home, reporter)
        data = training_set(matrices, plan.preparation.folds, config.training, left_out_of(home, matrices.x))
        if config.audit.canaries and not canaries_file(home).exists():
            reporter.warn("canaries are not drawn yet: settings are chosen on compounds that may be left out later")
        n_rounds = rounds_needed(rungs)
        reporter.report(
            f"candidates: {len(candidates)}, at most {n_rounds} rounds of {plan.rounds.local_steps} steps in all, as "
            f"{n_rounds / rungs[-1].n_rounds:.1f} networks without federation"
        )
        folder = home.tries / _identity(data, plan, config, candidates, rungs)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trials = _search(data, plan, config, candidates, rungs, folder, reporter)
        tries = Tries(folder, config.name, plan, config, trials, is_of_group)
        write_json(folder / TRIES, tries.to_json())
        write_atomically(folder / PROPOSAL, proposal_text(tries).encode())
        for file in folder.iterdir():
            file.chmod(0o600)
    return tries


def _search(
    data: TrainingSet,
    plan: Plan,
    config: PartnerConfig,
    candidates: Sequence[Candidate],
    rungs: Sequence[Rung],
    folder: Path,
    reporter: ProgressReporter,
) -> list[Trial]:
    search = Search(
        data=data,
        trunk=replace(plan.trunk, start="", start_digest=""),  # the file's trunk may have been trained on anything
        training=config.training,
        trunk_seed=plan.federation.seed,
        n_steps=plan.rounds.local_steps,
        folder=folder,
    )

    def seen(trials: Sequence[Trial]) -> None:
        n_left = sum(len(trial.history) == len(trials[0].history) for trial in trials)
        if trials[0].best:
            score = trials[0].best.validation_average_precision
            reporter.report(
                f"after round {len(trials[0].history)}: candidates left: {n_left}, the best has AP {score:.4f}"
            )

    with reporter.progress("trying settings") as progress:

        def train(trial: Trial, n_rounds: int) -> Trial:
            return search.train(trial, n_rounds, partial(_noted, progress, trial.number))

        return halve(candidates, rungs, train, seen)


def _noted(progress: Any, number: int, done: int, total: int, note: str) -> None:  # noqa: ANN401 -- a callable of progress
    progress(done, total, f"candidate {number}{f', {note}' if note else ''}")


def _identity(
    data: TrainingSet, plan: Plan, config: PartnerConfig, candidates: Sequence[Candidate], rungs: Sequence[Rung]
) -> str:
    """Name of the search's folder: all that its result depends on."""
    facts = {
        "data": data.digest(),
        "trunk": asdict(plan.trunk),
        "trunk_seed": plan.federation.seed,
        "training": asdict(config.training),
        "n_steps": plan.rounds.local_steps,
        "candidates": [asdict(each) for each in candidates],
        "rungs": [asdict(rung) for rung in rungs],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _scaled(hidden: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(max(1, round(units * share)) for units in hidden)


def _expect_possible(candidate: Candidate) -> None:
    try:
        TrunkSettings(hidden=candidate.hidden, dropout=candidate.dropout)
        Training(learning_rate=candidate.learning_rate)
    except ValueError as error:
        raise ConfigError(str(error)) from None
