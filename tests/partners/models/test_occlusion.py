"""Contributions of atoms: sums of a linear model's weights; of any other model one prediction less another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from partners.models.occlusion import Floats, atom_contributions, without_atoms

N_BITS, N_TASKS = 12, 3


def made_up(seed: int, *, counts: bool) -> tuple[sparse.csr_matrix, list[sparse.csr_matrix]]:
    """Fingerprints of some compounds, and the bits of their atoms: each environment has some of the atoms."""
    rng = np.random.default_rng(seed)
    rows, atoms = [], []
    for n_atoms in rng.integers(1, 6, size=rng.integers(1, 5)):
        environments = rng.random((rng.integers(1, 9), n_atoms)) < 0.5
        bit = rng.integers(N_BITS, size=len(environments))
        of_bit = np.zeros((N_BITS, len(environments)))
        of_bit[bit, np.arange(len(environments))] = 1
        rows.append(of_bit.sum(axis=1) if counts else of_bit.any(axis=1))
        atoms.append(sparse.csr_matrix((of_bit @ environments).T.astype(np.float32)))
    return sparse.csr_matrix(np.array(rows, np.float32)), atoms


@given(seed=st.integers(0, 2**32 - 1), counts=st.booleans())
def test_of_a_linear_model_they_are_the_weights_of_the_atoms_bits(*, seed: int, counts: bool) -> None:
    """A bit's weight counts once, in a counted fingerprint once for each of its environments with the atom."""
    x, atoms = made_up(seed, counts=counts)
    weights = np.random.default_rng(seed).normal(size=(N_BITS, N_TASKS)).astype(np.float32)
    parts = atom_contributions(lambda x, _: x @ weights, x, None, atoms)
    assert [part.shape for part in parts] == [(compound.shape[0], N_TASKS) for compound in atoms]
    for part, compound in zip(parts, atoms, strict=True):
        dense = compound.toarray()
        np.testing.assert_allclose(part, (dense if counts else dense > 0) @ weights, atol=1e-4)


@given(seed=st.integers(0, 2**32 - 1), counts=st.booleans())
def test_of_any_model_they_are_two_predictions_less_each_other(*, seed: int, counts: bool) -> None:
    """The whole compound's, less that without the atom's bits; descriptors stay the compound's own."""
    x, atoms = made_up(seed, counts=counts)
    descriptors = np.random.default_rng(seed).random((x.shape[0], 2)).astype(np.float32)

    def scores(x: sparse.csr_matrix, descriptors: Floats | None) -> Floats:
        assert descriptors is not None
        total = np.asarray(x.sum(axis=1), np.float32)
        return np.hstack([np.sin(total), total * descriptors[:, :1], descriptors[:, 1:]])

    for row, part in enumerate(atom_contributions(scores, x, descriptors, atoms)):
        own = descriptors[[row]]
        whole = scores(x[[row]], own)
        for atom, contribution in enumerate(part):
            left = x[[row]].toarray() - np.minimum(x[[row]].toarray(), atoms[row][[atom]].toarray())
            np.testing.assert_allclose(contribution, (whole - scores(sparse.csr_matrix(left), own))[0], atol=1e-6)
        assert not part[:, 2].any()


def test_all_compounds_are_predicted_together() -> None:
    """Two calls of the model for any number of compounds; none for none."""
    x, atoms = made_up(3, counts=False)
    n_rows: list[int] = []

    def scores(x: sparse.csr_matrix, _: Floats | None) -> Floats:
        n_rows.append(x.shape[0])
        return np.zeros((x.shape[0], 1), np.float32)

    atom_contributions(scores, x, None, atoms)
    assert n_rows == [x.shape[0], sum(compound.shape[0] for compound in atoms)]
    assert atom_contributions(scores, x[:0], None, []) == []
    assert len(n_rows) == 2


@pytest.mark.parametrize(("count", "n_with_atom", "left"), [(1, 1, 0), (1, 3, 0), (3, 1, 2), (3, 0, 3)])
def test_what_is_left_of_a_count(count: int, n_with_atom: int, left: int) -> None:
    """Nothing that is 0 is stored."""
    rest = without_atoms(sparse.csr_matrix([[np.float32(count)]]), sparse.csr_matrix([[np.float32(n_with_atom)]]))
    assert rest.toarray().tolist() == [[left]]
    assert rest.nnz == (left > 0)
