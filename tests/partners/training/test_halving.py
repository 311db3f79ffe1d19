"""Successive halving: who goes on, how far, what it costs, and that an interrupted search ends as a whole one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.settings import Folds
from partners.errors import BadFolds, TrainingDiverged
from partners.settings import Training, TrunkSettings
from partners.training.halving import (
    Candidate,
    Search,
    Trial,
    candidates_of,
    halve,
    rounds_needed,
    rungs_of,
)
from partners.training.history import RoundScores
from partners.training_data.prepared_data import training_set
from tests.support.partners.prepared_matrices import prepared_matrices

OWN = Candidate((64,), 0.6, 1e-3)
DATA = training_set(prepared_matrices(n_compounds=200), Folds(), Training())


def made_up(score_of: dict[int, float], log: list[tuple[int, int]]):
    """Trains nothing: each trial has its score in every round."""

    def train(trial: Trial, n_rounds: int) -> Trial:
        log.append((trial.number, n_rounds))
        rows = tuple(
            RoundScores(round_no=i, n_steps=i, loss=1.0, validation_average_precision=score_of[trial.number])
            for i in range(1, n_rounds + 1)
        )
        return replace(trial, history=rows)

    return train


def candidates(n: int) -> list[Candidate]:
    """Candidates that differ."""
    return [Candidate((i + 1,), 0.1, 1e-3) for i in range(n)]


@given(st.integers(1, 40), st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_best_goes_to_the_end(n: int, n_rounds: int, random):
    """Scores that do not change: the best wins, no more is trained than announced, the first is trained whole."""
    scores = {i: random.random() for i in range(n)}
    rungs, log = rungs_of(n, n_rounds), []
    assert rungs[0].n_candidates == n
    assert rungs[-1].n_rounds == n_rounds
    assert [rung.n_rounds for rung in rungs] == sorted(rung.n_rounds for rung in rungs)
    trials = halve(candidates(n), rungs, made_up(scores, log))
    assert trials[0].number == max(scores, key=lambda i: (scores[i], -i))
    assert len(trials) == n
    by_number = {trial.number: trial for trial in trials}
    assert len(by_number[0].history) == n_rounds == len(trials[0].history)
    assert sum(len(trial.history) for trial in trials) <= rounds_needed(rungs)


def test_a_third_goes_on():
    """27 candidates over 27 rounds: 27 for one round, 9 for three, 3 for nine, one to the end, beside the first."""
    log: list[tuple[int, int]] = []
    halve(candidates(27), rungs_of(27, 27), made_up({i: float(i) / 27 for i in range(27)}, log))
    assert {rounds: sum(1 for _, n in log if n == rounds) for rounds in (1, 3, 9, 27)} == {1: 27, 3: 10, 9: 4, 27: 2}


def test_candidates_have_the_own_settings_first():
    """No combination twice; few combinations are all taken, and of many some, the same for the same seed."""
    hidden, dropout, rate = ((32,), (64,)), (0.2, 0.6), (1e-3, 1e-2)
    every = candidates_of(OWN, hidden, dropout, rate, 100, np.random.default_rng(0))
    assert every[0] == OWN
    assert len(every) == len(set(every)) == 8
    some = [candidates_of(OWN, hidden, dropout, rate, 4, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert some[0] == some[1] != some[2]
    assert all(len(each) == 4 and each[0] == OWN and set(each) <= set(every) for each in some)
    assert candidates_of(OWN, hidden, dropout, rate, 1, np.random.default_rng(0)) == [OWN]


def test_nothing_to_choose_by_is_refused():
    """A fold without a task that can be scored would let chance decide."""

    def train(trial: Trial, n_rounds: int) -> Trial:
        return replace(trial, history=(RoundScores(round_no=1, n_steps=n_rounds, loss=1.0),))

    with pytest.raises(BadFolds, match="choose"):
        halve(candidates(3), rungs_of(3, 3), train)


def test_that_all_candidates_diverge_is_said():
    """The folds are not to blame."""
    with pytest.raises(TrainingDiverged):
        halve(candidates(3), rungs_of(3, 3), lambda trial, _: replace(trial, diverged=True))


def test_a_diverged_trial_is_last():
    """Whatever it scored before."""

    def train(trial: Trial, n_rounds: int) -> Trial:
        scored = made_up({0: 0.1, 1: 0.9, 2: 0.2}, [])(trial, n_rounds)
        return replace(scored, diverged=trial.number == 1)

    assert [trial.number for trial in halve(candidates(3), rungs_of(3, 9), train)][-1] == 1


def search(folder: Path) -> Search:
    """A search over small networks."""
    folder.mkdir(exist_ok=True)
    training = Training(batch_size=40)
    return Search(
        data=DATA, trunk=TrunkSettings(hidden=(8,)), training=training, trunk_seed=1, n_steps=2, folder=folder
    )


def test_an_interrupted_search_ends_alike(tmp_path: Path):
    """A search that is stopped after any number of trainings, and started again, has the same trials."""
    tried = [Candidate((8,), 0.2, 1e-3), Candidate((4,), 0.2, 1e-2), Candidate((8,), 0.5, 1e-2)]
    rungs = rungs_of(3, 3)
    whole = halve(tried, rungs, search(tmp_path / "whole").train)
    calls = 0

    def stopped(trial: Trial, n_rounds: int) -> Trial:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        return search(tmp_path / "stopped").train(trial, n_rounds)

    with pytest.raises(KeyboardInterrupt):
        halve(tried, rungs, stopped)
    assert halve(tried, rungs, search(tmp_path / "stopped").train) == whole
    assert halve(tried, rungs, search(tmp_path / "stopped").train) == whole
    assert len(whole[0].history) == 3
