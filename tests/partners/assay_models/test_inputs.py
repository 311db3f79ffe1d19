"""Inputs of assay models, and the Tanimoto kernel of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import DataStructs
from scipy import sparse

from partners.assay_models.inputs import BLOCK, Inputs, KnownInputs, compound_blocks, kernel
from tests.support.partners.made_up_assays import N_BITS, random_inputs


def plain_tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tanimoto of real vectors, one pair after the other, in double precision."""
    result = np.zeros((len(a), len(b)))
    for i, x in enumerate(a.astype(np.float64)):
        for j, y in enumerate(b.astype(np.float64)):
            union = x @ x + y @ y - x @ y
            result[i, j] = x @ y / union if union else 0
    return result


def test_of_bits_it_is_rdkits_tanimoto():
    """Similarities of bit vectors are those of RDKit, also to a vector without bits."""
    none = sparse.csr_matrix((1, N_BITS), dtype=np.float32)
    some, others = (Inputs.of(sparse.vstack([random_inputs(seed, 9).bits, none], "csr")) for seed in (1, 2))
    vectors = [as_vectors(inputs) for inputs in (some, others)]
    expected = [DataStructs.BulkTanimotoSimilarity(vector, vectors[1]) for vector in vectors[0]]
    expected[-1][-1] = 0  # RDKit says 1
    np.testing.assert_allclose(kernel(some, others), expected, rtol=1e-6)


def as_vectors(inputs: Inputs) -> list[DataStructs.ExplicitBitVect]:
    """The fingerprints as RDKit's."""
    rows = inputs.bits.toarray().astype(int)
    return [DataStructs.CreateFromBitString("".join(map(str, row))) for row in rows]


def test_with_a_hidden_layer_it_is_the_sum_of_both():
    """The similarity of the hidden layers is added, as numpy computes it for real vectors."""
    some, others = random_inputs(1, 12, n_units=5), random_inputs(2, 9, n_units=5)
    expected = plain_tanimoto(some.bits.toarray(), others.bits.toarray()) + plain_tanimoto(some.hidden, others.hidden)
    np.testing.assert_allclose(kernel(some, others), expected, rtol=1e-5, atol=1e-7)
    assert (some.n_kernels, random_inputs(1, 3).n_kernels) == (2, 1)


@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(0, 6), st.integers(1, 20))
def test_it_is_a_kernel(seed: int, n: int, n_units: int, n_bits: int):
    """Symmetric, 1 on the diagonal for each kernel but 0 for an empty vector, no eigenvalue below 0."""
    inputs = random_inputs(seed, n, n_units, n_bits=n_bits)
    found = kernel(inputs, inputs)
    np.testing.assert_array_equal(found, found.T)
    diagonal = (np.diff(inputs.bits.indptr) > 0).astype(float) + (inputs.hidden > 0).any(axis=1)
    np.testing.assert_allclose(np.diag(found), diagonal, rtol=1e-5)
    assert np.linalg.eigvalsh(found.astype(np.float64)).min() > -1e-5


@pytest.mark.parametrize("n_units", [0, 5])
def test_known_compounds_give_the_same_bits_again_and_again(n_units: int):
    """Prepared once and compared with several, as if prepared for each; also over several blocks, and with none."""
    known = random_inputs(3, 2 * BLOCK + 9, n_units)
    prepared = KnownInputs.of(known)
    for seed, n in ((1, 12), (2, 1), (4, 0)):
        some = random_inputs(seed, n, n_units)
        np.testing.assert_array_equal(prepared.kernel(some), kernel(some, known))
    assert KnownInputs.of(known[:0]).kernel(random_inputs(1, 3, n_units)).shape == (3, 0)


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_blocks_hold_every_compound_once(n: int):
    """In order, and none is larger than a block."""
    parts = [np.arange(n)[part] for part in compound_blocks(n)]
    np.testing.assert_array_equal(np.concatenate([np.zeros(0, int), *parts]), np.arange(n))
    assert all(0 < part.size <= BLOCK for part in parts)


def test_descriptors_do_not_change_the_kernel():
    """They are inputs of forests alone."""
    plain, described = random_inputs(3, 10), random_inputs(3, 10, n_descriptors=4)
    np.testing.assert_array_equal(kernel(plain, plain), kernel(described, described))


@pytest.mark.parametrize("stored", [[2.0, 1.0, 5.0], [1.0, 0.0, 3.0]])
def test_counts_become_ones(stored: list[float]):
    """A count is a bit that is set, a stored zero one that is not; what was given stays as it was."""
    x = sparse.csr_matrix((np.array(stored, np.float32), [0, 2, 1], [0, 2, 3]), shape=(2, 3))
    inputs = Inputs.of(x)
    np.testing.assert_array_equal(inputs.bits.toarray(), x.toarray() > 0)
    np.testing.assert_array_equal(x.data, stored)
    assert inputs.hidden.shape == inputs.descriptors.shape == (2, 0)


def test_a_negative_output_of_the_trunk_is_cut():
    """The hidden layer is used after ReLU, whatever the trunk's function is; what was given stays as it was."""
    hidden = np.float32([[-1, 2], [3, -4]])
    inputs = Inputs.of(sparse.csr_matrix((2, 3)), hidden)
    np.testing.assert_array_equal(inputs.hidden, [[0, 2], [3, 0]])
    np.testing.assert_array_equal(hidden, [[-1, 2], [3, -4]])
    assert Inputs.of(sparse.csr_matrix((2, 3)), inputs.hidden).hidden is inputs.hidden


def test_rows_are_chosen_of_every_kind_of_input():
    """Some rows, in any order, of bits, hidden layer and descriptors; dense has all side by side."""
    inputs, rows = random_inputs(4, 7, 3, 2), np.array([5, 0, 3])
    some = inputs[rows]
    assert some.n_compounds == 3
    np.testing.assert_array_equal(some.dense(), inputs.dense()[rows])
    np.testing.assert_array_equal(inputs.dense(), np.hstack([inputs.bits.toarray(), inputs.hidden, inputs.descriptors]))
