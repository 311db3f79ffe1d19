"""The local-only baseline: a chain of rounds that can be interrupted."""

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partners.errors import BadFolds, CheckpointDamaged, CheckpointMismatch
from partners.settings import Training
from partners.training.baseline import Baseline, Budget, train_baseline
from partners.training.evaluation import evaluate
from partners.training.history import RoundScores, best_round, should_stop
from partners.training.training import RoundResult, round_seed, seeded_state, train_round
from partners.training_data.training_set import TrainingSet
from tests.support.partners.counted_baseline import baseline_that_counts
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk

_LAYOUT, _FIRST, _SETTINGS = small_trunk(12)
_BUDGET = Budget(n_rounds=4, n_steps=3)


def _baseline(file: Path, budget: Budget = _BUDGET, **changes: object) -> Baseline:
    parts = {"data": small_set(), "training": TRAINING, "first": _FIRST} | changes
    callbacks = {key: parts[key] for key in ("progress", "first_state") if key in parts}
    data, training, first = parts["data"], parts["training"], parts["first"]
    return train_baseline(data, first, _LAYOUT, _SETTINGS, training, budget, file, **callbacks)


def _assert_equal(one: Baseline, other: Baseline) -> None:
    np.testing.assert_array_equal(one.trunk, other.trunk)
    for part in ("heads", "first_moment", "second_moment"):
        for name, array in getattr(one.state, part).items():
            np.testing.assert_array_equal(array, getattr(other.state, part)[name])


def _chain(n_rounds: int, n_steps: int, training: Training) -> list[tuple[np.ndarray, RoundResult]]:
    """Trunk and result after each of some rounds, state kept, one seed per round."""
    trunk, state, rounds = _FIRST, None, []
    for round_no in range(n_rounds):
        seed = round_seed(0, round_no)
        result = train_round(small_set(), trunk, state, _LAYOUT, _SETTINGS, training, seed, n_steps)
        trunk, state = trunk + result.trunk_change, result.state
        rounds.append((trunk, result))
    return rounds


def test_it_is_the_chain_of_rounds(tmp_path: Path):
    """The baseline is train_round after train_round on its own trunk."""
    trunk, result = _chain(4, 3, TRAINING)[-1]
    _assert_equal(_baseline(tmp_path / "b"), Baseline(trunk, result.state))


def test_it_begins_with_the_heads_it_is_given(tmp_path: Path):
    """It uses the first heads that it is given, as a federation with a catalogue does; a file of others is refused."""
    drawn = seeded_state(small_set(), _LAYOUT, TRAINING, 99)
    result = train_round(small_set(), _FIRST, drawn, _LAYOUT, _SETTINGS, TRAINING, round_seed(0, 0), 3)
    budget = Budget(n_rounds=1, n_steps=3)
    baseline = _baseline(tmp_path / "b", budget, first_state=drawn)
    _assert_equal(baseline, Baseline(_FIRST + result.trunk_change, result.state))
    other = seeded_state(small_set(), _LAYOUT, TRAINING, 98)
    with pytest.raises(CheckpointMismatch, match="first_heads"):
        _baseline(tmp_path / "b", budget, first_state=other)
    _assert_equal(_baseline(tmp_path / "b", budget, first_state=drawn), baseline)


@pytest.mark.parametrize("n_before", [1, 3])
def test_resuming_equals_not_stopping(tmp_path: Path, n_before: int):
    """A run stopped in a later round and started again gives the result of an uninterrupted one, bit for bit."""

    class StoppedError(Exception):
        pass

    def stop(done: int, _total: int, _note: str) -> None:
        if done == 3 * n_before + 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        _baseline(tmp_path / "stopped", progress=stop)
    heard: list[tuple[int, int, str]] = []
    resumed = _baseline(tmp_path / "stopped", progress=lambda *heard_now: heard.append(heard_now))
    _assert_equal(resumed, _baseline(tmp_path / "whole"))
    assert heard[0][:2] == (3 * n_before + 1, 12)
    assert heard[-1][:2] == (12, 12)
    assert re.findall(r"(\S+) \d\.\d{4}", heard[-1][2]) == ["loss", "loss", "AUC-ROC"]  # of training and validation


def test_a_finished_baseline_is_only_read(tmp_path: Path):
    """A second call trains nothing; a larger budget goes on from where the first ended."""
    file = tmp_path / "b"
    first = _baseline(file)
    steps: list[int] = []

    def note(done: int, _total: int, _note: str) -> None:
        steps.append(done)

    _assert_equal(_baseline(file, progress=note), first)
    assert steps == []
    longer = _baseline(file, Budget(n_rounds=6, n_steps=3), progress=note)
    assert steps == [13, 14, 15, 16, 17, 18]
    _assert_equal(longer, _baseline(tmp_path / "whole", Budget(n_rounds=6, n_steps=3)))
    with pytest.raises(CheckpointMismatch, match=r"\b6 rounds\b.*\b4\b"):
        _baseline(file)


def _other_data() -> TrainingSet:
    return small_set(1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"training": Training(batch_size=32, learning_rate=2e-2)}, "training"),
        ({"data": _other_data()}, "data"),
        ({"first": small_trunk(12, seed=2)[1]}, "first_trunk"),
        ({"budget": Budget(n_rounds=4, n_steps=5)}, "n_steps"),
    ],
)
def test_a_file_of_another_run_is_refused(tmp_path: Path, changes: dict[str, object], word: str):
    """A checkpoint of other data or settings is refused; the error names the difference and what to do."""
    _baseline(tmp_path / "b")
    with pytest.raises(CheckpointMismatch, match=f"other {word}, expected") as caught:
        _baseline(tmp_path / "b", **changes)
    assert "remove the file" in caught.value.__notes__[0]


