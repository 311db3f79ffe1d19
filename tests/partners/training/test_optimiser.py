"""Optimisers continue from their state; the learning rate falls by epochs."""

import itertools

import numpy as np
import pytest
import torch

from partners.errors import StateMismatch
from partners.settings import Training, TrunkSettings
from partners.training.optimiser import learning_rate_at, steps_per_epoch
from partners.training.training import train_round
from tests.support.partners.synthetic import hybrid_set, small_trunk

_CHOICES = [("adam", 0.0), ("adamw", 0.0), ("sgd", 0.0), ("sgd", 0.9)]


@pytest.mark.parametrize(("name", "momentum"), _CHOICES)
def test_two_rounds_are_one_long_round(name: str, momentum: float):
    """Without randomness six steps equal three and three: moments, counts and learning rate are kept."""
    data, (layout, trunk, _) = hybrid_set(), small_trunk(16)
    settings = TrunkSettings(hidden=(16,), dropout=0.0)
    training = Training(
        regression_weight=0.5,
        optimiser=name,
        momentum=momentum,
        batch_size=10**6,
        learning_rate=1e-2,
        lr_steps=(2, 5),
        weight_decay=1e-3,
    )
    whole = train_round(data, trunk, None, layout, settings, training, 0, 6)
    first = train_round(data, trunk, None, layout, settings, training, 0, 3)
    second = train_round(data, trunk + first.trunk_change, first.state, layout, settings, training, 1, 3)
    assert second.state.n_steps == whole.state.n_steps == 6
    np.testing.assert_allclose(np.concatenate([first.losses, second.losses]), whole.losses, rtol=1e-5)
    np.testing.assert_allclose(first.trunk_change + second.trunk_change, whole.trunk_change, atol=1e-4)
    for part in ("first_moment", "second_moment"):
        assert getattr(whole.state, part).keys() == getattr(second.state, part).keys()


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(_CHOICES, 2)))
def test_another_optimisers_state_is_refused(before: tuple[str, float], after: tuple[str, float]):
    """A state without the moments, or with others, is refused by name; Adam and AdamW have the same."""
    data, (layout, trunk, settings) = hybrid_set(), small_trunk(8)

    def training(choice: tuple[str, float]) -> Training:
        return Training(regression_weight=0.5, optimiser=choice[0], momentum=choice[1])

    state = train_round(data, trunk, None, layout, settings, training(before), 0, 1).state
    if {before[0], after[0]} == {"adam", "adamw"}:
        assert train_round(data, trunk, state, layout, settings, training(after), 1, 1).state.n_steps == 2
        return
    with pytest.raises(StateMismatch, match=f"moment, .* {after[0]}"):
        train_round(data, trunk, state, layout, settings, training(after), 1, 1)


def test_the_learning_rate_is_torchs_multi_step():
    """Over twelve epochs of three steps it equals torch's MultiStepLR, epoch by epoch."""
    training = Training(learning_rate=0.5, lr_steps=(2, 5, 9), lr_alpha=0.3)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[2, 5, 9], gamma=0.3)
    for epoch in range(12):
        for step in range(3):
            rate = learning_rate_at(3 * epoch + step, 3, training)
            assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
        optimiser.step()
        schedule.step()


def test_an_epoch_sees_every_compound():
    """The last batch of an epoch may be a part; a batch larger than the set is one step."""
    assert [steps_per_epoch(10, size) for size in (1, 3, 5, 10, 99)] == [10, 4, 2, 1, 1]


def test_the_fall_slows_the_steps():
    """After the first epoch with a tiny lr_alpha, plain SGD no longer changes the weights."""
    data, (layout, trunk, _) = hybrid_set(), small_trunk(8)
    settings = TrunkSettings(hidden=(8,), dropout=0.0)
    training = Training(
        regression_weight=0.5, optimiser="sgd", batch_size=10**6, learning_rate=1e-2, lr_steps=(1,), lr_alpha=1e-30
    )
    losses = train_round(data, trunk, None, layout, settings, training, 0, 4).losses
    np.testing.assert_allclose(losses[2:], losses[1], rtol=1e-6)  # compounds are added up in another order
    assert losses[0] - losses[1] > 1e-3
