"""Which rates of an audit can be measured with how many compounds. Needs no library."""

import math

FALSE_POSITIVE_RATES = (0.1, 0.01, 0.001)
_FEWEST_FALSE_POSITIVES = 10  # expected among the others at a measurable rate


def fewest_others(false_positive_rate: float) -> int:
    """Others that a rate needs: with fewer, the threshold would rest on a handful of scores."""
    return math.ceil(round(_FEWEST_FALSE_POSITIVES / false_positive_rate, 6))
