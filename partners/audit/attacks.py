"""Membership attacks on given scores of a target model and of shadow models, each trained on a random half.

A confidence is a number that rises with how well a model fits a compound's labels, near normal over trainings; a
likelihood is the geometric mean of the probabilities of its labels, in (0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MANY_SHADOWS = 64  # from so many on a variance for each compound is better than one for all (Carlini et al., 2022)
_LEAST_DEVIATION = 1e-6
_GROWTH = 0.3  # of RMIA offline: how much a shadow that has a compound exceeds one that has not


@dataclass(frozen=True, slots=True, eq=False)
class ShadowScores:
    """Scores of shadow models on the candidates, and which candidates each was trained on."""

    confidence: Floats  # (n_shadows, n)
    likelihood: Floats  # (n_shadows, n)
    inside: Flags  # (n_shadows, n)

    def without(self, shadow: int) -> "ShadowScores":
        """All but one shadow, which can then be a target whose members are known and random."""
        kept = np.arange(self.inside.shape[0]) != shadow
        return ShadowScores(self.confidence[kept], self.likelihood[kept], self.inside[kept])


def lira_online(target: Floats, shadows: ShadowScores) -> Floats:
    """Log of the likelihood ratio that a compound was in the target's training, (n,).

    target : (n,) confidence of the target model
    Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022: two normal distributions for
    each compound, of the shadows with it and of those without.
    """
    (mean_in, deviation_in), (mean_out, deviation_out) = (
        _normal(shadows, of_inside=True),
        _normal(shadows, of_inside=False),
    )
    ratio = stats.norm.logpdf(target, mean_in, deviation_in) - stats.norm.logpdf(target, mean_out, deviation_out)
    return np.asarray(ratio, dtype=np.float64)


def lira_offline(target: Floats, shadows: ShadowScores) -> Floats:
    """Log of the probability that a model without the compound is less confident, (n,).

    The offline attack of Carlini et al. (2022), which needs shadows without the compound only.
    """
    mean, deviation = _normal(shadows, of_inside=False)
    return np.asarray(stats.norm.logcdf(target, mean, deviation), dtype=np.float64)


def rmia(target: Floats, shadows: ShadowScores, gamma: float = 1.0, *, online: bool = True) -> Floats:
    """Share of the other candidates that a compound exceeds by the factor gamma in likelihood ratio, (n,).

    target : (n,) likelihood by the target model
    Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024: a compound's likelihood
    over its mean over models with and without it; offline, the former is taken to be 0.3 of the way from the latter
    to 1. The candidates are the population. Gamma is 1, since mean likelihoods of several labels hardly differ twofold.
    """
    outside = _mean_where(shadows.likelihood, ~shadows.inside)
    mean = (_mean_where(shadows.likelihood, shadows.inside) + outside) / 2
    if not online:
        mean = ((1 + _GROWTH) * outside + 1 - _GROWTH) / 2
    ratio = target / np.maximum(mean, np.finfo(np.float64).tiny)
    n_exceeded = np.searchsorted(np.sort(ratio), ratio / gamma, side="right") - (gamma == 1.0)
    return n_exceeded / max(ratio.size - 1, 1)


ATTACKS: dict[str, Callable[[Floats, Floats, ShadowScores], Floats]] = {
    "LiRA online": lambda confidence, _, shadows: lira_online(confidence, shadows),
    "LiRA offline": lambda confidence, _, shadows: lira_offline(confidence, shadows),
    "RMIA": lambda _, likelihood, shadows: rmia(likelihood, shadows),
}
"""Attacks with shadow models by name: of the target's confidence (n,) and likelihood (n,) and the shadows' scores."""


def vulnerability(shadows: ShadowScores) -> Floats:
    """How far training on a compound moves its confidence, in standard deviations, (n,); known before any attack.

    Aerni, Zhang and Tramer, "Evaluations of Machine Learning Privacy Defenses are Misleading", CCS 2024: an audit must
    look at the most vulnerable.
    """
    (mean_in, deviation_in), (mean_out, deviation_out) = (
        _normal(shadows, of_inside=True),
        _normal(shadows, of_inside=False),
    )
    return np.asarray((mean_in - mean_out) / (deviation_in + deviation_out), dtype=np.float64)


def _normal(shadows: ShadowScores, *, of_inside: bool) -> tuple[Floats, Floats]:
    """Mean (n,) and standard deviation (n,) of each compound's confidence by shadows with or without it.

    A compound that no such shadow has gets the mean of all compounds.
    """
    chosen = shadows.inside if of_inside else ~shadows.inside
    mean = _mean_where(shadows.confidence, chosen)
    squares = np.where(chosen, (shadows.confidence - mean) ** 2, 0.0)
    counts = chosen.sum(axis=0)
    if shadows.inside.shape[0] >= _MANY_SHADOWS:
        variance = squares.sum(axis=0) / np.maximum(counts - 1, 1)
    else:
        variance = np.full(mean.size, squares.sum() / max(int(np.maximum(counts - 1, 0).sum()), 1))
    return mean, np.sqrt(variance) + _LEAST_DEVIATION


def _mean_where(values: Floats, chosen: Flags) -> Floats:
    """Mean of the chosen values of each column; of a column without any, the mean of all chosen values."""
    counts = chosen.sum(axis=0)
    total = np.where(chosen, values, 0.0).sum(axis=0)
    overall = float(total.sum() / max(int(counts.sum()), 1))
    return np.where(counts > 0, total / np.maximum(counts, 1), overall)
