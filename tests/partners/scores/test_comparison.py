"""RIPtoP and the comparison of local and federated equal plain Python and numpy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from partners.scores.comparison import compare, holm, number_groups, paired_test, riptop, total_riptop

SCORES = st.floats(0, 1)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=30)
ROUND = SCORES.map(lambda score: round(score, 6))
MAYBE = st.one_of(SCORES, st.just(math.nan))


def plain_riptop(local: float, federated: float) -> float:
    """RIPtoP of one task, by its formula."""
    if local < 1:
        return (federated - local) / (1 - local)
    return federated - local


def columns(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of scores."""
    table = np.array(pairs, dtype=np.float64)
    return table[:, 0], table[:, 1]


@given(PAIRS)
def test_riptop_is_its_formula(pairs: list[tuple[float, float]]):
    """(federated - local) / (1 - local), by task."""
    np.testing.assert_allclose(riptop(*columns(pairs)), [plain_riptop(*pair) for pair in pairs], rtol=1e-12)


@pytest.mark.parametrize(
    ("local", "federated", "expected"),
    [
        (0.5, 0.75, 0.5),  # half of the way to perfection
        (0.5, 1.0, 1.0),  # all of it
        (0.5, 0.5, 0.0),
        (0.5, 0.25, -0.5),
        (0.0, 1.0, 1.0),
        (1.0, 1.0, 0.0),  # both perfect
        (1.0, 0.9, -0.1),  # only local perfect: the plain difference
        (0.9, 0.0, -9.0),  # losses are not bounded
    ],
)
def test_riptop_at_its_edges(local: float, federated: float, expected: float):
    """Perfect scores divide by nothing."""
    with np.errstate(all="raise"):
        value = riptop(np.array([local]), np.array([federated]))
    assert value[0] == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES)
def test_riptop_has_the_sign_of_the_change(local: float, federated: float):
    """Better is above zero, worse below, and nothing exceeds perfection."""
    value = float(riptop(np.array([local]), np.array([federated]))[0])
    assert np.sign(value) == np.sign(federated - local)
    assert value <= 1


@given(PAIRS)
def test_the_riptop_of_all_tasks_is_a_ratio_of_sums(pairs: list[tuple[float, float]]):
    """In plain Python; it has the sign of the mean change, and one nearly perfect task cannot outweigh the others."""
    value = total_riptop(*columns(pairs))
    room, gain = sum(1 - local for local, _ in pairs), sum(federated - local for local, federated in pairs)
    if room > 1e-9:
        assert value == pytest.approx(gain / room, rel=1e-9, abs=1e-12)
    assert value <= 1 + 1e-12
    nearly = [(0.999, 0.9), *[(0.5, 0.75)] * 9]
    assert total_riptop(*columns(nearly)) == pytest.approx((9 * 0.25 - 0.099) / (9 * 0.5 + 0.001))
    assert np.mean([plain_riptop(*pair) for pair in nearly]) < 0 < total_riptop(*columns(nearly))


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0, 9)), min_size=1, max_size=9), st.floats(0.01, 100))
def test_the_riptop_of_errors_has_no_unit(pairs: list[tuple[float, float]], unit: float):
    """The mean of the tasks' own shares, so that a task in another unit counts as before."""
    local, federated = columns(pairs)
    value = total_riptop(local, federated, is_error=True)
    assert value == pytest.approx(np.mean((local - federated) / local))
    local[0], federated[0] = unit * local[0], unit * federated[0]
    assert total_riptop(local, federated, is_error=True) == pytest.approx(value)


@settings(deadline=None)
@given(PAIRS)
def test_compare_agrees_with_numpy(pairs: list[tuple[float, float]]):
    """Means, counts and change of finite scores."""
    local, federated = columns(pairs)
    comparison = compare(local, federated, np.random.default_rng(0))
    assert comparison is not None
    assert comparison.local == pytest.approx(np.mean(local))
    assert comparison.federated == pytest.approx(np.mean(federated))
    assert comparison.to_json()["change"] == pytest.approx(np.mean(federated) - np.mean(local))
    assert comparison.riptop == total_riptop(local, federated)
    assert comparison.n_better == sum(after > before for before, after in pairs)
    assert comparison.n_worse == sum(after < before for before, after in pairs)
    assert comparison.n_equal == sum(after == before for before, after in pairs)
    assert comparison.n_better + comparison.n_worse + comparison.n_equal == len(pairs)


