"""LiRA and RMIA against molprivacy's own attacks, on its network's outputs for its AMES data.

`molprivacy.npz` was written by `tests/benchmarks/peers/molprivacy_scores.py`: 3,264 members, 1,632 others, ten shadow
models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import auc

from partners.audit.attacks import ATTACKS, ShadowScores, lira_online
from partners.audit.rates import Rates, membership_rates

FILE = Path(__file__).with_name("molprivacy.npz")
_LARGEST = np.log(1e7)  # of a logit: molprivacy keeps probabilities 1e-7 away from 0 and 1
_LEAST = 1e-6  # added to its probabilities

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Golden:
    """What molprivacy trained and found; n compounds, of which the first were judged."""

    confidence: Floats  # (n,) the target's logit of the right label
    shadows: Floats  # (n_shadows, n)
    inside: NDArray[np.bool_]  # (n_shadows, n)
    is_member: NDArray[np.bool_]  # (n_judged,)
    judged: NDArray[np.int64]  # (n_judged,) rows
    n_train: int
    stored: Mapping[str, NDArray[Any]]

    def ours(self, name: str) -> Floats:
        """Scores of the judged compounds by one of our attacks."""
        confidence, shadows = self.confidence[self.judged], self.shadows[:, self.judged]
        known = ShadowScores(shadows, probability(shadows), self.inside[:, self.judged])
        return ATTACKS[name](confidence, probability(confidence), known)

    def both(self, ours: str, theirs: str) -> tuple[Rates, Rates]:
        """Our rates by our scores, and by molprivacy's."""
        scores = self.ours(ours), self.stored[theirs].astype(np.float64)
        mine, other = (membership_rates(score, self.is_member) for score in scores)
        return mine, other


def probability(logit: Floats) -> Floats:
    """Of the right label."""
    return 1 / (1 + np.exp(-logit))


@pytest.fixture(scope="module")
def golden() -> Golden:
    """The file; ten compounds that all shadow models had, or none, are judged by neither."""
    with np.load(FILE, allow_pickle=False) as file:
        stored = {name: file[name] for name in file}
    sign = 2.0 * stored["label"] - 1
    n_train, n_judged = int(stored["n_train"]), int(stored["n_judged"])
    judged = np.setdiff1d(np.arange(n_judged), stored["lira_skipped"])
    return Golden(
        confidence=np.clip(sign * stored["target"], -_LARGEST, _LARGEST),
        shadows=np.clip(sign * stored["shadows"], -_LARGEST, _LARGEST),
        inside=np.unpackbits(stored["inside"], axis=1, count=sign.size).astype(bool),
        is_member=judged < n_train,
        judged=judged,
        n_train=n_train,
        stored=stored,
    )


@pytest.mark.parametrize("attack", ["lira", "rmia"])
def test_rates_are_those_of_its_curves(golden: Golden, attack: str):
    """AUC, and the highest true positive rate up to a false positive rate, of its scores."""
    rates = membership_rates(golden.stored[attack].astype(np.float64), golden.is_member)
    false, true = golden.stored[f"{attack}_curve"]
    assert rates.auc == pytest.approx(auc(false, true), abs=1e-4)
    for rate in rates.at[:2]:
        assert rate.true_positive_rate == pytest.approx(true[false <= rate.false_positive_rate].max(), abs=1e-3)
    assert rates.at[2].true_positive_rate is None  # 1,622 others, not 10,000


def test_lira_orders_compounds_as_molprivacys_does(golden: Golden):
    """With one variance for all compounds in both; rates differ by less than their intervals."""
    theirs = golden.stored["lira"]
    assert stats.spearmanr(golden.ours("LiRA online"), theirs).statistic > 0.995
    mine, other = golden.both("LiRA online", "lira")
    assert mine.auc == pytest.approx(other.auc, abs=0.005)
    for ours, of_theirs in zip(mine.at[:2], other.at[:2], strict=True):
        assert ours.interval[0] < of_theirs.interval[1]
        assert of_theirs.interval[0] < ours.interval[1]


def test_rmia_finds_as_much_as_molprivacys(golden: Golden):
    """AUCs differ by less than their intervals; at low false positive rates ours finds more, never less."""
    mine, other = golden.both("RMIA", "rmia")
    assert mine.auc_interval[0] < other.auc_interval[1]
    assert mine.auc > other.auc_interval[0]
    for ours, of_theirs in zip(mine.at[:2], other.at[:2], strict=True):
        assert ours.true_positive_rate > of_theirs.interval[0]


def test_why_its_rmia_finds_less(golden: Golden):
    """Its scores follow from its formula: a population of its own, judged by the shadows without the compound alone.

    With the mean of those with and those without it, as the paper has it, the same formula finds more, as ours does.
    """
    theirs, ours = golden.stored["rmia"], membership_rates(golden.ours("RMIA"), golden.is_member)
    own_way = _rmia_as_there(golden, as_published=False)
    assert stats.spearmanr(own_way, theirs).statistic > 0.99
    as_published = membership_rates(_rmia_as_there(golden, as_published=True), golden.is_member)
    assert ours.auc_interval[0] < as_published.auc < ours.auc_interval[1]
    assert as_published.at[1].true_positive_rate == pytest.approx(ours.at[1].true_positive_rate, abs=0.01)


def _rmia_as_there(golden: Golden, *, as_published: bool) -> Floats:
    """Share of the population that a compound exceeds twofold."""
    population = np.arange(golden.stored["n_judged"], golden.confidence.size)
    target, shadows, inside = probability(golden.confidence), probability(golden.shadows), golden.inside
    mean = shadows.mean(axis=0)
    if as_published:
        mean = (np.average(shadows, 0, inside + _LEAST) + np.average(shadows, 0, ~inside + _LEAST)) / 2
    ratio, scores = target / (mean + _LEAST), []
    for row in golden.judged:
        of_population = mean[population] if as_published else shadows[~inside[:, row]][:, population].mean(axis=0)
        scores.append((ratio[row] / (target[population] / (of_population + _LEAST)) > 2).mean())
    return np.array(scores)


def test_a_target_without_the_compounds_is_told_nothing(golden: Golden):
    """The control: compounds that neither target nor judge had, in the roles of members and others."""
    rows = np.arange(golden.stored["n_judged"], golden.confidence.size)
    known = ShadowScores(golden.shadows[:, rows], probability(golden.shadows[:, rows]), golden.inside[:, rows])
    rates = membership_rates(lira_online(golden.confidence[rows], known), np.arange(rows.size) % 2 == 0)
    assert rates.auc_interval[0] < 0.5 < rates.auc_interval[1]
