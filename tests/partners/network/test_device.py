"""A missing device or precision is refused, and every tensor is on the network's device."""

from unittest import mock

import numpy as np
import pytest
import torch

from partners.errors import DeviceMissing
from partners.network.batches import BatchMaker
from partners.network.device import arithmetic, device_of
from partners.network.model import Dropout, Network
from partners.settings import Training
from partners.training.training import first_state, train_round
from tests.support.partners.synthetic import hybrid_set, small_set, small_trunk


def test_a_missing_gpu_is_refused_before_any_step():
    """The error on a machine without a GPU names what was found, what was expected and what to do."""
    layout, trunk, settings = small_trunk(8)
    training = Training(device="cuda", batch_size=32)
    with (
        mock.patch("torch.cuda.is_available", return_value=False),
        pytest.raises(DeviceMissing, match=r"^training\.device: .*no CUDA") as caught,
    ):
        train_round(small_set(), trunk, None, layout, settings, training, 0, 1)
    assert "torch.cuda.is_available" in caught.value.__notes__[0]


def test_a_gpu_without_bfloat16_is_refused():
    """A GPU without bfloat16 is refused, with the precision to use instead."""
    with (
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch("torch.cuda.is_bf16_supported", return_value=False),
        pytest.raises(DeviceMissing, match=r"^training\.precision: .*float32 or tf32"),
        arithmetic(Training(device="cuda", precision="bfloat16")),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize(
    ("device", "precision", "has_gpu", "expected"),
    [
        ("auto", "float32", True, "cuda"),
        ("auto", "float32", False, "cpu"),
        ("auto", "bfloat16", True, "cpu"),
        ("cpu", "float32", True, "cpu"),
        ("cuda", "float32", False, "cuda"),
    ],
)
def test_auto_is_the_gpu_that_can_compute_so(device: str, precision: str, *, has_gpu: bool, expected: str):
    """A GPU without bfloat16 is none for these settings; a device that is named is never replaced."""
    with (
        mock.patch("torch.cuda.is_available", return_value=has_gpu),
        mock.patch("torch.cuda.is_bf16_supported", return_value=False),
    ):
        assert device_of(Training(device=device, precision=precision)) == expected


def test_auto_without_a_gpu_trains_as_the_cpu_does():
    """The same bits, validation included."""
    layout, trunk, settings = small_trunk(8)
    with mock.patch("torch.cuda.is_available", return_value=False):
        auto, cpu = (
            train_round(small_set(), trunk, None, layout, settings, Training(device=device, batch_size=32), 0, 3)
            for device in ("auto", "cpu")
        )
    np.testing.assert_array_equal(auto.trunk_change, cpu.trunk_change)
    np.testing.assert_array_equal(auto.losses, cpu.losses)


@pytest.mark.parametrize(("precision", "inside"), [("float32", "highest"), ("tf32", "high")])
def test_tf32_is_set_inside_only(precision: str, inside: str):
    """Torch's precision of dense products is the settings' inside the block, and the old one after it."""
    before = torch.get_float32_matmul_precision()
    with (
        mock.patch("torch.cuda.is_available", return_value=True),
        arithmetic(Training(device="cuda", precision=precision)),
    ):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == before


def test_bfloat16_stays_near_float32():
    """Layers in bfloat16 change the outcome of a round a little, and not by more than bfloat16 explains."""
    layout, trunk, settings = small_trunk(32, 24, 16)
    changes = [
        train_round(small_set(), trunk, None, layout, settings, Training(batch_size=32, precision=precision), 0, 5)
        for precision in ("float32", "bfloat16", "bfloat16")
    ]
    exact, rounded, again = (result.losses for result in changes)
    np.testing.assert_array_equal(rounded, again)
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, rtol=2e-2)


def test_every_tensor_is_made_on_the_networks_device():
    """A step runs to the loss on torch's meta device, which computes shapes only and refuses other devices' tensors."""
    data = hybrid_set()
    layout, trunk, settings = small_trunk(16, 8)
    state = first_state(data, layout, Training(), np.random.default_rng(0))
    network = Network(layout, trunk, state.heads, device="meta")
    training = mock.Mock(wraps=Training(), device="meta", regression_weight=0.5)
    batch = BatchMaker(data, settings, training, state.normalisation)(np.arange(data.n_compounds))
    dropout = Dropout.of(settings, Training(), np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="meta"):  # the loss has no value to return: all before it went through
        network.loss_and_gradients([batch], batch.n_compounds, dropout)
    assert {kind: out.shape for kind, out in network.outputs(batch.x).items()} == {
        "classification": (data.n_compounds, data.n_tasks),
        "regression": (data.n_compounds, data.n_regressions),
    }
    gradients: list[torch.Tensor] = []
    network.each_gradient(lambda moving: gradients.extend(gradient for _, gradient in moving))
    assert {gradient.device.type for gradient in gradients} == {"meta"}
    assert all(parameter.device.type == "meta" for parameter in network.parameters.values())