@settings(deadline=None)
@given(PAIRS, st.integers(0, 2**32))
def test_the_interval_contains_the_mean_change(pairs: list[tuple[float, float]], seed: int):
    """The interval contains the mean change and lies between the smallest and the largest change."""
    local, federated = columns(pairs)
    comparison = compare(local, federated, np.random.default_rng(seed))
    assert comparison is not None
    low, high = comparison.interval
    change = federated - local
    assert change.min() - 1e-12 <= low <= high <= change.max() + 1e-12
    assert low - 1e-12 <= change.mean() <= high + 1e-12


@settings(deadline=None)
@given(PAIRS)
def test_a_common_shift_moves_the_interval(pairs: list[tuple[float, float]]):
    """All tasks better by the same amount: the interval is that one point."""
    local, _ = columns(pairs)
    comparison = compare(local, local + 0.125, np.random.default_rng(1))
    assert comparison is not None
    np.testing.assert_allclose(comparison.interval, 0.125, rtol=1e-9)
    assert comparison.n_better == len(pairs)


def test_the_interval_is_a_bootstrap_of_tasks():
    """Its width is that of the normal approximation, 1.96 standard errors to either side."""
    rng = np.random.default_rng(2)
    change = rng.normal(0.02, 0.05, 400)
    local = rng.uniform(0.4, 0.6, 400)
    comparison = compare(local, local + change, np.random.default_rng(3))
    assert comparison is not None
    standard_error = change.std() / math.sqrt(400)
    np.testing.assert_allclose(comparison.interval, change.mean() + np.array([-1.96, 1.96]) * standard_error, atol=5e-4)


@settings(deadline=None)
@given(st.lists(st.tuples(MAYBE, MAYBE), min_size=1, max_size=20), st.integers(0, 1000))
def test_tasks_without_a_score_are_left_out(pairs: list[tuple[float, float]], seed: int):
    """A NaN on either side removes the task; without any task there is no comparison."""
    local, federated = columns(pairs)
    comparison = compare(local, federated, np.random.default_rng(seed))
    scored = [pair for pair in pairs if not any(math.isnan(score) for score in pair)]
    expected = compare(*columns(scored), np.random.default_rng(seed)) if scored else None
    assert comparison == expected


@settings(deadline=None)
@given(PAIRS, st.integers(0, 1000))
def test_the_same_seed_gives_the_same_comparison(pairs: list[tuple[float, float]], seed: int):
    """Equal seeds give equal results."""
    first, second = (compare(*columns(pairs), np.random.default_rng(seed)) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_interval():
    """Another seed changes the interval alone."""
    local, federated = np.random.default_rng(0).uniform(size=(2, 20))
    first, second = (compare(local, federated, np.random.default_rng(seed)) for seed in (1, 2))
    assert first is not None
    assert second is not None
    assert first.interval != second.interval
    assert first.to_json() | {"interval_95": None} == second.to_json() | {"interval_95": None}


@settings(deadline=None)
@given(st.lists(st.tuples(ROUND, ROUND), min_size=1, max_size=30))
def test_an_error_is_better_when_smaller(pairs: list[tuple[float, float]]):
    """Errors count as distances from perfection: better and worse change places, the change keeps its sign."""
    local, federated = columns(pairs)
    scores = compare(1 - local, 1 - federated, np.random.default_rng(0))
    errors = compare(local, federated, np.random.default_rng(0), is_error=True)
    assert scores is not None
    assert errors is not None
    assert errors.n_better == int((federated < local).sum())
    assert errors.n_worse == int((federated > local).sum())
    assert errors.median_riptop == pytest.approx(scores.median_riptop, rel=1e-9, abs=1e-9)
    assert errors.federated - errors.local == pytest.approx(-(scores.federated - scores.local), abs=1e-9)


# ------------------------------------------------------------------------------------------ medians, tests, correction

CHANGES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 2)), min_size=1, max_size=9)


@settings(deadline=None, max_examples=25)
@given(CHANGES)
def test_the_paired_test_is_scipys_exact_one(changes: list[float]):
    """Equal and zero changes are included; without any change p is 1."""
    p_value = paired_test(np.array(changes))
    if not any(changes):
        assert p_value == 1.0
    else:
        moved = np.array([change for change in changes if change])
        assert p_value == pytest.approx(wilcoxon(moved).pvalue, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(14, 400), st.integers(0, 1000))
