"""Contribution of each atom of a compound to its predictions, for any kind of model.

An atom's contribution is the prediction minus the prediction without the fingerprint bits whose environments contain
the atom (occlusion; Riniker and Landrum, J. Cheminform. 2013, 5, 43). For a model that is linear in the bits it is the
sum of their weights. Descriptors stay those of the whole compound.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]


class Scores(Protocol):
    """A model as a function of fingerprints, and of descriptors if it uses them."""

    def __call__(self, x: sparse.csr_matrix, descriptors: Floats | None, /) -> Floats:
        """Return one number for each compound and task, (n, n_tasks)."""


def atom_contributions(
    scores: Scores, x: sparse.csr_matrix, descriptors: Floats | None, atoms: Sequence[sparse.csr_matrix]
) -> list[Floats]:
    """Contributions of each compound's atoms, (n_atoms, n_tasks), in the units of the scores.

    x     : (n, n_bits) fingerprints
    atoms : for each compound (n_atoms, n_bits): how many environments of each bit contain the atom
    All compounds without each of their atoms are predicted in one call.
    """
    n_atoms = [compound.shape[0] for compound in atoms]
    if not sum(n_atoms):
        return [np.zeros((0, 0), np.float32) for _ in atoms]
    compound = np.repeat(np.arange(len(atoms)), n_atoms)
    occluded = without_atoms(x[compound], sparse.csr_matrix(sparse.vstack(atoms)))
    change = scores(x, descriptors)[compound] - scores(occluded, None if descriptors is None else descriptors[compound])
    return np.split(change, np.cumsum(n_atoms)[:-1])


def without_atoms(x: sparse.csr_matrix, atoms: sparse.csr_matrix) -> sparse.csr_matrix:
    """Fingerprints, (n, n_bits), without an atom each: a count loses the atom's environments, a bit is removed.

    atoms : (n, n_bits) how many environments of each bit contain the atom of this row
    """
    left = sparse.csr_matrix(x - x.minimum(atoms))
    left.eliminate_zeros()
    left.sort_indices()
    return left
