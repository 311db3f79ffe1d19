"""Our sparse training step against plain dense torch, numpy, and SparseChem's own run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from partners.input_layer import frequent_features
from partners.kernels import ObservedLogits, observed, rows_times, sparse_rows
from partners.model import Dropout, Network, make_batch
from partners.settings import Training, TrunkSettings
from partners.state import HEAD_BIAS, HEAD_WEIGHT, initial_heads
from partners.training import _adam, _first_state, _steps
from partners.training_set import TrainingSet
from partners.trunk import TrunkLayout, trunk_layout
from tests.partners.dense_oracle import dense_losses
from tests.partners.synthetic import TRAINING, small_set, small_trunk

_NO_DROPOUT = Dropout.of(TrunkSettings(dropout=0.0), Training(), np.random.default_rng(0))


def _our_losses(
    layout: TrunkLayout,
    trunk: np.ndarray,
    heads: dict[str, np.ndarray],
    data: TrainingSet,
    batches: list[np.ndarray],
    training: Training,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    network = Network(layout, trunk, heads)
    adam = _adam(network, _first_state(layout, data.n_tasks, np.random.default_rng(0)), training)
    frequent = frequent_features(data.x)
    made = (make_batch(data.x[rows], data.y[rows], data.training_weight, frequent) for rows in batches)
    losses = _steps(network, adam, made, _NO_DROPOUT, training, len(batches), None)
    return losses, {name: network.array(name) for name in network.parameters}


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (24, 16, 8)])
@pytest.mark.parametrize("density", [0.04, 0.5])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_losses_and_weights_equal_dense_torch(hidden: tuple[int, ...], density: float, decay: float):
    """Eight Adam steps give the losses and weights of a plain dense network, for sparse and dense labels."""
    data = small_set(3, n_compounds=150, n_tasks=20, density=density)
    layout, trunk, _ = small_trunk(*hidden)
    rng = np.random.default_rng(5)
    heads = initial_heads(layout, data.n_tasks, rng)
    batches = [rng.permutation(data.training_rows)[:30] for _ in range(8)]
    training = Training(learning_rate=1e-3, weight_decay=decay)
    expected, final = dense_losses(layout.views(trunk) | heads, data, batches, 1e-3, decay)
    losses, weights = _our_losses(layout, trunk, heads, data, batches, training)
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert weights.keys() == final.keys()
    for name, array in weights.items():
        np.testing.assert_allclose(array, final[name], atol=1e-5, err_msg=name)


def test_loss_equals_plain_numpy():
    """The loss is the weighted cross entropy summed over observed labels, divided by the number of compounds."""
    data = small_set(1)
    layout, trunk, _ = small_trunk(8)
    heads = initial_heads(layout, data.n_tasks, np.random.default_rng(2))
    network = Network(layout, trunk, heads)
    loss = network.loss_and_gradients(make_batch(data.x, data.y, data.training_weight))
    views = layout.views(trunk.astype(np.float64))
    hidden = np.maximum(data.x.toarray() @ views["trunk.0.weight"] + views["trunk.0.bias"], 0)
    probability = 1 / (1 + np.exp(-(hidden @ heads[HEAD_WEIGHT].T + heads[HEAD_BIAS])))
    y = data.y.toarray()
    right = np.where(y > 0, probability, 1 - probability)
    expected = -(np.log(right) * (y != 0) * data.training_weight).sum() / data.n_compounds
    assert loss == pytest.approx(expected, abs=1e-6)


def test_a_batch_without_some_bits_has_zero_gradient_there():
    """Input features no compound of the batch has get gradient zero, also after a batch that had them."""
    data = small_set(1)
    layout, trunk, _ = small_trunk(8)
    network = Network(layout, trunk, initial_heads(layout, data.n_tasks, np.random.default_rng(2)))
    network.loss_and_gradients(make_batch(data.x, data.y, data.training_weight))
    few = slice(0, 2)
    network.loss_and_gradients(make_batch(data.x[few], data.y[few], data.training_weight))
    absent = np.setdiff1d(np.arange(data.n_inputs), data.x[few].indices)
    assert absent.size > 0
    gradient = torch.cat([gradient for _, gradient in network.input_gradients()])
    assert gradient.any()
    assert not gradient[absent].any()


def test_values_other_than_one_are_multiplied():
    """Inputs need not be binary: counts go through forward and gradient as numbers."""
    x = sparse.csr_matrix(np.array([[0, 2.5, 0], [1, 0, -3]], dtype=np.float32))
    dense = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    np.testing.assert_allclose(rows_times(sparse_rows(x), dense), x @ dense.numpy())
    np.testing.assert_allclose(rows_times(sparse_rows(x.T.tocsr()), dense[:2]), x.T @ dense[:2].numpy())


def test_without_mkl_the_weights_are_the_same(monkeypatch: pytest.MonkeyPatch):
    """The road for builds of torch without MKL gives the weights of the road with it within 1e-5."""
    data = small_set(4, n_compounds=150, n_tasks=40, density=0.05)
    layout, trunk, _ = small_trunk(16, 8)
    heads = initial_heads(layout, data.n_tasks, np.random.default_rng(1))
    batches = [data.training_rows[start::3] for start in range(3)]
    routes, ends = [], []
    for has_mkl in (True, False):
        monkeypatch.setattr("partners.kernels._has_mkl", lambda has_mkl=has_mkl: has_mkl)
        routes.append(observed(data.y).dense)
        ends.append(_our_losses(layout, trunk, heads, data, batches, Training(learning_rate=1e-3))[1])
    assert routes == [False, True]
    for name in ends[0]:
        np.testing.assert_allclose(ends[0][name], ends[1][name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("density", [0.01, 0.2, 1.0])
def test_both_head_routes_agree(density: float):
    """A dot product per observed label and one dense product give the same logits and gradients."""
    rng = np.random.default_rng(0)
    y = sparse.random(40, 30, density, format="csr", rng=rng)
    results = []
    for dense in (False, True):
        generator = torch.Generator().manual_seed(1)
        leaves = [torch.randn(n, generator=generator).requires_grad_() for n in ((40, 16), (30, 16), (30,))]
        logits = ObservedLogits.apply(*leaves, observed(y, dense=dense))
        (logits * torch.linspace(-1, 1, logits.shape[0])).sum().backward()
        results.append([logits.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_sparsechem_six_adam_steps(shared: Path):
    """From SparseChem's initial weights, its six batches give its losses and its final weights within 1e-5."""
    folder = shared / "golden" / "sparsechem"
    golden, facts = np.load(folder / "parity_class.npz"), json.loads((folder / "parity_class.json").read_text())
    data = TrainingSet(
        x=sparse.load_npz(folder / "x.npz"),
        y=sparse.load_npz(folder / "y_class.npz"),
        folding=np.load(folder / "folding.npy"),
        training_weight=np.loadtxt(folder / "cls_weights.csv", delimiter=",", skiprows=1, usecols=3),
    )
    layout = trunk_layout(data.n_inputs, tuple(facts["hidden_sizes"]))
    ours = {
        "trunk.0.weight": "net.0.net_freq.weight",
        "trunk.0.bias": "net.0.net_freq.bias",
        HEAD_WEIGHT: "classLast.net.initial_layer.2.weight",
        HEAD_BIAS: "classLast.net.initial_layer.2.bias",
    }
    trunk = np.concatenate([golden["init/" + ours[tensor.name]].ravel() for tensor in layout.tensors])
    heads = {name: golden["init/" + ours[name]] for name in (HEAD_WEIGHT, HEAD_BIAS)}
    n = facts["batch_size"]
    batches = [np.arange(n) + n * step % data.n_compounds for step in range(facts["steps"])]
    training = Training(learning_rate=facts["lr"], weight_decay=facts["weight_decay"])
    losses, weights = _our_losses(layout, trunk, heads, data, batches, training)
    np.testing.assert_allclose(losses, golden["losses"], atol=1e-5)
    for name, theirs in ours.items():
        np.testing.assert_allclose(weights[name], golden["final/" + theirs], atol=1e-5, err_msg=name)


def test_dropout_keeps_the_mean():
    """Dropout zeroes its share of the activations and scales the rest, so that the expectation stays."""
    dropout = Dropout(hidden=0.6, last=0.25, rng=np.random.default_rng(0))
    ones = torch.ones(400, 500)
    for is_last, share in ((False, 0.6), (True, 0.25)):
        dropped = dropout.apply(ones, is_last=is_last).numpy()
        assert np.mean(dropped == 0) == pytest.approx(share, abs=0.005)
        assert dropped.mean() == pytest.approx(1, abs=0.01)
        assert len(np.unique(dropped)) == 2


def test_head_dropout_defaults_to_the_plans():
    """A partner that sets no head dropout uses the plan's; zero turns it off."""
    rng = np.random.default_rng(0)
    assert Dropout.of(TrunkSettings(dropout=0.4), Training(), rng).last == 0.4
    assert Dropout.of(TrunkSettings(dropout=0.4), Training(head_dropout=0.0), rng).last == 0
    ones = torch.ones(3, 3)
    assert Dropout.of(TrunkSettings(dropout=0.0), TRAINING, rng).apply(ones, is_last=True) is ones
