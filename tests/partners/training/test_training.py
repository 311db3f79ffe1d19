"""Rounds of local training: determinism, state, seeds, refusals."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from partners.errors import StateMismatch, TrainingDiverged, TrunkMismatch
from partners.network.device import use_threads
from partners.network.model import Network
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT, HeadSizes, PartnerState, initial_heads, parameter_shapes
from partners.settings import Training, TrunkSettings
from partners.training.training import RoundResult, round_seed, shuffled_rows, train_round
from tests.support.partners.round_digest import rounds_digest
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk

_ROOT = Path(__file__).resolve().parents[3]


def _round(seed: int = 0, n_steps: int = 6, state: PartnerState | None = None, **changes: float) -> RoundResult:
    layout, trunk, settings = small_trunk(16)
    training = Training(**({"batch_size": 32, "learning_rate": 1e-2, "regression_weight": 0.5} | changes))
    return train_round(small_set(), trunk, state, layout, settings, training, seed, n_steps)


def _all_arrays(result: RoundResult) -> list[np.ndarray]:
    state = result.state
    kept = [array for part in (state.heads, state.first_moment, state.second_moment) for array in part.values()]
    return [result.trunk_change, result.losses, *kept]


@pytest.mark.slow
def test_two_processes_give_the_same_bytes():
    """Other processes, with other memory layouts, give every bit of this one."""
    digests = [
        subprocess.run(
            [sys.executable, "-m", "tests.support.partners.round_digest", str(n_unaligned), "1"],
            cwd=_ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[0]
        for n_unaligned in (1, 777)
    ]
    assert digests == [rounds_digest(1)] * 2


@pytest.mark.slow
def test_two_threads_repeat_themselves():
    """Two threads give the same bits again, too."""
    assert rounds_digest(2) == rounds_digest(2)


def test_equal_seeds_equal_bits_other_seeds_other_bits():
    """Everything of a round follows from its seed."""
    for first, same in zip(_all_arrays(_round(3)), _all_arrays(_round(3)), strict=True):
        np.testing.assert_array_equal(first, same)
    assert not np.array_equal(_round(3).trunk_change, _round(4).trunk_change)


def test_round_seeds_are_distinct():
    """Every round and every attempt has its own seed."""
    seeds = {round_seed(seed, round_no, attempt) for seed in (0, 1) for round_no in range(3) for attempt in range(3)}
    states = {tuple(np.random.SeedSequence(seed).generate_state(4)) for seed in seeds}
    assert len(states) == len(seeds) == 18


def test_dropout_differs_by_round():
    """From the same state and with all compounds in every batch, another seed still gives another dropout."""
    state = _round(0, 1).state
    whole = {"batch_size": 1000, "learning_rate": 1e-3}
    first, second = _round(1, 1, state, **whole), _round(2, 1, state, **whole)
    assert first.n_compounds_seen == second.n_compounds_seen == small_set().training_rows.size
    assert not np.array_equal(first.trunk_change, second.trunk_change)


def test_no_global_generator_is_touched():
    """Training neither reads nor moves the global generators, nor torch's thread count."""
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 -- its subject
    threads_before = torch.get_num_threads()
    reference = _round(5)
    torch.manual_seed(99)
    np.testing.assert_array_equal(_round(5).trunk_change, reference.trunk_change)
    torch.set_rng_state(torch_before)
    _round(5)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002 -- its subject
    assert torch.get_num_threads() == threads_before


def test_threads_are_given_back():
    """Inside the block torch has the requested threads, afterwards the old number, also after an error."""
    before = torch.get_num_threads()
    inside = []

    def fail() -> None:
        with use_threads(before + 1):
            inside.append(torch.get_num_threads())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_the_arguments_are_left_alone():
    """Trunk and state given to a round can be used again, as a void attempt demands."""
    layout, trunk, settings = small_trunk(16)
    state = _round().state
    before = [array.copy() for array in (trunk, *state.heads.values(), *state.first_moment.values())]
    train_round(small_set(), trunk, state, layout, settings, TRAINING, 9, 4)
    after = (trunk, *state.heads.values(), *state.first_moment.values())
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_state_goes_on_between_rounds():
    """Without randomness two rounds of three steps equal one of six: heads, Adam's moments and count are kept."""
    data = small_set()
    layout, trunk, _ = small_trunk(16)
    settings, training = (
        TrunkSettings(hidden=(16,), dropout=0.0),
        Training(regression_weight=0.5, batch_size=10**6, learning_rate=1e-2),
    )
    whole = train_round(data, trunk, None, layout, settings, training, 0, 6)
    first = train_round(data, trunk, None, layout, settings, training, 0, 3)
    second = train_round(data, trunk + first.trunk_change, first.state, layout, settings, training, 1, 3)
    assert (first.state.n_steps, second.state.n_steps, whole.state.n_steps) == (3, 6, 6)
    np.testing.assert_allclose(np.concatenate([first.losses, second.losses]), whole.losses, atol=1e-5)
    np.testing.assert_allclose(first.trunk_change + second.trunk_change, whole.trunk_change, atol=1e-4)
    np.testing.assert_allclose(second.state.heads[HEAD_WEIGHT], whole.state.heads[HEAD_WEIGHT], atol=1e-4)


def test_change_is_after_minus_before():
    """The trunk change is the new trunk minus the old one, and training lowers the loss."""
    layout, trunk, settings = small_trunk(16)
    result = _round(0, 60)
    assert result.trunk_change.dtype == np.float32
    assert result.trunk_change.shape == (layout.n_params,)
    assert result.losses.shape == (60,)
    assert result.losses[-10:].mean() < 0.8 * result.losses[:5].mean()
    again = train_round(small_set(), trunk + result.trunk_change, result.state, layout, settings, TRAINING, 1, 1)
    assert again.losses[0] < result.losses[0]


