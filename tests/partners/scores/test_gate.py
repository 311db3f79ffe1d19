"""The gate between federated and local model."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from partners.scores.gate import GateResult, GateSettings, decide_gate

_BETTER = GateSettings(keep="better")


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _scores(shift: float, n: int = 200, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    local = rng.uniform(0.5, 0.9, n)
    change = rng.normal(0, noise, n)
    return local, local + change - change.mean() + shift


@pytest.mark.parametrize(("shift", "outcome"), [(0.03, "better"), (-0.03, "worse"), (0.0, "undecided")])
def test_a_clear_change_is_decided_and_no_change_is_not(shift: float, outcome: str):
    """A change far beyond the noise is decided, and zero change is not."""
    assert decide_gate(*_scores(shift), _BETTER, _rng()).outcome == outcome


@pytest.mark.parametrize(
    ("keep", "shift", "kept"),
    [
        ("better", -0.03, "local"),
        ("better", -0.003, "local"),  # undecided: the mean is the best guess
        ("better", 0.003, "federated"),
        ("better", 0.03, "federated"),
        ("federated", -0.03, "federated"),
    ],
)
def test_local_is_kept_only_if_the_setting_allows_and_it_is_higher(keep: str, shift: float, kept: str):
    """The setting alone never drops the federated model, nor does a lower score alone."""
    result = decide_gate(*_scores(shift, noise=0.08), GateSettings(keep=keep), _rng())
    assert result.kept == kept
    assert (result.outcome == "undecided") == (abs(shift) < 0.01)


def test_the_interval_is_that_of_the_mean():
    """Without groups the bootstrap agrees with Student's interval of the mean change at many tasks."""
    local, federated = _scores(0.02, n=400)
    result = decide_gate(local, federated, GateSettings(confidence=0.9), _rng())
    change = federated - local
    expected = stats.t.interval(0.9, change.size - 1, change.mean(), stats.sem(change))
    np.testing.assert_allclose(result.interval, expected, rtol=0.1)
    assert result.change == pytest.approx(change.mean())


def test_tasks_of_one_group_count_as_one():
    """Ten copies of every task leave the interval as wide as the tasks alone, not a third of it."""
    local, federated = _scores(0.01, n=40)
    alone = decide_gate(local, federated, _BETTER, _rng())
    tenfold = decide_gate(
        *(np.repeat(s, 10) for s in (local, federated)), _BETTER, _rng(), np.repeat(np.arange(40), 10)
    )
    np.testing.assert_allclose(tenfold.interval, alone.interval)
    naive = decide_gate(*(np.repeat(s, 10) for s in (local, federated)), _BETTER, _rng())
    assert np.diff(naive.interval) < 0.5 * np.diff(alone.interval)


def test_a_task_that_either_model_lacks_is_left_out():
    """NaN on one side removes the task from both, and it is not counted."""
    local, federated = _scores(0.03)
    holes = local.copy(), federated.copy()
    holes[0][:3], holes[1][5:9] = np.nan, np.nan
    complete = np.r_[3:5, 9 : local.size]
    assert decide_gate(*holes, _BETTER, _rng()) == decide_gate(local[complete], federated[complete], _BETTER, _rng())
    assert decide_gate(*holes, _BETTER, _rng()).n_tasks == complete.size


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_tasks_decide_nothing(n: int):
    """With fewer than five tasks there is no interval, and federated is kept for any change."""
    result = decide_gate(np.full(n, 0.9), np.full(n, 0.1), _BETTER, _rng())
    assert (result.outcome, result.kept, result.n_tasks) == ("undecided", "federated", n)
    assert all(math.isnan(end) for end in result.interval)
    assert ("no task" in result.sentence()) == (n == 0)
    assert ("too few assays" in result.sentence()) == (n > 0)
    assert "nan" not in result.sentence()


def test_five_tasks_of_one_assay_decide_nothing():
    """The thresholds of a single assay are one group, however many they are."""
    result = decide_gate(np.full(5, 0.9), np.full(5, 0.1), _BETTER, _rng(), np.zeros(5, dtype=np.int64))
    assert result.outcome == "undecided"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=5, max_size=30))
def test_swapping_the_models_swaps_the_outcome(pairs: list[tuple[float, float]]):
    """Better for one is worse for the other, with the mirrored interval."""
    local, federated = np.array(pairs).T
    there, back = decide_gate(local, federated, _BETTER, _rng()), decide_gate(federated, local, _BETTER, _rng())
    mirrored = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert back.outcome == mirrored[there.outcome]
    np.testing.assert_allclose(back.interval, (-there.interval[1], -there.interval[0]), atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=30), st.integers(0, 2**32))
def test_equal_models_are_undecided(scores: list[float], seed: int):
    """The bootstrap finds no difference between equal scores."""
    result = decide_gate(np.array(scores), np.array(scores), _BETTER, np.random.default_rng(seed))
    assert (result.outcome, result.change, result.interval) == ("undecided", 0.0, (0.0, 0.0))


def test_equal_arguments_give_equal_results():
    """Equal seeds give equal results."""
    assert decide_gate(*_scores(0.01), _BETTER, _rng()) == decide_gate(*_scores(0.01), _BETTER, _rng())


def test_few_random_differences_are_decided():
    """Without a true difference about 5 % of 95 % intervals miss zero: here fewer than 12 % of 300."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(300):
        local = rng.uniform(0.5, 0.9, 60)
        wrong += decide_gate(local, local + rng.normal(0, 0.05, 60), _BETTER, rng).outcome != "undecided"
    assert 0 < wrong < 36


def test_the_sentence_names_outcome_and_kept_model():
    """The sentence names the worse federated model, with the numbers."""
    worse = GateResult("worse", -0.0132, (-0.025, -0.004), 0.95, 77, "local")
    assert re.findall(r"[-+]?\d[\d.]*|WORSE|local model", worse.sentence()) == [
        "WORSE",
        *("-0.0132", "95", "-0.0250", "-0.0040", "77"),
        "local model",
    ]


def test_scores_of_other_tasks_are_refused():
    """Scores of different lengths are refused."""
    with pytest.raises(ValueError, match="3 local and 4 federated"):
        decide_gate(np.ones(3), np.ones(4), _BETTER, _rng())


@pytest.mark.parametrize(("key", "value"), [("keep", "local"), ("confidence", 1.0), ("confidence", 0.0)])
def test_impossible_settings_are_refused_by_name(key: str, value: object):
    """The error begins with the key."""
    with pytest.raises(ValueError, match=f"^{key}: found"):
        GateSettings(**{key: value})
