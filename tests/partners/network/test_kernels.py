"""The sparse arithmetic against dense torch and numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import sparse

from partners.network.kernels import Masked, MaskedRelu, ObservedOutputs, observed, sparse_rows, sparse_times_dense


def test_values_other_than_one_are_multiplied():
    """Inputs need not be binary: counts go through forward and gradient as numbers."""
    x = sparse.csr_matrix(np.array([[0, 2.5, 0], [1, 0, -3]], dtype=np.float32))
    dense = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    np.testing.assert_allclose(sparse_times_dense(sparse_rows(x), dense), x @ dense.numpy())
    np.testing.assert_allclose(sparse_times_dense(sparse_rows(x.T.tocsr()), dense[:2]), x.T @ dense[:2].numpy())


@pytest.mark.parametrize("density", [0.0, 0.01, 0.2, 1.0])
def test_both_ways_to_compute_a_head_agree(density: float):
    """A dot product per observed label and one dense product give the same logits and gradients."""
    rng = np.random.default_rng(0)
    y = sparse.random(40, 30, density, format="csr", rng=rng)
    results = []
    for dense in (False, True):
        generator = torch.Generator().manual_seed(1)
        leaves = [torch.randn(n, generator=generator).requires_grad_() for n in ((40, 16), (30, 16), (30,))]
        logits = ObservedOutputs.apply(*leaves, observed(y, dense=dense))
        (logits * torch.linspace(-1, 1, logits.shape[0])).sum().backward()
        results.append([logits.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for sparsely, densely in zip(*results, strict=True):
        np.testing.assert_allclose(sparsely, densely, atol=1e-5)


@pytest.mark.parametrize("function", [torch.relu, torch.tanh])
def test_dropout_after_a_function_is_torchs_own(function: Callable[[torch.Tensor], torch.Tensor]):
    """Values and gradients of function, mask and factor in one: those of autograd, to the bit."""
    generator = torch.Generator().manual_seed(2)
    start, slope = torch.randn(40, 16, generator=generator), torch.randn(40, 16, generator=generator)
    start[0, :4] = torch.tensor([0.0, -0.0, 1e-30, -1e-30])
    mask = torch.rand(40, 16, generator=generator) < 0.4
    fused, expected = start.clone().requires_grad_(), start.clone().requires_grad_()
    ours = MaskedRelu.apply(fused, mask, 2.5) if function is torch.relu else Masked.apply(function(fused), mask, 2.5)
    plain = function(expected) * mask * 2.5
    ours.backward(slope)
    plain.backward(slope)
    np.testing.assert_array_equal(ours.detach().numpy(), plain.detach().numpy())
    np.testing.assert_array_equal(fused.grad.numpy(), expected.grad.numpy())
