"""Our sparse training step against plain dense torch and numpy."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.network.batches import BatchMaker
from partners.network.inference import predict
from partners.network.input_layer import features_for_block
from partners.network.kernels import observed
from partners.network.model import Dropout, Network, censored_squares
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT
from partners.settings import ClassificationHead, RegressionHead, Training, TrunkSettings
from partners.training.training import first_state
from partners.training_data.training_set import TrainingSet
from tests.support.partners.dense_oracle import dense_losses, dense_outputs
from tests.support.partners.our_losses import our_losses
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk

_KINDS = {"class": (20, 0), "regr": (0, 4), "hybrid": (7, 4)}


def _assert_equals_dense(
    data: TrainingSet, trunk_settings: TrunkSettings, training: Training, atol: float = 1e-5
) -> None:
    layout, trunk, _ = small_trunk(*trunk_settings.hidden)
    rng = np.random.default_rng(5)
    state = first_state(data, layout, training, rng)
    batches = [rng.permutation(data.training_rows)[:30] for _ in range(8)]
    weights = layout.views(trunk) | dict(state.heads)
    expected, final = dense_losses(weights, data, batches, trunk_settings, training, state.normalisation)
    losses, stepped = our_losses(layout, trunk, state, data, batches, trunk_settings, training)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=atol)
    assert losses[-1] != losses[0]
    assert stepped.keys() == final.keys()
    for name, array in stepped.items():
        np.testing.assert_allclose(array, final[name], atol=atol, err_msg=name)


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (24, 16, 8)])
@pytest.mark.parametrize("density", [0.04, 0.5])
@pytest.mark.parametrize("decay", [pytest.param(0.0, marks=pytest.mark.slow), 1e-2])
def test_losses_and_weights_equal_dense_torch(hidden: tuple[int, ...], density: float, decay: float):
    """Eight Adam steps give the losses and weights of a plain dense network, for sparse and dense labels."""
    data = small_set(3, n_compounds=150, n_tasks=20, density=density)
    _assert_equals_dense(data, TrunkSettings(hidden=hidden), Training(weight_decay=decay))


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("internal_batch_max", [None, 7])
@pytest.mark.parametrize(
    "optimiser", ["adam", "momentum", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adamw", "sgd"))]
)
def test_every_kind_with_every_optimiser(kind: str, internal_batch_max: int | None, optimiser: str):
    """Classification, regression and both, in one batch or in parts, with each optimiser: the dense network's steps."""
    name, momentum = ("sgd", 0.9) if optimiser == "momentum" else (optimiser, 0.0)
    training = Training(
        optimiser=name,
        momentum=momentum,
        learning_rate=1e-2 if name == "sgd" else 1e-3,
        weight_decay=1e-2,
        internal_batch_max=internal_batch_max,
        regression_weight=0.3,
    )
    n_tasks, n_regressions = _KINDS[kind]
    data = hybrid_set(3, n_tasks=n_tasks, n_regressions=n_regressions)
    _assert_equals_dense(data, TrunkSettings(hidden=(16, 8)), training)


