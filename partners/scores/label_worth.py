"""How many more measurements of a partner's own federation is worth, from a step of the partner's learning curve."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.scores.bootstrap import resampled_sums
from partners.scores.comparison import by_group, number_groups

Floats = NDArray[np.float64]

_MOST = 1.0  # as many again: beyond the step that was measured nothing is extrapolated


@dataclass(frozen=True, slots=True)
class LabelWorth:
    """Worth as a share of the measurements that the partner has, 0 (none) to 1 (as many again, or more)."""

    share: float
    low: float  # bootstrap 95 % interval, whole groups drawn
    high: float


def label_worth(
    half: Floats, local: Floats, federated: Floats, groups: Sequence[Hashable], rng: np.random.Generator
) -> LabelWorth | None:
    """The measurements that would raise the scores as federation does; None if the second half of them raised nothing.

    half, local, federated : (n_tasks,) finite scores, higher being better, of models fitted on half and on all of the
                             measurements and with federation; at least one task
    groups                 : (n_tasks,) the tasks of one assay are drawn together
    Scores are taken to rise evenly with the logarithm of the number of measurements. They flatten, so that rather more
    measurements would be needed.
    """
    group = number_groups(groups)
    (gain, _), (rise, _) = (by_group(change, group) for change in (federated - local, local - half))
    if rise.sum() <= 0:
        return None
    share = _share(gain.sum(), rise.sum())
    low, high = np.quantile(_share(*resampled_sums((gain, rise), rng)), [0.025, 0.975])
    return LabelWorth(float(share), float(low), float(high))


def _share(gain: Floats, rise: Floats) -> Floats:
    """2 ** (gain / rise) - 1 between 0 and the most; the most for a gain without a rise."""
    doublings = np.where(rise > 0, gain / np.where(rise > 0, rise, 1.0), np.where(gain > 0, np.inf, 0.0))
    share: Floats = np.exp2(np.clip(doublings, 0.0, np.log2(1 + _MOST))) - 1
    return share
