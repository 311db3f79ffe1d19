"""Gradients of a training with differential privacy: clipped exactly, noised on every weight."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from partners.network.batches import BatchMaker
from partners.network.model import Network
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT
from partners.privacy.noised_network import NoisedNetwork
from partners.settings import ClassificationHead, NoiseSettings, RegressionHead, Training, TrunkSettings
from partners.training.training import first_state, train_in_place
from partners.training_data.training_set import TrainingSet
from tests.support.partners.synthetic import hybrid_set, small_trunk

_NO_NOISE = 1e-9  # so little that it is not seen beside rounding
_EXPECTED = 20
Gradients = dict[str, torch.Tensor]


def _gradients(network: Network) -> Gradients:
    """The gradient of every parameter after `loss_and_gradients`."""
    moved: dict[torch.Tensor, torch.Tensor] = {}
    network.each_gradient(lambda pairs: moved.update((leaf, gradient.clone()) for leaf, gradient in pairs))
    return {name: torch.cat([moved[piece] for _, piece in network.pieces(name)]) for name in network.parameters}


def _length(gradients: Gradients, tied: list[list[int]]) -> torch.Tensor:
    """Length over all weights; heads that are one count once."""
    copies = [task for group in tied for task in group[1:]]
    total = torch.zeros(())
    for name, gradient in gradients.items():
        squares = gradient.double().square()
        if name in {HEAD_WEIGHT, HEAD_BIAS}:
            squares[copies] = 0
        total = total + squares.sum()
    return total.sqrt()


def _of_single_compounds(  # noqa: PLR0913, PLR0917 -- as the network's
    data: TrainingSet, rows: np.ndarray, clip: float, layout, trunk, trunk_settings, training, state, tied
) -> Gradients:
    """Each compound's gradient by a pass of its own through the plain network, shortened, and summed."""
    make = BatchMaker(data, trunk_settings, training, state.normalisation, equal_weights=True)
    network = Network.of(layout, trunk, state.heads, trunk_settings, training, tied=tied)
    total = {name: torch.zeros_like(tensor) for name, tensor in network.parameters.items()}
    for row in rows:
        network.loss_and_gradients([make(np.array([row]))], 1)
        single = _gradients(network)
        length = _length(single, tied)
        factor = min(1.0, clip / float(length)) if length else 1.0
        for name, gradient in single.items():
            total[name] += factor * gradient / _EXPECTED
    return {name: gradient.detach() for name, gradient in total.items()}


@settings(max_examples=8, deadline=None)
@example(seed=1, clip=0.01, hidden=(6, 5), head=(), kinds=(7, 4), tied=[[0, 2], [1, 5, 6]], most=5, counts=True)
@given(
    seed=st.integers(0, 1000),
    clip=st.sampled_from([0.01, 0.3, 2.0, 1e4]),
    hidden=st.sampled_from([(6,), (6, 5), (5, 4, 3)]),
    head=st.sampled_from([(), (4,)]),
    kinds=st.sampled_from([(7, 0), (0, 4), (7, 4)]),
    tied=st.sampled_from([[], [[0, 2], [1, 5, 6]]]),
    most=st.sampled_from([None, 5]),
    counts=st.booleans(),
)
def test_clipped_gradients_are_those_of_single_compounds(seed, clip, hidden, head, kinds, tied, most, counts):
    """One pass over a batch gives the sum of each compound's own shortened gradient."""
    data = hybrid_set(seed, n_tasks=kinds[0], n_regressions=kinds[1])
    if counts:
        data.x.data[:] = np.random.default_rng(seed).integers(1, 6, data.x.nnz)
    layout, trunk, _ = small_trunk(*hidden)
    trunk_settings = TrunkSettings(hidden=hidden, dropout=0.0)
    training = Training(
        regression_weight=0.4,
        internal_batch_max=most,
        classification=ClassificationHead(hidden=head),
        regression=RegressionHead(hidden=head),
    )
    groups = tied if kinds[0] else []
    state = first_state(data, layout, training, np.random.default_rng(seed))
    for group in groups:
        for task in group[1:]:
            state.heads[HEAD_WEIGHT][task] = state.heads[HEAD_WEIGHT][group[0]]
    rows = np.random.default_rng(seed).permutation(data.training_rows)[:7]
    noise = NoiseSettings(clip_norm=clip, noise_multiplier=_NO_NOISE / clip, sampling_share=1.0, key=bytes(32))
    network = NoisedNetwork(layout, trunk, state.heads, trunk_settings, training, noise=noise, tied=groups)
    make = BatchMaker(data, trunk_settings, training, state.normalisation, equal_weights=True)
    parts = [rows] if most is None else np.array_split(rows, 3)
    network.loss_and_gradients(map(make, parts), _EXPECTED)
    found = _gradients(network)
    expected = _of_single_compounds(data, rows, clip, layout, trunk, trunk_settings, training, state, groups)
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-4, atol=2e-5 * scale, msg=name)
    if clip < 1:  # whatever the labels weigh, one compound moves the sum by clip at most
        assert _length(found, groups) <= clip * rows.size / _EXPECTED * 1.0001


