"""A Gaussian process with a Tanimoto kernel and fixed noise, on the values of one assay.

The noise is fixed: searching it by marginal likelihood gained nothing on held-out scaffolds and takes twenty times as
long. Values that are bounds are replaced by what the process expects beyond the bound, given the other measurements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

MOST_ROWS = 5000  # of a Gaussian process; above, the kernel takes over 200 MB and seconds: the forest stands alone
_NOISE = {1: 0.25, 2: 1.0}  # by number of kernels in the sum, in variances of the values
_PASSES = 3  # over the bounds

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GaussianProcess:
    """Predicts mean + kernel(new, known) @ weight, in the units of the values."""

    mean: float
    weight: NDArray[np.float32]  # (n_known,)

    def predict(self, kernel: NDArray[np.float32]) -> Floats:
        """Values, (n,), from the kernel of new with known compounds, (n, n_known)."""
        return self.mean + (kernel @ self.weight).astype(np.float64)


def fit_gaussian_process(kernel: NDArray[np.float32], values: Floats, n_kernels: int) -> GaussianProcess:
    """Fit to exact values, (n,), of compounds with this kernel, (n, n)."""
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    factor = linalg.cho_factor(_noisy(kernel, n_kernels), lower=True, overwrite_a=True)
    weight = linalg.cho_solve(factor, (values - mean) / scale)
    return GaussianProcess(mean, (scale * weight).astype(np.float32))


def _noisy(kernel: NDArray[np.float32], n_kernels: int) -> Floats:
    noisy = kernel.astype(np.float64)
    noisy[np.diag_indices_from(noisy)] += _NOISE[n_kernels]
    return noisy


def expected_values(kernel: NDArray[np.float32], values: Floats, marks: NDArray[np.int8], n_kernels: int = 1) -> Floats:
    """Values, (n,), in which each bound is replaced by the value expected beyond it.

    marks : (n,) -1: the true value is below, 0: exact, +1: above
    The prediction for a bound from all other compounds (leave-one-out, in closed form: Rasmussen and Williams 2006,
    eq. 5.12) is a normal distribution, which the bound cuts; its mean takes the bound's place, and so on three times.
    """
    bound = marks != 0
    if not bound.any():
        return values
    inverse = linalg.inv(_noisy(kernel, n_kernels), overwrite_a=True)
    variance = 1 / np.diag(inverse)[bound]
    filled = values.copy()
    for _ in range(_PASSES):
        mean, scale = filled.mean(), filled.std() or 1.0
        standard = (filled - mean) / scale
        left_out = standard[bound] - (inverse @ standard)[bound] * variance
        beyond = marks[bound] * ((values[bound] - mean) / scale - left_out) / np.sqrt(variance)
        filled[bound] = mean + scale * (left_out + marks[bound] * np.sqrt(variance) * _hazard(beyond))
    return filled


def _hazard(z: Floats) -> Floats:
    """Mean of a standard normal variable above z."""
    hazard: Floats = np.sqrt(2 / np.pi) / special.erfcx(z / np.sqrt(2))
    return hazard
