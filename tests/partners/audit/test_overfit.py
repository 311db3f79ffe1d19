"""The audit can fail: a federation that overfits on purpose is found out in every view; permuted members are not."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from partners.audit.attacks import ATTACKS, ShadowScores, lira_online
from partners.audit.rates import Rates, membership_rates, permuted
from partners.audit.shadows import ShadowTask, joined
from partners.audit.trunk_steps import Candidates, step_agreement
from partners.network.state import PartnerState
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training.training import train_round
from partners.training_data.training_set import TrainingSet

N_BITS, N_COMPOUNDS, N_EPOCHS, N_ROUNDS = 512, 200, 200, 5
SETTINGS = TrunkSettings(hidden=(64,), dropout=0.0)
TRAINING = Training(batch_size=100, learning_rate=5e-3)
LAYOUT = trunk_layout(N_BITS, (64,))
N_STEPS = N_EPOCHS * N_COMPOUNDS // TRAINING.batch_size


def memorisable(seed: int) -> TrainingSet:
    """200 compounds to train on and 200 in the folds that are held out, three labels each, which follow no rule."""
    rng = np.random.default_rng(seed)
    x = sparse.random(2 * N_COMPOUNDS, N_BITS, 0.06, format="csr", rng=rng, dtype=np.float32)
    x.data[:] = 1
    y = rng.choice([-1.0, 1.0], (2 * N_COMPOUNDS, 6)) * (rng.permuted(np.tile(np.arange(6) < 3, (400, 1)), axis=1))
    folding = np.where(np.arange(2 * N_COMPOUNDS) < N_COMPOUNDS, 2, np.arange(2 * N_COMPOUNDS) % 2)
    return TrainingSet(x=x, y=sparse.csr_matrix(y), folding=folding, training_weight=np.ones(6))


def federation(partners: list[TrainingSet]) -> tuple[list[np.ndarray], PartnerState]:
    """The trunk before each round and after the last, and the first partner's heads: plain federated averaging."""
    trunks, states = [initial_trunk(LAYOUT, 1)], [None] * len(partners)
    for round_no in range(N_ROUNDS):
        results = [
            train_round(data, trunks[-1], state, LAYOUT, SETTINGS, TRAINING, (i, round_no), N_STEPS // N_ROUNDS)
            for i, (data, state) in enumerate(zip(partners, states, strict=True))
        ]
        states = [result.state for result in results]
        trunks.append(trunks[-1] + np.mean([result.trunk_change for result in results], axis=0, dtype=np.float32))
    return trunks, states[0]


@pytest.fixture(scope="module")
def audited() -> Iterator[tuple[ShadowTask, list[np.ndarray], PartnerState, list]]:
    """The first of three partners, the trunks, its heads and eight shadows."""
    partners = [memorisable(seed) for seed in range(3)]
    trunks, heads = federation(partners)
    rows = np.arange(2 * N_COMPOUNDS)
    candidates = Candidates.of(partners[0], rows, 0)
    task = ShadowTask(partners[0], rows, rows, candidates, trunks[0], LAYOUT, SETTINGS, TRAINING, N_STEPS)
    return task, trunks, heads, [task.train(shadow) for shadow in range(8)]


def at_ten_percent(rates: Rates) -> float:
    """Lower end of the interval of the true positive rate at 10 %."""
    assert rates.at[0].interval is not None
    return rates.at[0].interval[0]


@pytest.mark.slow
def test_a_planted_overfit_is_found_in_every_view(audited):
    """Model, trunk and opened sums of the federation: far above chance at a false positive rate of 10 %."""
    task, trunks, heads, shadows = audited
    is_member = task.rows < N_COMPOUNDS
    model, trunk = task.fit_of_model(trunks[-1], heads), task.fit_of_trunk(trunks[-1])
    for name, attack in ATTACKS.items():
        of_model = membership_rates(attack(model.confidence, model.likelihood, joined(shadows, "model")), is_member)
        assert at_ten_percent(of_model) > 0.3, (name, of_model)
    of_trunk = membership_rates(lira_online(trunk.confidence, joined(shadows, "trunk")), is_member)
    assert at_ten_percent(of_trunk) > 0.15, of_trunk
    agreement = step_agreement(trunks, task.candidates, LAYOUT, SETTINGS, TRAINING)
    of_sums = membership_rates(agreement, is_member)
    assert at_ten_percent(of_sums) > 0.3, of_sums
    control = membership_rates(agreement, permuted(is_member, np.random.default_rng(0)))
    assert control.auc_interval[0] < 0.5 < control.auc_interval[1]
    assert control.at[0].interval is not None
    assert control.at[0].interval[0] < 0.1 < control.at[0].interval[1] + 0.05


@pytest.mark.slow
def test_a_shadow_as_target_is_found_out_by_the_others(audited):
    """Its members are known and random, so that no difference between folds can be taken for membership."""
    shadows = audited[-1]
    for view, least in (("model", 0.5), ("trunk", 0.2)):
        scores: ShadowScores = joined(shadows, view)
        rates = membership_rates(lira_online(scores.confidence[0], scores.without(0)), scores.inside[0])
        assert at_ten_percent(rates) > least, rates


@pytest.mark.slow
def test_a_training_of_one_step_tells_nothing(audited):
    """The same audit of a trunk that has seen next to nothing: no view is above chance."""
    task, trunks, *_ = audited
    is_member = task.rows < N_COMPOUNDS
    barely = replace(TRAINING, learning_rate=1e-6)
    trained = train_round(task.data, trunks[0], None, LAYOUT, SETTINGS, barely, 0, 1)
    fit = task.fit_of_trunk(trunks[0] + trained.trunk_change)
    rates = membership_rates(fit.confidence, is_member)
    assert rates.auc_interval[0] < 0.5 < rates.auc_interval[1]