def _noised(multiplier: float, clip: float = 2.0) -> tuple[NoisedNetwork, BatchMaker, TrainingSet]:
    data = hybrid_set()
    layout, trunk, trunk_settings = small_trunk(64)
    training = Training(regression_weight=0.5)
    state = first_state(data, layout, training, np.random.default_rng(1))
    noise = NoiseSettings(clip_norm=clip, noise_multiplier=multiplier, sampling_share=0.5, key=bytes(32))
    network = NoisedNetwork(layout, trunk, state.heads, trunk_settings, training, noise=noise)
    return network, BatchMaker(data, trunk_settings, training, state.normalisation, equal_weights=True), data


def test_every_weight_has_the_same_noise():
    """Trunk and heads, columns that nobody sets too, have noise x clip / expected size, also if the batch is empty."""
    network, _, _ = _noised(3.0)
    assert network.loss_and_gradients([], _EXPECTED) == 0
    gradients = _gradients(network)
    deviation = 3.0 * 2.0 / _EXPECTED
    for name, gradient in gradients.items():
        assert gradient.count_nonzero() == gradient.numel(), name
        expected = pytest.approx(deviation, rel=6 / (2 * gradient.numel()) ** 0.5)
        assert float(gradient.square().mean().sqrt()) == expected, name
    values = torch.cat([gradient.flatten() for gradient in gradients.values()])
    assert values.unique().numel() > 0.99 * values.numel()


def test_noise_is_added_to_the_gradient():
    """With and without noise the difference is that of the same noise on an empty batch."""
    rows = hybrid_set().training_rows[:9]
    (noised, make, _), (empty, _, _), (clear, _, _) = _noised(1.0), _noised(1.0), _noised(_NO_NOISE)
    noised.loss_and_gradients([make(rows)], _EXPECTED)
    empty.loss_and_gradients([], _EXPECTED)
    clear.loss_and_gradients([make(rows)], _EXPECTED)
    with_noise, noise, without = _gradients(noised), _gradients(empty), _gradients(clear)
    for name, gradient in with_noise.items():
        torch.testing.assert_close(gradient, without[name] + noise[name], rtol=1e-5, atol=1e-6)


def test_without_noise_and_clipping_the_training_is_the_plain_one():
    """All compounds in every batch, no clipping, hardly any noise: the plain training's weights and losses."""
    data = hybrid_set()
    for name in ("training_weight", "regr_weight", "censored_weight"):
        getattr(data, name)[:] = 1
    layout, trunk, _ = small_trunk(16, 8)
    trunk_settings = TrunkSettings(hidden=(16, 8), dropout=0.0)
    training = Training(regression_weight=0.5, batch_size=int(data.training_rows.size), optimiser="sgd")
    noise = NoiseSettings(clip_norm=1e6, noise_multiplier=1e-14, sampling_share=1.0, key=bytes(32))
    results = []
    for chosen in (None, noise):
        after = trunk.copy()
        trained = train_in_place(data, after, None, layout, trunk_settings, training, 3, 5, noise=chosen)
        results.append([after, trained.losses, *trained.state.heads.values()])
    for plain, noised in zip(*results, strict=True):
        np.testing.assert_allclose(noised, plain, rtol=1e-4, atol=1e-6)


def test_a_training_repeats_its_noise_and_no_other_has_it():
    """Equal keys give equal bits, another key another noise and other batches; weights of tasks have no influence."""
    data, other = hybrid_set(), hybrid_set()
    other.training_weight[:] *= 0.3
    layout, trunk, trunk_settings = small_trunk(16)
    training = Training(batch_size=20, regression_weight=0.5)
    trunks = []
    for chosen, key in ((data, b"a"), (other, b"a"), (data, b"b")):
        noise = NoiseSettings(clip_norm=1.0, noise_multiplier=1.0, sampling_share=0.2, key=32 * key)
        after = trunk.copy()
        train_in_place(chosen, after, None, layout, trunk_settings, training, (1, 2), 4, noise=noise)
        trunks.append(after)
    np.testing.assert_array_equal(trunks[0], trunks[1])
    assert (trunks[0] != trunks[2]).mean() > 0.99
    assert (trunks[0] != trunk).all()  # also columns that no compound sets
