"""How well scores separate members from others: AUC, true positive rates at few false positives, bounds of epsilon.

A member is a compound that a model was trained on. A higher score is a stronger claim that a compound is one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from partners.audit.measurable import FALSE_POSITIVE_RATES, fewest_others

Floats = NDArray[np.float64]

_CONFIDENCE = 0.95
_PRECISION = 1e-4  # of a bound of epsilon
_SHARES_GUESSED = (1.0, 0.5, 0.2)  # of the canaries; fixed, so that no choice depends on the answers


@dataclass(frozen=True, slots=True)
class Rate:
    """True positive rate at one false positive rate, with its 95 % interval; None: not measurable with so few others.

    The interval is that of Clopper and Pearson (1934) for the members; the threshold is taken from the others.
    """

    false_positive_rate: float
    n_others: int
    true_positive_rate: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """How well scores separate members from others."""

    n_members: int
    n_others: int
    auc: float  # chance that a random member scores above a random other; 0.5: nothing is revealed
    auc_interval: tuple[float, float]  # 95 %
    at: tuple[Rate, ...]  # of each of FALSE_POSITIVE_RATES


@dataclass(frozen=True, slots=True)
class EpsilonBound:
    """Lower bound of the epsilon of (epsilon, delta)-differential privacy, from guesses about one training."""

    n_canaries: int
    n_guesses: int  # of the choice that gave the bound
    n_right: int
    epsilon: float  # the training is not (epsilon, delta)-private for a smaller one, with 95 % confidence
    largest: float  # bound if all guesses about all canaries were right: the most that so many can show
    delta: float


def membership_rates(scores: Floats, is_member: NDArray[np.bool_]) -> Rates:
    """AUC and true positive rates of scores (n,). Raises ValueError without a member, or without another compound."""
    members, others = scores[is_member], scores[~is_member]
    if not (members.size and others.size):
        raise ValueError(f"found {members.size} members and {others.size} others, expected at least one of each")
    auc, interval = _auc(members, others)
    rates = tuple(_rate(members, others, wanted) for wanted in FALSE_POSITIVE_RATES)
    return Rates(members.size, others.size, auc, interval, rates)


def permuted(is_member: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The same memberships in a random order: a control in which no score may reveal anything."""
    return rng.permutation(is_member)


def proportion_interval(n_found: int, n_all: int) -> tuple[float, float]:
    """95 % interval of a proportion (Clopper and Pearson, 1934)."""
    interval = stats.binomtest(n_found, n_all).proportion_ci(_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _rate(members: Floats, others: Floats, wanted: float) -> Rate:
    if others.size < fewest_others(wanted):
        return Rate(wanted, int(others.size))
    n_allowed = int(wanted * others.size)
    threshold = np.sort(others)[::-1][n_allowed]  # at most n_allowed others score above it
    n_found = int((members > threshold).sum())
    return Rate(wanted, int(others.size), n_found / members.size, proportion_interval(n_found, members.size))


def _auc(members: Floats, others: Floats) -> tuple[float, tuple[float, float]]:
    """AUC with the interval of DeLong, DeLong and Clarke-Pearson (1988)."""
    ranks = stats.rankdata(np.concatenate([members, others]))
    above = (ranks[: members.size] - stats.rankdata(members)) / others.size  # of each member: share of others below it
    below = 1 - (ranks[members.size :] - stats.rankdata(others)) / members.size
    auc = float(above.mean())
    variance = _mean_variance(above) + _mean_variance(below)
    reach = float(stats.norm.ppf((1 + _CONFIDENCE) / 2) * math.sqrt(variance))
    return auc, (max(0.0, auc - reach), min(1.0, auc + reach))


def _mean_variance(shares: Floats) -> float:
    return float(shares.var(ddof=1)) / shares.size if shares.size > 1 else 0.25


def p_of_guesses(n: int, n_guesses: int, n_right: int, epsilon: float, delta: float) -> float:
    """Chance of at least so many right guesses, at most, if the training were (epsilon, delta)-private.

    n : canaries, each of which was in the training with probability 1/2; others than n_guesses are abstained from
    Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, theorem 5.2: with W
    binomial(n_guesses, e^epsilon / (1 + e^epsilon)) it is P[W >= v] + 2 n delta max_i P[v > W >= v - i] / i.
    """
    chance = 1 / (1 + math.exp(-epsilon))
    tail = float(stats.binom.sf(n_right - 1, n_guesses, chance))
    back = np.arange(1, n_right + 1)
    below = np.cumsum(stats.binom.pmf(n_right - back, n_guesses, chance))
    slack = float((below / back).max(initial=0.0))
    return min(1.0, tail + 2 * n * delta * slack)


def epsilon_of_guesses(n: int, n_guesses: int, n_right: int, delta: float, p: float) -> float:
    """Largest epsilon that so many right guesses refute at level p, to 1e-4; 0 if they refute none."""
    if n_right == 0 or p_of_guesses(n, n_guesses, n_right, 0.0, delta) >= p:
        return 0.0
    low, high = 0.0, 1.0
    while p_of_guesses(n, n_guesses, n_right, high, delta) < p:
        low, high = high, 2 * high
    while high - low > _PRECISION:
        middle = (low + high) / 2
        refuted = p_of_guesses(n, n_guesses, n_right, middle, delta) < p
        low, high = (middle, high) if refuted else (low, middle)
    return low


def epsilon_bound(scores: Floats, is_member: NDArray[np.bool_], delta: float = 1e-5) -> EpsilonBound:
    """Lower bound of epsilon from canaries: the highest scores are guessed to be in, as many lowest ones to be out.

    scores, is_member : (n,) of canaries, n at least 1, each of which was in the training with probability 1/2
    Several shares of the canaries are guessed, and the best bound is corrected for their number (Bonferroni).
    """
    n, p = scores.size, (1 - _CONFIDENCE) / len(_SHARES_GUESSED)
    order = np.argsort(-scores, kind="stable")
    best = (-1.0, 0, 0)
    for n_guesses in _numbers_guessed(n):
        n_in = n_guesses // 2
        right = int(is_member[order[:n_in]].sum() + (~is_member[order[n - (n_guesses - n_in) :]]).sum())
        best = max(best, (epsilon_of_guesses(n, n_guesses, right, delta, p), n_guesses, right))
    epsilon, n_guesses, n_right = best
    return EpsilonBound(n, n_guesses, n_right, epsilon, largest_bound(n, delta), delta)


def largest_bound(n: int, delta: float = 1e-5) -> float:
    """The bound of epsilon if all guesses about n canaries were right: the most that so many can show."""
    return epsilon_of_guesses(n, n, n, delta, (1 - _CONFIDENCE) / len(_SHARES_GUESSED))


def _numbers_guessed(n: int) -> Sequence[int]:
    return sorted({max(1, int(share * n)) for share in _SHARES_GUESSED})