def test_a_damaged_file_is_refused(tmp_path: Path):
    """A truncated checkpoint is an error that names the file; training does not start again."""
    file = tmp_path / "b.safetensors"
    _baseline(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointDamaged, match=r"b\.safetensors"):
        _baseline(file)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_an_empty_budget_is_refused(numbers: tuple[int, int]):
    """A baseline has at least one round of one step."""
    with pytest.raises(ValueError, match="at least 1"):
        Budget(n_rounds=numbers[0], n_steps=numbers[1])


def test_the_history_has_every_round(tmp_path: Path):
    """Loss and validation scores of each round, also of those before an interruption."""
    done, rounds = _baseline(tmp_path / "b"), _chain(4, 3, TRAINING)
    assert [row.round_no for row in done.history] == [1, 2, 3, 4]
    for row, (trunk, result) in zip(done.history, rounds, strict=True):
        evaluation = evaluate(small_set(), 1, trunk, result.state, _LAYOUT, _SETTINGS, TRAINING)
        assert row.loss == pytest.approx(result.losses.mean())
        assert (row.n_steps, row.validation_loss) == (3 * row.round_no, evaluation.loss)
        assert row.validation_roc_auc == evaluation.mean.roc_auc
        assert row.validation_average_precision == evaluation.mean.average_precision
    assert _baseline(tmp_path / "b", Budget(n_rounds=5, n_steps=3)).history[:4] == done.history


def test_without_a_validation_fold_it_trains_without_scores(tmp_path: Path):
    """Scores are None; patience, which needs them, is refused before training."""
    data = dataclasses.replace(small_set(), validation_fold=17)
    assert [row.validation_loss for row in _baseline(tmp_path / "b", data=data).history] == [None] * 4
    with pytest.raises(BadFolds, match=r"\bfold 17: .*patience"):
        _baseline(tmp_path / "c", data=data, training=dataclasses.replace(TRAINING, patience=1))
    assert not (tmp_path / "c").exists()


_EAGER = Training(batch_size=32, learning_rate=0.1, patience=2)  # soon too well adapted to the training folds
_LONG = Budget(n_rounds=30, n_steps=10)


def test_early_stopping_gives_the_best_round(tmp_path: Path):
    """Training ends two rounds after the lowest validation loss, with that round's model, bit for bit."""
    stopped = _baseline(tmp_path / "b", _LONG, training=_EAGER)
    losses = [row.validation_loss for row in stopped.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30
    trunk, result = _chain(best + 1, _LONG.n_steps, _EAGER)[-1]
    _assert_equal(stopped, Baseline(trunk, result.state))
    _assert_equal(_baseline(tmp_path / "b", _LONG, training=_EAGER), stopped)
    assert _baseline(tmp_path / "b", _LONG, training=_EAGER).history == stopped.history


def test_patience_changes_nothing_but_the_end(tmp_path: Path):
    """The losses of each round are those of the run without patience."""
    free = _baseline(
        tmp_path / "a", Budget(n_rounds=6, n_steps=10), training=dataclasses.replace(_EAGER, patience=None)
    )
    stopped = _baseline(
        tmp_path / "b", Budget(n_rounds=6, n_steps=10), training=dataclasses.replace(_EAGER, patience=6)
    )
    assert [row.loss for row in stopped.history] == [row.loss for row in free.history]


def _row(round_no: int, loss: float | None) -> RoundScores:
    return RoundScores(round_no=round_no, n_steps=round_no, loss=1.0, validation_loss=loss)


def test_enough_is_counted_from_the_first_best():
    """An equal loss is not better; rounds without a validation loss are not better either."""
    rows = [_row(i, loss) for i, loss in enumerate([3.0, 2.0, 2.0, None, 2.5], start=1)]
    assert best_round(rows) == 2
    assert [should_stop(rows[:n], 3) for n in range(6)] == [False, False, False, False, False, True]
    assert not should_stop(rows, None)
    assert best_round([]) == 0


_RUN = """
import sys
from pathlib import Path
from tests.support.partners.counted_baseline import baseline_that_counts
baseline_that_counts(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same(tmp_path: Path):
    """Runs killed with SIGKILL after random steps, then run to the end, give the uninterrupted result to the bit."""
    rng, file = random.Random(4), tmp_path / "killed"
    n_kills = 0
    for n_lines in [rng.randrange(1, 6) for _ in range(4)]:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(file)],
            cwd=Path(__file__).resolve().parents[3],
            stdout=subprocess.PIPE,
        )
        steps = [process.stdout.readline() for _ in range(n_lines)]
        if steps[-1]:
            os.kill(process.pid, signal.SIGKILL)
            n_kills += 1
        process.communicate()
    assert n_kills >= 2
    resumed, whole = baseline_that_counts(file), baseline_that_counts(tmp_path / "whole")
    _assert_equal(resumed, whole)
    assert resumed.history == whole.history
    for name, array in whole.state.normalisation.items():
        np.testing.assert_array_equal(array, resumed.state.normalisation[name])