@pytest.mark.parametrize("normalise", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("function", ["relu", "tanh"])
@pytest.mark.parametrize("transform", ["none", "binarize", "log1p", "tanh"])
def test_every_choice_of_function(normalise: bool, function: str, transform: str):  # noqa: FBT001 -- a parameter
    """Extra head layers, non-linearities, input transforms and normalisation: the dense network's steps."""
    training = Training(
        regression_weight=0.5,
        classification=ClassificationHead(hidden=(11,), non_linearity=function),
        regression=RegressionHead(hidden=(9, 5), non_linearity=function),
        normalise_regression=normalise,
    )
    base = hybrid_set(4)
    counts = base.x.copy()
    counts.data = np.random.default_rng(0).integers(1, 6, counts.nnz).astype(np.float32)
    data = dataclasses.replace(base, x=counts)
    trunk = TrunkSettings(hidden=(16, 8), non_linearity=function, input_transform=transform)
    _assert_equals_dense(data, trunk, training)


def test_a_dense_block_of_frequent_features(monkeypatch: pytest.MonkeyPatch):
    """With frequent features multiplied as a block, in one batch or in parts: the dense network's steps."""
    monkeypatch.setattr("partners.network.input_layer._BLOCK_FROM", 1)
    data = hybrid_set()
    assert features_for_block(data.x).size > 8
    for most in (None, 11):
        _assert_equals_dense(
            data, TrunkSettings(hidden=(16,)), Training(regression_weight=0.5, internal_batch_max=most)
        )


def test_predictions_equal_the_dense_networks():
    """Probabilities, and values in original units, of all head layers at once."""
    data = hybrid_set(2)
    training = Training(classification=ClassificationHead(hidden=(11,)), regression=RegressionHead(hidden=(9, 5)))
    trunk_settings = TrunkSettings(hidden=(16, 8), non_linearity="tanh")
    layout, trunk, _ = small_trunk(16, 8)
    state = first_state(data, layout, training, np.random.default_rng(0))
    tensors = {name: torch.tensor(array) for name, array in (layout.views(trunk) | dict(state.heads)).items()}
    dense = dense_outputs(tensors, torch.tensor(data.x.toarray()), trunk_settings, training)
    outputs = predict(data.x, trunk, state, layout, trunk_settings, training)
    np.testing.assert_allclose(outputs.probabilities, torch.sigmoid(dense["classification"]), atol=1e-6)
    mean, deviation = state.normalisation["mean"], state.normalisation["deviation"]
    assert (mean > 1).all()
    np.testing.assert_allclose(outputs.values, dense["regression"].numpy() * deviation + mean, atol=1e-5)


def test_loss_equals_plain_numpy():
    """The loss is the weighted cross entropy summed over observed labels, divided by the number of compounds."""
    data = small_set(1)
    layout, trunk, settings = small_trunk(8)
    state = first_state(data, layout, TRAINING, np.random.default_rng(2))
    network = Network(layout, trunk, state.heads)
    batch = BatchMaker(data, settings, TRAINING, {})(np.arange(data.n_compounds))
    loss = network.loss_and_gradients([batch], data.n_compounds)
    views = layout.views(trunk.astype(np.float64))
    hidden = np.maximum(data.x.toarray() @ views["trunk.0.weight"] + views["trunk.0.bias"], 0)
    probability = 1 / (1 + np.exp(-(hidden @ state.heads[HEAD_WEIGHT].T + state.heads[HEAD_BIAS])))
    y = data.y.toarray()
    right = np.where(y > 0, probability, 1 - probability)
    expected = -(np.log(right) * (y != 0) * data.training_weight).sum() / data.n_compounds
    assert loss == pytest.approx(expected, abs=1e-6)


_VALUES = st.floats(-100, 100, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(_VALUES, _VALUES, st.sampled_from([-1.0, 0.0, 1.0])), min_size=1, max_size=20))
def test_the_censored_loss_is_one_sided(triples: list[tuple[float, float, float]]):
    """A prediction beyond the bound costs nothing, on the wrong side its square; exact values cost the square always.

    The gradient pulls towards the bound, or is zero.
    """
    predicted, measured, censoring = (torch.tensor(column) for column in zip(*triples, strict=True))
    predicted = predicted.requires_grad_()
    squares = censored_squares(predicted, measured, censoring)
    squares.sum().backward()
    for guess, value, mark, square, slope in zip(
        *(tensor.tolist() for tensor in (predicted, measured, censoring, squares, predicted.grad)), strict=True
    ):
        fine = (mark < 0 and guess <= value) or (mark > 0 and guess >= value)
        assert square == (0 if fine else pytest.approx((guess - value) ** 2, rel=1e-5, abs=1e-12))
        assert slope == (0 if fine else pytest.approx(2 * (guess - value), rel=1e-5, abs=1e-12))


@settings(deadline=None)
@given(st.lists(st.tuples(_VALUES, _VALUES), min_size=1, max_size=20))
def test_without_marks_all_is_exact(pairs: list[tuple[float, float]]):
    """No censoring and marks of zero are the same."""
    predicted, measured = (torch.tensor(column) for column in zip(*pairs, strict=True))
    with_zeros = censored_squares(predicted, measured, torch.zeros(len(pairs)))
    assert torch.equal(censored_squares(predicted, measured, None), with_zeros)


def test_a_batch_without_some_bits_has_zero_gradient_there():
    """Input features that no compound of the batch has get gradient zero, also after a batch that had them."""
    data = small_set(1)
    layout, trunk, settings = small_trunk(8)
    network = Network(layout, trunk, first_state(data, layout, TRAINING, np.random.default_rng(2)).heads)
    make = BatchMaker(data, settings, TRAINING, {})
    network.loss_and_gradients([make(np.arange(data.n_compounds))], data.n_compounds)
    network.loss_and_gradients([make(np.arange(2))], 2)
    absent = np.setdiff1d(np.arange(data.n_inputs), data.x[:2].indices)
    assert absent.size > 0
    moved: dict[torch.Tensor, torch.Tensor] = {}
    network.each_gradient(moved.update)
    gradient = torch.cat([moved[piece] for piece in network.input_layer.pieces])
    assert gradient.any()
    assert not gradient[absent].any()


