"""What `hocket try` found: its scores as JSON and as a table, and a commented proposal for plan and partner.toml."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from partners.training.halving import Candidate, Trial
from pipeline.plan.commented_toml import toml_value
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan

TRIES, PROPOSAL = "tries.json", "proposal.toml"
_COLUMNS = 118


@dataclass(frozen=True, slots=True)
class Tries:
    """A finished search."""

    folder: Path
    partner: str
    plan: Plan
    config: PartnerConfig
    trials: Sequence[Trial]  # best first
    is_of_group: bool  # whether the folds were the federation's

    @property
    def best(self) -> Trial:
        """The winner."""
        return self.trials[0]

    @property
    def own(self) -> Trial:
        """The settings as they are."""
        return next(trial for trial in self.trials if trial.number == 0)

    def to_json(self) -> dict[str, Any]:
        """The content of tries.json."""
        return {
            "partner": self.partner,
            "plan": self.plan.digest,
            "local_steps": self.plan.rounds.local_steps,
            "folds_of_group": self.is_of_group,
            "trials": [_trial_json(trial) for trial in self.trials],
        }


def own_settings(plan: Plan, config: PartnerConfig) -> Candidate:
    """The settings as they are; of several shares of dropout the first."""
    return Candidate(plan.trunk.hidden, plan.trunk.dropouts[0], config.training.learning_rate)


def _trial_json(trial: Trial) -> dict[str, Any]:
    candidate = trial.candidate
    return {
        "number": trial.number,
        "hidden": list(candidate.hidden),
        "dropout": candidate.dropout,
        "learning_rate": candidate.learning_rate,
        "diverged": trial.diverged,
        "rounds": [
            {
                "round": row.round_no,
                "steps": row.n_steps,
                "loss": row.loss,
                "validation_loss": row.validation_loss,
                "validation_average_precision": row.validation_average_precision,
                "validation_roc_auc": row.validation_roc_auc,
            }
            for row in trial.history
        ],
    }


def print_tries(tries: Tries, console: Console) -> None:
    """Print a row for each trial, best first, then the proposal."""
    table = Table(title="Validation fold, without federation, mean over tasks; at each trial's best round")
    columns = ("trial", "hidden", "dropout", "learning rate", "rounds", "best round", "steps", "AP", "AUC-ROC")
    for column in columns:
        table.add_column(column, justify="left" if column == "trial" else "right", no_wrap=True)
    for trial in tries.trials:
        table.add_row(*_cells(trial))
    console.print(table)
    console.print(proposal_text(tries), markup=False, highlight=False, soft_wrap=True, end="")


def _cells(trial: Trial) -> list[str]:
    candidate, best = trial.candidate, trial.best
    name = f"{trial.number}{' (as it is)' if trial.number == 0 else ''}{' diverged' if trial.diverged else ''}"
    settings = [_hidden(candidate.hidden), f"{candidate.dropout:g}", f"{candidate.learning_rate:.3g}"]
    if best is None:
        return [name, *settings, str(len(trial.history)), "-", "-", "-", "-"]
    scores = [best.validation_average_precision, best.validation_roc_auc]
    shown = ["-" if score is None else f"{score:.4f}" for score in scores]
    return [name, *settings, str(len(trial.history)), str(best.round_no), str(best.n_steps), *shown]


def _hidden(hidden: tuple[int, ...]) -> str:
    return "x".join(map(str, hidden))


def proposal_text(tries: Tries) -> str:
    """The proposal as TOML in which every setting is a comment: a person decides."""
    return "\n".join(_lines(tries)) + "\n"


def _lines(tries: Tries) -> Iterator[str]:
    best, own = tries.best, tries.own
    yield from _comment(
        f"Proposal of `hocket try` for {tries.partner}, from its own data alone. Scores are mean average precision "
        "over tasks on the validation fold, by which they were chosen: they are too good for what was chosen. A "
        "federation has more data, and may want more units and less dropout than one partner does."
    )
    if not tries.is_of_group:
        yield from _comment(
            "The folds were keyed by this partner's own keys, for the group secret is not dealt yet: compounds of the "
            "later test fold were among those chosen by."
        )
    yield from _comment(f"{_score(own)} as it is, {_score(best)} with the settings below.")
    if best.number == own.number:
        yield from _comment("No candidate was better than the settings as they are: only the length is proposed.")
    yield ""
    yield from _comment("In plan.toml, on which all partners must agree:")
    yield "# [trunk]"
    yield f"# hidden = {toml_value(best.candidate.hidden)}  # now {toml_value(tries.plan.trunk.hidden)}"
    yield f"# dropout = {toml_value(best.candidate.dropout)}  # now {toml_value(tries.plan.trunk.dropout)}"
    yield "# [rounds]"
    if best.best:
        yield from _length(best, best.best.n_steps, tries.plan)
    yield ""
    yield from _comment("In this partner's partner.toml:")
    yield "# [training]"
    yield (
        f"# learning_rate = {toml_value(float(f'{best.candidate.learning_rate:.3g}'))}  "
        f"# now {toml_value(tries.config.training.learning_rate)}"
    )


def _length(best: Trial, n_steps: int, plan: Plan) -> Iterator[str]:
    n_trained = best.history[-1].n_steps
    rounds = plan.rounds
    now = f"{rounds.n_rounds} rounds x {rounds.local_steps} steps = {rounds.n_rounds * rounds.local_steps:,}"
    if n_steps == n_trained:
        yield from _comment(f"n_rounds x local_steps: best after all {n_steps:,} steps tried, more may help; now {now}")
    else:
        yield from _comment(f"n_rounds x local_steps: best after {n_steps:,} of {n_trained:,} steps tried; now {now}")


def _score(trial: Trial) -> str:
    score = trial.best.validation_average_precision if trial.best else None
    return "no score" if score is None else f"{score:.4f}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _COLUMNS)]