def test_the_paired_test_of_many_is_scipys(n: int, seed: int):
    """For many changes p is scipy's, called on the two models' scores."""
    local, federated = np.random.default_rng(seed).uniform(size=(2, n))
    assert paired_test(federated - local) == wilcoxon(federated, local).pvalue


@given(CHANGES)
def test_the_paired_test_is_symmetric(changes: list[float]):
    """Swapping the models, or the order of the tasks, gives the same p, in (0, 1]."""
    values = np.array(changes)
    p_value = paired_test(values)
    assert 0 < p_value <= 1
    assert paired_test(-values) == pytest.approx(p_value, abs=1e-12)
    assert paired_test(values[::-1]) == pytest.approx(p_value, abs=1e-12)


def plain_holm(p: list[float]) -> list[float]:
    """Holm's procedure by its definition: the largest scaled p among those not larger."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    scaled = {i: min(1.0, (len(p) - rank) * p[i]) for rank, i in enumerate(order)}
    return [max(scaled[j] for j in order[: order.index(i) + 1]) for i in range(len(p))]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_its_definition(p: list[float]):
    """Held against plain Python; the order of the names does not matter."""
    corrected = holm({f"metric {i}": value for i, value in enumerate(p)})
    assert list(corrected.values()) == pytest.approx(plain_holm(p))
    assert list(corrected) == [f"metric {i}" for i in range(len(p))]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni(p: list[float]):
    """Never smaller than the p itself, never larger than Bonferroni's, in the same order."""
    corrected = list(holm({str(i): value for i, value in enumerate(p)}).values())
    for before, after in zip(p, corrected, strict=True):
        assert before <= after <= min(1.0, len(p) * before) + 1e-12
    by_p = [corrected[i] for i in np.argsort(p, kind="stable")]
    assert by_p == sorted(by_p)


def test_holm_by_hand():
    """The textbook's four tests."""
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


@settings(deadline=None)
@given(PAIRS)
def test_medians_are_numpys(pairs: list[tuple[float, float]]):
    """Medians of both models, of the changes and of RIPtoP are numpy's."""
    local, federated = columns(pairs)
    comparison = compare(local, federated, np.random.default_rng(0))
    assert comparison is not None
    assert comparison.local_median == np.median(local)
    assert comparison.federated_median == np.median(federated)
    assert comparison.median_change == np.median(federated - local)
    assert comparison.median_riptop == pytest.approx(np.median([plain_riptop(*pair) for pair in pairs]))


@settings(deadline=None)
@given(PAIRS, st.integers(2, 5), st.integers(0, 1000))
def test_repeating_every_task_of_an_assay_changes_no_interval(pairs: list[tuple[float, float]], times: int, seed: int):
    """Whole assays are drawn, so ten copies of a task under one assay do not narrow the interval."""
    local, federated = columns(pairs)
    alone = compare(local, federated, np.random.default_rng(seed))
    groups = np.repeat(np.arange(len(pairs)), times)
    copied = compare(np.repeat(local, times), np.repeat(federated, times), np.random.default_rng(seed), groups=groups)
    assert alone is not None
    assert copied is not None
    np.testing.assert_allclose(copied.interval, alone.interval, atol=1e-12)
    assert copied.n_groups == alone.n_groups == len(pairs)
    assert copied.p_groups == pytest.approx(alone.p_tasks)


@given(st.lists(st.sampled_from("abcde"), max_size=20))
def test_groups_are_numbered_by_first_appearance(keys: list[str]):
    """Equal keys get equal numbers, without gaps, in order."""
    numbers = number_groups(keys).tolist()
    assert sorted(set(numbers)) == list(range(len(set(keys))))
    assert [keys.index(key) for key in keys] == [keys.index(keys[numbers.index(number)]) for number in numbers]


@pytest.mark.parametrize(
    ("local", "federated", "expected"),
    [(2.0, 1.0, 0.5), (2.0, 3.0, -0.5), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.5, -0.5)],
)
def test_riptop_of_errors_at_its_edges(local: float, federated: float, expected: float):
    """Perfect is 0: (federated - local) / (0 - local); where only local is perfect the difference, as a loss."""
    assert riptop(np.array([local]), np.array([federated]), is_error=True)[0] == expected