def test_a_batch_without_labels_of_one_kind_still_steps_that_head():
    """The head's gradient is then zero, which Adam's momentum needs, not absent."""
    base = hybrid_set()
    only_values = np.flatnonzero((np.diff(base.y.indptr) == 0) & (np.diff(base.y_regr.indptr) > 0))
    assert only_values.size > 0
    layout, trunk, settings = small_trunk(8)
    state = first_state(base, layout, TRAINING, np.random.default_rng(2))
    network = Network(layout, trunk, state.heads)
    network.loss_and_gradients([BatchMaker(base, settings, TRAINING, state.normalisation)(only_values)], 1)
    assert torch.equal(network.parameters[HEAD_WEIGHT].grad, torch.zeros(7, 8))
    assert network.parameters["regression.weight"].grad.any()


@pytest.mark.parametrize("sizes", list(itertools.product([1, 6, 7, 30], [1, 7, 30, 31])))
def test_parts_together_are_the_batch(sizes: tuple[int, int]):
    """Gradients of the parts add up to the whole batch's, however it is cut."""
    n_rows, most = sizes
    data = hybrid_set()
    layout, trunk, settings = small_trunk(8)
    results = []
    for cut in (None, most):
        training = Training(regression_weight=0.5, internal_batch_max=cut, learning_rate=1e-2, optimiser="sgd")
        state = first_state(data, layout, training, np.random.default_rng(1))
        losses, weights = our_losses(layout, trunk, state, data, [data.training_rows[:n_rows]], settings, training)
        results.append([losses, *weights.values()])
    for whole, in_parts in zip(*results, strict=True):
        np.testing.assert_allclose(whole, in_parts, rtol=1e-5, atol=1e-6)


def test_without_mkl_the_weights_are_the_same(monkeypatch: pytest.MonkeyPatch):
    """Without MKL, the code for such builds of torch gives the same weights within 1e-5."""
    data = small_set(4, n_compounds=150, n_tasks=40, density=0.05)
    layout, trunk, settings = small_trunk(16, 8)
    training = Training(learning_rate=1e-3)
    state = first_state(data, layout, training, np.random.default_rng(1))
    batches = [data.training_rows[start::3] for start in range(3)]
    routes, ends = [], []
    for has_mkl in (True, False):
        monkeypatch.setattr("partners.network.kernels._has_mkl", lambda has_mkl=has_mkl: has_mkl)
        routes.append(observed(data.y).dense)
        ends.append(our_losses(layout, trunk, state, data, batches, settings, training)[1])
    assert routes == [False, True]
    for name in ends[0]:
        np.testing.assert_allclose(ends[0][name], ends[1][name], atol=1e-5, err_msg=name)


def test_dropout_keeps_the_mean():
    """Dropout zeroes its share of the activations and scales the rest, so that the expectation stays."""
    dropout = Dropout.of(TrunkSettings(), Training(), np.random.default_rng(0))
    ones = torch.ones(400, 500)
    for share in (0.6, 0.25):
        mask, factor = dropout.mask(ones, share)
        dropped = (mask * factor).numpy()
        assert np.mean(dropped == 0) == pytest.approx(share, abs=0.005)
        assert dropped.mean() == pytest.approx(1, abs=0.01)
        assert len(np.unique(dropped)) == 2


def test_dropout_of_each_place():
    """The plan's dropout applies between trunk layers and, by default, before each head, not in extra layers."""
    rng, trunk = np.random.default_rng(0), TrunkSettings(hidden=(8, 4), dropout=(0.4, 0.3))

    def shares(**settings: object) -> tuple[object, ...]:
        dropout = Dropout.of(trunk, Training(**settings), rng)
        return dropout.trunk, dropout.heads["classification"], dropout.heads["regression"]

    assert shares() == ((0.4,), (0.3,), (0.3,))
    assert shares(head_dropout=0.0) == ((0.4,), (0.0,), (0.0,))
    head = ClassificationHead(hidden=(9, 5), dropout=0.1)
    assert shares(head_dropout=0.2, classification=head) == ((0.4,), (0.1, 0.0, 0.0), (0.2,))
    regression = RegressionHead(hidden=(9, 5), dropouts=(0.5, 0.6))
    assert shares(regression=regression) == ((0.4,), (0.3,), (0.3, 0.5, 0.6))
