"""Epsilon of noised steps, against formulas and another accountant."""

import math

import dp_accounting
import pytest
from dp_accounting.rdp import RdpAccountant
from scipy.stats import norm

from partners.privacy.accounting import epsilon_of, least_noise
from partners.privacy.steps import NoisedSteps


def _delta_of_gaussian(epsilon: float, mu: float) -> float:
    """Balle and Wang, ICML 2018, theorem 8, with sensitivity / deviation = mu."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu))


@pytest.mark.parametrize(("n_steps", "noise"), [(1, 1.0), (25, 6.0), (400, 30.0)])
def test_without_sampling_it_is_the_gaussian_mechanism(n_steps: int, noise: float):
    """All compounds in every batch: the exact formula of one Gaussian with sqrt(n) times the sensitivity."""
    epsilon = epsilon_of([NoisedSteps(n_steps, 1.0, noise)], 1e-5)
    mu = n_steps**0.5 / noise
    assert _delta_of_gaussian(epsilon, mu) <= 1e-5
    assert _delta_of_gaussian(0.99 * epsilon, mu) > 1e-5


def test_sampled_steps_stay_below_renyi_accounting():
    """The bound is tighter than Rényi's, and not by more than a third."""
    n_steps, share, noise = 500, 0.02, 1.1
    accountant = RdpAccountant()
    event = dp_accounting.PoissonSampledDpEvent(share, dp_accounting.GaussianDpEvent(noise))
    accountant.compose(event, n_steps)
    renyi = accountant.get_epsilon(1e-5)
    assert 0.67 * renyi < epsilon_of([NoisedSteps(n_steps, share, noise)], 1e-5) < renyi


def test_steps_compose():
    """Steps in parts are the steps together; other steps come on top; no step tells nothing."""
    parts = [NoisedSteps(40, 0.1, 2.0), NoisedSteps(60, 0.1, 2.0)]
    together = epsilon_of([NoisedSteps(100, 0.1, 2.0)], 1e-6)
    assert epsilon_of(parts, 1e-6) == together
    assert epsilon_of([*parts, NoisedSteps(100, 0.2, 3.0)], 1e-6) > together
    assert epsilon_of([], 1e-6) == epsilon_of([NoisedSteps(0, 0.1, 2.0)], 1e-6) == 0


def test_the_least_noise_is_enough_and_less_is_not():
    """What is found keeps epsilon with what was spent before, and one percent less does not."""
    before, epsilon, delta = [NoisedSteps(100, 0.1, 3.0)], 4.0, 1e-5
    noise = least_noise(before, 200, 0.1, epsilon, delta, 20.0)
    assert epsilon_of([*before, NoisedSteps(200, 0.1, noise)], delta) <= epsilon
    assert epsilon_of([*before, NoisedSteps(200, 0.1, 0.99 * noise)], delta) > epsilon
