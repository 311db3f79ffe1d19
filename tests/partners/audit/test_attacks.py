"""LiRA and RMIA against plain loops, on synthetic shadows whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from partners.audit.attacks import ATTACKS, ShadowScores, lira_offline, lira_online, rmia, vulnerability
from partners.audit.rates import membership_rates


def synthetic(n_shadows: int, n: int = 3000, shift: float = 1.0, seed: int = 0) -> tuple[np.ndarray, ShadowScores]:
    """Confidences of a target with every second candidate, and shadows, for compounds that differ in difficulty."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 3, n)
    half = [rng.permutation(n) < n // 2 for _ in range(n_shadows // 2)]
    inside = np.array([flags for pair in half for flags in (pair, ~pair)])
    confidence = difficulty + shift * inside + rng.normal(size=inside.shape)
    target = difficulty + shift * (np.arange(n) % 2 == 0) + rng.normal(size=n)
    return target, ShadowScores(confidence, 1 / (1 + np.exp(-confidence)), inside)


@pytest.mark.parametrize("n_shadows", [8, 64])
def test_lira_is_the_likelihood_ratio_of_two_normal_distributions(n_shadows: int):
    """Compound by compound; below 64 shadows with one variance for all."""
    target, shadows = synthetic(n_shadows, n=40)
    found, of_out = lira_online(target, shadows), lira_offline(target, shadows)
    spread = {
        side: np.sqrt(
            sum(((c[chosen] - c[chosen].mean()) ** 2).sum() for c, chosen in _columns(shadows, side))
            / sum(chosen.sum() - 1 for _, chosen in _columns(shadows, side))
        )
        for side in (True, False)
    }
    for i in range(40):
        inside, c = shadows.inside[:, i], shadows.confidence[:, i]
        ins, outs = c[inside], c[~inside]
        deviation_in = ins.std(ddof=1) if n_shadows >= 64 else spread[True]
        deviation_out = outs.std(ddof=1) if n_shadows >= 64 else spread[False]
        ratio = stats.norm.pdf(target[i], ins.mean(), deviation_in) / stats.norm.pdf(
            target[i], outs.mean(), deviation_out
        )
        assert found[i] == pytest.approx(np.log(ratio), rel=1e-3, abs=1e-4)
        assert np.exp(of_out[i]) == pytest.approx(stats.norm.cdf(target[i], outs.mean(), deviation_out), rel=1e-3)


def _columns(shadows: ShadowScores, side: bool) -> list[tuple[np.ndarray, np.ndarray]]:  # noqa: FBT001
    return [(shadows.confidence[:, j], shadows.inside[:, j] == side) for j in range(shadows.inside.shape[1])]


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_rmia_counts_the_candidates_that_a_compound_exceeds(gamma: float, online: bool):  # noqa: FBT001
    """One pair after the other, by the definition."""
    _, shadows = synthetic(8, n=30)
    target = np.random.default_rng(1).uniform(0.1, 0.9, 30)
    found = rmia(target, shadows, gamma, online=online)
    for i in range(30):
        ratios = []
        for j in range(30):
            p, inside = shadows.likelihood[:, j], shadows.inside[:, j]
            outside = p[~inside].mean()
            mean = (p[inside].mean() + outside) / 2 if online else (1.3 * outside + 0.7) / 2
            ratios.append(target[j] / mean)
        exceeded = sum(ratios[i] / ratios[j] >= gamma for j in range(30) if j != i)
        assert found[i] == pytest.approx(exceeded / 29)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_see_through_the_difficulty_of_compounds(name: str):
    """The confidence alone tells little; knowing each compound's difficulty, the closed form is nearly reached."""
    target, shadows = synthetic(32)
    is_member = np.arange(3000) % 2 == 0
    scores = ATTACKS[name](target, 1 / (1 + np.exp(-target)), shadows)
    alone = membership_rates(target, is_member).auc
    assert alone < 0.62
    assert membership_rates(scores, is_member).auc > alone + 0.08
    if name == "LiRA online":
        assert membership_rates(scores, is_member).auc == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.04)


def test_the_vulnerable_are_those_that_training_moves():
    """A hundred compounds that shadows remember are the first hundred."""
    target, shadows = synthetic(16, n=1000, shift=0.0)
    confidence = shadows.confidence.copy()
    confidence[:, :100] += 6.0 * shadows.inside[:, :100]
    moved = ShadowScores(confidence, shadows.likelihood, shadows.inside)
    assert set(np.argsort(-vulnerability(moved))[:100]) == set(range(100))
    assert target.size == moved.without(3).confidence.shape[1]
    assert moved.without(3).inside.shape[0] == 15
