"""The local-only baseline: a chain of rounds that can be interrupted."""

import re
from pathlib import Path

import numpy as np
import pytest

from partners.baseline import Baseline, Budget, train_baseline
from partners.errors import CheckpointDamaged, CheckpointMismatch
from partners.settings import Training
from partners.training import RoundResult, round_seed, train_round
from partners.training_set import TrainingSet
from tests.partners.synthetic import TRAINING, small_set, small_trunk

_LAYOUT, _FIRST, _SETTINGS = small_trunk(12)
_BUDGET = Budget(n_rounds=4, n_steps=3)


def _baseline(file: Path, budget: Budget = _BUDGET, **changes: object) -> Baseline:
    parts = {"data": small_set(), "training": TRAINING, "first": _FIRST} | changes
    callbacks = {key: parts[key] for key in ("progress", "after_round") if key in parts}
    data, training, first = parts["data"], parts["training"], parts["first"]
    return train_baseline(data, first, _LAYOUT, _SETTINGS, training, budget, file, **callbacks)


def _assert_equal(one: Baseline, other: Baseline) -> None:
    np.testing.assert_array_equal(one.trunk, other.trunk)
    for part in ("heads", "first_moment", "second_moment"):
        for name, array in getattr(one.state, part).items():
            np.testing.assert_array_equal(array, getattr(other.state, part)[name])


def test_it_is_the_chain_of_rounds(tmp_path: Path):
    """The baseline is train_round after train_round on its own trunk, state kept, one seed per round."""
    trunk, state = _FIRST, None
    for round_no in range(4):
        result = train_round(small_set(), trunk, state, _LAYOUT, _SETTINGS, TRAINING, round_seed(0, round_no), 3)
        trunk, state = trunk + result.trunk_change, result.state
    _assert_equal(_baseline(tmp_path / "b"), Baseline(trunk, state))


@pytest.mark.parametrize("n_before", [1, 3])
def test_resuming_equals_not_stopping(tmp_path: Path, n_before: int):
    """Stopped in a later round and started again, the result is the uninterrupted one, bit for bit."""

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
    assert re.fullmatch(r"loss \d\.\d{4}, validation loss \d\.\d{4}, AUC-ROC 0\.\d{4}", heard[-1][2])


def test_a_finished_baseline_is_only_read(tmp_path: Path):
    """A second call trains nothing; a larger budget goes on from where the first ended."""
    file = tmp_path / "b"
    first = _baseline(file)
    rounds: list[int] = []

    def note(round_no: int, _trunk: np.ndarray, _result: RoundResult) -> None:
        rounds.append(round_no)

    _assert_equal(_baseline(file, after_round=note), first)
    assert rounds == []
    longer = _baseline(file, Budget(n_rounds=6, n_steps=3), after_round=note)
    assert rounds == [5, 6]
    _assert_equal(longer, _baseline(tmp_path / "whole", Budget(n_rounds=6, n_steps=3)))
    with pytest.raises(CheckpointMismatch, match="6 rounds are done, expected 4 at most"):
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
    """A checkpoint made with other data or settings is refused, says what differs and what to do."""
    _baseline(tmp_path / "b")
    with pytest.raises(CheckpointMismatch, match=f"made with other {word}, expected") as caught:
        _baseline(tmp_path / "b", **changes)
    assert caught.value.__notes__ == ["remove the file to train the baseline anew"]


def test_a_damaged_file_is_refused(tmp_path: Path):
    """A cut checkpoint stops the baseline by name instead of starting it anew."""
    file = tmp_path / "b.safetensors"
    _baseline(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointDamaged, match=r"b\.safetensors"):
        _baseline(file)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_an_empty_budget_is_refused(numbers: tuple[int, int]):
    """A baseline has at least one round of one step."""
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        Budget(n_rounds=numbers[0], n_steps=numbers[1])
