"""Which model of a new assay is kept: its kind, and whether it stands on the federated trunk.

The trunk has not seen the assay's labels, so predictions out of fold compare all candidates fairly. Few labels compare
them badly, though. So a kind must be better than the mean of both by the standard error of the difference, and with few
labels the trunk stays unless it is worse by one. The error is that of resampled compounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.yardstick import Yardstick
from partners.settings import LocalKind

# One kind of model instead of the mean of both needs a gain of a whole standard error: the mean is rarely the worst.
_KIND_MARGIN = 1.0
# The trunk gains much where another partner measures the target and costs little where none does. So with few labels,
# which show little, it is taken unless it is worse by a standard error; with more, if it is better at all. A margin
# above 0, a quarter of an error, lost a quarter of the gain at 20 labels (tests/benchmarks/new_assays.py, validation).
_FEW = 50  # compounds
_TRUNK_MARGIN = {True: -1.0, False: 0.0}  # for few compounds, for more
_MOST_ENTRIES = 100_000  # labels that all resamples have together
_RESAMPLES = (25, 200)  # fewest and most

Floats = NDArray[np.float64]
Predicted = Mapping[LocalKind, Floats]  # out of fold, (n,) of each kind


@dataclass(frozen=True, slots=True)
class KeptModel:
    """The kinds of model that are kept of a new assay, and why."""

    alone: LocalKind  # best without the trunk
    on_trunk: LocalKind  # best with it
    keeps_trunk: bool
    reason: str


def choose_new(yardstick: Yardstick, alone: Predicted, on_trunk: Predicted, folds: str, seed: int) -> KeptModel:
    """Choose from predictions out of fold.

    folds : what the folds are, for the reason; seed : of the resamples
    """
    n = yardstick.values.size
    n_samples = int(np.clip(_MOST_ENTRIES // max(1, n), *_RESAMPLES))
    comparison = _Comparison(yardstick, np.random.default_rng(seed).integers(n, size=(n_samples, n)))
    first, second = (_best(comparison, predicted) for predicted in (alone, on_trunk))
    gain, error = comparison.gain(alone[first], on_trunk[second])
    needed = _TRUNK_MARGIN[n < _FEW] * error
    keeps = gain > needed
    outcome = "kept" if keeps else "not kept"
    measure = "average precision" if yardstick.signs.size else "correlation"
    reason = (
        f"{second} on the trunk {outcome}: {measure} {gain:+.3f} over {first} without it, "
        f"needed more than {needed:+.3f}; {folds}"
    )
    return KeptModel(first, second, bool(keeps), reason)


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    yardstick: Yardstick
    resampled: NDArray[np.int64]  # (n_samples, n)

    def gain(self, before: Floats, after: Floats) -> tuple[float, float]:
        """Gain in score of some predictions, (n,), over others, and its standard error."""
        everything = np.arange(before.size)[None, :]
        gain = float((self.yardstick.score(after, everything) - self.yardstick.score(before, everything))[0])
        gains = self.yardstick.score(after, self.resampled) - self.yardstick.score(before, self.resampled)
        return gain, float(np.nanstd(gains)) if np.isfinite(gains).any() else 0.0


def _best(comparison: _Comparison, predicted: Predicted) -> LocalKind:
    """The mean of both models, unless one of them is better by a standard error; the forest if it stands alone."""
    if "mean" not in predicted:
        return "forest"
    best: LocalKind = "mean"
    most = 0.0
    for kind in sorted(predicted.keys() - {"mean"}):
        gain, error = comparison.gain(predicted["mean"], predicted[kind])
        if gain > max(most, _KIND_MARGIN * error):
            best, most = kind, gain
    return best
