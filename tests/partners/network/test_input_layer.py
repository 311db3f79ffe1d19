"""The input layer in pieces, with a dense block, is the plain product and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from partners.network.input_layer import InputLayer, features_for_block, frequent_features, input_rows


def _rows(rng: np.random.Generator, n_rows: int, n_inputs: int, *, binary: bool) -> sparse.csr_matrix:
    """Feature j is set in about j / n_inputs of the rows."""
    share = np.arange(n_inputs) / n_inputs
    values = np.ones((n_rows, n_inputs)) if binary else rng.normal(size=(n_rows, n_inputs))
    return sparse.csr_matrix((values * (rng.random((n_rows, n_inputs)) < share)).astype(np.float32))


@given(
    seed=st.integers(0, 2**32 - 1),
    n_inputs=st.integers(1, 40),
    n_hidden=st.integers(1, 9),
    piece=st.integers(1, 60),
    n_frequent=st.integers(0, 40),
    n_parts=st.integers(1, 3),
    binary=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_output_and_gradient_equal_the_plain_product(
    seed: int, n_inputs: int, n_hidden: int, piece: int, n_frequent: int, n_parts: int, *, binary: bool
):
    """With any pieces, frequent features and parts of a batch: X W + b forward, the sum of X^T S backward."""
    rng = np.random.default_rng(seed)
    frequent = np.sort(rng.permutation(n_inputs)[:n_frequent])
    weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((n_inputs, n_hidden), (n_hidden,)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partners.network.input_layer._PIECE", piece)
        layer = InputLayer(torch.tensor(weight), torch.tensor(bias))
    parts, expected = [], np.zeros_like(weight)
    for n_rows in rng.integers(1, 20, n_parts):
        x = _rows(rng, n_rows, n_inputs, binary=binary)
        slope = rng.normal(size=(n_rows, n_hidden)).astype(np.float32)
        rows = input_rows(x, frequent)
        np.testing.assert_allclose(layer(rows), x @ weight + bias, atol=1e-5)
        parts.append((rows, torch.tensor(slope)))
        expected += x.T @ slope
    gradients: list[tuple[torch.Tensor, torch.Tensor]] = []
    layer.each_gradient(parts, lambda *pair: gradients.append(pair))
    assert len(gradients) == -(-n_inputs // max(1, piece // n_hidden))
    np.testing.assert_allclose(torch.cat([gradient for _, gradient in gradients]), expected, atol=1e-5)
    np.testing.assert_array_equal(torch.cat([part.detach() for part, _ in gradients]), weight)


def test_pieces_share_the_weights_memory():
    """A change of a piece is a change of the weight."""
    weight = torch.zeros(5, 3)
    layer = InputLayer(weight, torch.zeros(3))
    with torch.no_grad():
        layer.pieces[0][2].fill_(7)
    assert weight[2].tolist() == [7, 7, 7]


def test_frequent_features_are_chosen_by_share():
    """Exactly the features in more than an eighth of the rows are frequent, ascending."""
    x = np.zeros((64, 30), dtype=np.float32)
    for feature in range(30):
        x[: feature // 2, feature] = 1  # feature 18 is set in 9 of 64 rows, the first above an eighth
    assert frequent_features(sparse.csr_matrix(x)).tolist() == list(range(18, 30))


@pytest.mark.parametrize(("n_compounds", "expected"), [(999, 0), (1000, 20)])
def test_small_sets_have_no_block(n_compounds: int, expected: int):
    """Below 1,000 compounds no feature is multiplied as a dense block, however frequent."""
    assert features_for_block(sparse.csr_matrix(np.ones((n_compounds, 20), dtype=np.float32))).size == expected


def test_few_frequent_features_are_none():
    """Fewer than eight frequent features are left to the sparse product."""
    x = np.zeros((10, 20), dtype=np.float32)
    x[:, :7] = 1
    assert frequent_features(sparse.csr_matrix(x)).size == 0


def test_at_most_256_features_are_frequent():
    """At most the 256 most frequent features are taken, of equally frequent ones the first."""
    x = np.ones((4, 400), dtype=np.float32)
    x[0, :100] = 0
    assert frequent_features(sparse.csr_matrix(x)).tolist() == list(range(100, 356))


def test_rows_without_transpose_give_no_gradient():
    """A gradient of rows made for prediction alone is refused."""
    rows = input_rows(sparse.csr_matrix(np.eye(3, dtype=np.float32)), for_gradient=False)
    layer = InputLayer(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"^input rows: .*without for_gradient"):
        layer.each_gradient([(rows, torch.zeros(3, 2))], lambda *_: pytest.fail("there is none"))
