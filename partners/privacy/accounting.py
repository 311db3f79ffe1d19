"""What noised steps reveal about one compound: epsilon, by the privacy loss distribution of Google's dp-accounting.

One compound's labels and structure at one partner are used, or it contributes nothing. Sampled Gaussian mechanisms
compose over all steps of all rounds (Koskela et al., AISTATS 2020; Doroshenko et al., PoPETs 2022): an upper bound of
epsilon, nearly tight. Noise that is chosen again after a revision or with other tables is composed as if it had been
chosen beforehand.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import dp_accounting
from dp_accounting.pld import PLDAccountant

from partners.privacy.steps import NoisedSteps

_TOLERANCE = 1e-3  # relative, of a noise multiplier that is searched for
_LEAST_NOISE = 0.1  # with less, epsilon is beyond any that protects, and the distribution too wide to compute
# of the privacy loss; always an upper bound, and ten times as fast as the default, 1e-4: epsilon was up to 0.3 % larger
_INTERVAL = 1e-3


def epsilon_of(steps: Sequence[NoisedSteps], delta: float) -> float:
    """Smallest epsilon, with this delta, of all these steps together; 0 without steps."""
    counts: Counter[tuple[float, float]] = Counter()
    for some in steps:
        counts[some.sampling_share, some.noise_multiplier] += some.n_steps
    return _epsilon(tuple(sorted((+counts).items())), delta)


@lru_cache(maxsize=100)
def _epsilon(counts: tuple[tuple[tuple[float, float], int], ...], delta: float) -> float:
    if not counts:
        return 0.0
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(relation, value_discretization_interval=_INTERVAL)
    for (share, noise), n_steps in counts:
        event = dp_accounting.PoissonSampledDpEvent(share, dp_accounting.GaussianDpEvent(noise))
        accountant.compose(event, n_steps)
    return float(accountant.get_epsilon(delta))


def least_noise(
    before: Sequence[NoisedSteps], n_steps: int, sampling_share: float, epsilon: float, delta: float, most: float
) -> float:
    """Smallest noise multiplier, to a thousandth, with which steps to come stay within epsilon.

    before  : steps that were taken
    n_steps : to come
    most    : with which they do stay within it
    """

    def is_enough(noise: float) -> bool:
        return epsilon_of([*before, NoisedSteps(n_steps, sampling_share, noise)], delta) <= epsilon

    high = math.log(most)
    low = high - 1
    while low > math.log(_LEAST_NOISE) and is_enough(math.exp(low)):
        low, high = low - 1, low
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(math.exp(middle)) else (middle, high)
    return math.exp(high)