def test_zero_steps_change_nothing():
    """A round without steps gives a zero change and fresh heads."""
    result = _round(0, 0)
    assert not result.trunk_change.any()
    assert result.state.n_steps == result.n_compounds_seen == 0


def test_progress_counts_every_step():
    """The callback gets (steps done, steps in all, the loss as text) after each step."""
    layout, trunk, settings = small_trunk(4)
    heard: list[tuple[int, int, str]] = []
    train_round(
        small_set(), trunk, None, layout, settings, TRAINING, 0, 3, progress=lambda *heard_now: heard.append(heard_now)
    )
    assert [(done, total) for done, total, _ in heard] == [(1, 3), (2, 3), (3, 3)]
    assert all(re.fullmatch(r"loss \d\.\d{4}", note) for _, _, note in heard)


def test_every_compound_comes_equally_often():
    """Batches have one size, and every row comes once before any comes twice."""
    rows = np.arange(10, 23)
    stream = shuffled_rows(rows, 5, np.random.default_rng(0))
    seen = np.concatenate([next(stream) for _ in range(13)])
    assert seen.size == 65
    for start in range(0, 65, 13):
        assert sorted(seen[start : start + 13]) == rows.tolist()
    assert not np.array_equal(seen[:13], seen[13:26])
    assert next(shuffled_rows(rows, 100, np.random.default_rng(0))).size == 13


def test_held_out_labels_have_no_influence():
    """Labels of the test and validation folds can be anything: the round gives the same bits."""
    layout, trunk, settings = small_trunk(8)
    data, changed = small_set(), small_set()
    held_out = np.repeat(np.isin(changed.folding, (0, 1)), np.diff(changed.y.indptr))
    changed.y.data[held_out] *= -1
    result = train_round(data, trunk, None, layout, settings, TRAINING, 0, 5)
    with_changed = train_round(changed, trunk, None, layout, settings, TRAINING, 0, 5)
    np.testing.assert_array_equal(result.trunk_change, with_changed.trunk_change)


def test_tasks_of_weight_zero_move_nothing():
    """With all training weights zero there is no loss and no change."""
    data = small_set()
    data.training_weight[:] = 0
    layout, trunk, settings = small_trunk(8)
    result = train_round(data, trunk, None, layout, settings, TRAINING, 0, 3)
    assert not result.losses.any()
    assert not result.trunk_change.any()


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_diverged_run_says_where_and_what_to_try():
    """A loss that is not finite is an error with the step, the learning rate and what to try."""
    with pytest.raises(TrainingDiverged, match=r"^step \d+: .*\b1e\+30") as caught:
        _round(0, 20, learning_rate=1e30)
    assert re.findall(r"learning_rate|1e\+29", caught.value.__notes__[0]) == ["learning_rate", "1e+29"]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_a_diverged_hybrid_run_names_the_rate_it_had(optimiser: str):
    """The message has the learning rate of that step, fallen or risen since the start."""
    layout, trunk, settings = small_trunk(16)
    training = Training(
        regression_weight=0.5, optimiser=optimiser, batch_size=10**6, learning_rate=1e-3, lr_steps=(2,), lr_alpha=1e34
    )
    with pytest.raises(TrainingDiverged, match=r"^step [3-9]: .*\b1e\+31\n"):
        train_round(hybrid_set(), trunk, None, layout, settings, training, 0, 9)


def test_what_does_not_fit_is_refused():
    """Another trunk length, other layers, NaN in the trunk, another partner's heads: refused before the first step."""
    layout, trunk, settings = small_trunk(16)
    other_heads = train_round(small_set(0, n_tasks=3), trunk, None, layout, settings, TRAINING, 0, 1).state
    data, broken = small_set(), trunk.copy()
    broken[0] = np.nan
    for wrong_trunk in (trunk[:-1], broken):
        with pytest.raises(TrunkMismatch):
            train_round(data, wrong_trunk, None, layout, settings, TRAINING, 0, 1)
    with pytest.raises(TrunkMismatch, match=r"layers \(16,\).*\(8,\)"):
        train_round(data, trunk, None, layout, TrunkSettings(hidden=(8,)), TRAINING, 0, 1)
    in_float64 = {name: array.astype(np.float64) for name, array in other_heads.heads.items()}
    wide = PartnerState(in_float64, other_heads.first_moment, other_heads.second_moment, 1)
    with pytest.raises(StateMismatch, match=r"\bfloat64\b.*\bfloat32\b"):
        train_round(small_set(0, n_tasks=3), trunk, wide, layout, settings, TRAINING, 0, 1)
    with pytest.raises(StateMismatch, match=rf"{HEAD_BIAS} .*\(3,\).*\(7,\)"):
        train_round(data, trunk, other_heads, layout, settings, TRAINING, 0, 1)


def test_heads_start_small_and_unbiased():
    """Fresh heads are uniform within 1/sqrt(hidden), biases zero, and named as the layout says."""
    layout, trunk, _ = small_trunk(16, 9)
    heads = initial_heads(layout, HeadSizes((50,)), np.random.default_rng(0))
    assert np.abs(heads[HEAD_WEIGHT]).max() <= 1 / 3
    assert heads[HEAD_WEIGHT].std() == pytest.approx(1 / 3 / 3**0.5, rel=0.1)
    assert not heads[HEAD_BIAS].any()
    assert list(Network(layout, trunk, heads).parameters) == list(parameter_shapes(layout, HeadSizes((50,))))
