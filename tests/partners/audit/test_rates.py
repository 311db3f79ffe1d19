"""Rates of membership against closed forms and scikit-learn; the bound of epsilon against its definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from partners.audit.measurable import fewest_others
from partners.audit.rates import (
    epsilon_bound,
    epsilon_of_guesses,
    membership_rates,
    p_of_guesses,
    permuted,
)

MANY = np.random.default_rng(0)


def two_normals(shift: float, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of members around the shift and of others around 0, both of deviation 1."""
    is_member = np.arange(2 * n) < n
    return MANY.normal(size=2 * n) + shift * is_member, is_member


def test_two_normal_distributions_give_the_rates_of_the_closed_form():
    """AUC is Phi(d / sqrt 2), and the true positive rate at f is Phi(d + Phi^-1(f))."""
    scores, is_member = two_normals(0.8)
    rates = membership_rates(scores, is_member)
    assert rates.auc == pytest.approx(stats.norm.cdf(0.8 / math.sqrt(2)), abs=0.006)
    assert rates.auc_interval[0] < stats.norm.cdf(0.8 / math.sqrt(2)) < rates.auc_interval[1]
    for rate in rates.at:
        expected = stats.norm.cdf(0.8 + stats.norm.ppf(rate.false_positive_rate))
        assert rate.true_positive_rate == pytest.approx(expected, abs=0.012)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 4))
def test_auc_is_that_of_scikit_learn(seed: int, n: int, digits: int):
    """Ties included."""
    rng = np.random.default_rng(seed)
    scores, is_member = np.round(rng.normal(size=n), digits - 1), np.arange(n) % 2 == 0
    assert membership_rates(scores, is_member).auc == pytest.approx(roc_auc_score(is_member, scores))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(100, 300))
def test_the_rate_is_the_best_of_all_thresholds(seed: int, n_others: int):
    """Counted one threshold after the other, as a reader would."""
    rng = np.random.default_rng(seed)
    members, others = np.round(rng.normal(0.5, 1, 50), 1), np.round(rng.normal(size=n_others), 1)
    rates = membership_rates(np.concatenate([members, others]), np.arange(50 + n_others) < 50)
    allowed = [t for t in np.unique(others) if (others > t).mean() <= 0.1]
    assert rates.at[0].true_positive_rate == max((members > t).mean() for t in allowed)
    low, high = rates.at[0].interval or (1, 0)
    k = round((rates.at[0].true_positive_rate or 0) * 50)
    assert low == pytest.approx(stats.beta.ppf(0.025, k, 50 - k + 1) if k else 0)
    assert high == pytest.approx(stats.beta.ppf(0.975, k + 1, 50 - k) if k < 50 else 1)


def test_a_rate_needs_ten_expected_false_positives():
    """100 others for 10 %, 1,000 for 1 %, 10,000 for 0.1 %."""
    assert [fewest_others(rate) for rate in (0.1, 0.01, 0.001)] == [100, 1000, 10_000]
    scores, is_member = np.arange(1049.0), np.arange(1049) < 50
    rates = membership_rates(scores, is_member)
    assert [rate.true_positive_rate is None for rate in rates.at] == [False, True, True]
    assert rates.at[1].n_others == 999
    with pytest.raises(ValueError, match="0 others"):
        membership_rates(np.ones(3), np.ones(3, dtype=bool))


def test_permuted_memberships_show_nothing():
    """Even where the scores tell everything."""
    scores, is_member = two_normals(5.0, 2000)
    control = membership_rates(scores, permuted(is_member, np.random.default_rng(1)))
    assert control.auc_interval[0] < 0.5 < control.auc_interval[1]
    assert membership_rates(scores, is_member).auc > 0.99


def test_without_delta_the_guesses_are_those_of_randomised_response():
    """Epsilon-private guesses are right with probability e^eps / (1 + e^eps) at most, independently."""
    for epsilon in (0.0, 0.5, 2.0):
        right = stats.binom.sf(59, 100, math.exp(epsilon) / (1 + math.exp(epsilon)))
        assert p_of_guesses(200, 100, 60, epsilon, 0.0) == pytest.approx(right)


def test_delta_adds_what_the_theorem_says():
    """The sum written out, as in the paper's appendix."""
    n, r, v, epsilon, delta = 50, 20, 15, 0.7, 1e-3
    q = 1 / (1 + math.exp(-epsilon))
    total, most = 0.0, 0.0
    for i in range(1, v + 1):
        total += math.comb(r, v - i) * q ** (v - i) * (1 - q) ** (r - v + i)
        most = max(most, total / i)
    tail = sum(math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(v, r + 1))
    assert p_of_guesses(n, r, v, epsilon, delta) == pytest.approx(tail + 2 * n * delta * most)


def test_the_bound_of_epsilon_is_where_the_guesses_stop_to_refute():
    """All of 100 right: q^100 = 0.05, without delta in closed form."""
    q = 0.05 ** (1 / 100)
    assert epsilon_of_guesses(100, 100, 100, 0.0, 0.05) == pytest.approx(math.log(q / (1 - q)), abs=2e-4)
    assert epsilon_of_guesses(100, 100, 50, 1e-5, 0.05) == 0
    assert epsilon_of_guesses(100, 100, 0, 1e-5, 0.05) == 0


def test_randomised_response_is_never_bounded_above_its_epsilon_too_often():
    """Scores that are right with probability e / (1 + e) are 1-private: in 40 audits a bound above 1 is rare."""
    rng, above = np.random.default_rng(3), 0
    for _ in range(40):
        is_member = rng.random(200) < 0.5
        says = np.where(rng.random(200) < math.e / (1 + math.e), is_member, ~is_member)
        above += epsilon_bound(says + 0.001 * rng.random(200), is_member).epsilon > 1
    assert above <= 6  # 0.05 of 40 is 2; more than 6 have probability 0.003


def test_canaries_that_are_all_recognised_reach_the_most_that_so_many_can_show():
    """And chance gives 0."""
    is_member = np.random.default_rng(4).random(300) < 0.5
    bound = epsilon_bound(is_member.astype(float), is_member)
    assert 3.5 < bound.epsilon <= bound.largest < 4.5
    assert bound.n_right == bound.n_guesses
    assert epsilon_bound(np.random.default_rng(5).random(300), is_member).epsilon < 0.3
