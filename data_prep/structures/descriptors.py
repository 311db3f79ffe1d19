"""RDKit's descriptors of one structure."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Descriptors

from data_prep.descriptors.listed import DESCRIPTORS

_FAILURES = (ValueError, ArithmeticError, LookupError, RuntimeError)  # of RDKit's Python and C++ for odd structures
_FUNCTIONS: dict[str, Callable[..., float]] = dict(Descriptors._descList)  # noqa: SLF001 - its only list
_INDICES = ("MaxAbsEStateIndex", "MaxEStateIndex", "MinAbsEStateIndex", "MinEStateIndex")


def descriptors_of(smiles: str) -> NDArray[np.float32]:
    """Return the descriptors of a standardised structure, (n_descriptors,) in the order of DESCRIPTORS.

    NaN where RDKit fails or its number is not finite in float32; NaN throughout for a text that it cannot read.
    """
    mol: Chem.Mol | None = Chem.MolFromSmiles(smiles)
    if mol is None:
        return np.full(len(DESCRIPTORS), np.nan, np.float32)
    exact = np.array([_descriptor(name, mol) for name in DESCRIPTORS])
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32) + np.float32(0)  # no -0
    return np.where(np.isfinite(rounded), rounded, np.float32(np.nan))


def _descriptor(name: str, mol: Chem.Mol) -> float:
    try:
        if name in _INDICES:
            return float(_FUNCTIONS[name](mol, force=False))  # else each of the four computes the same again
        return float(_FUNCTIONS[name](mol))
    except _FAILURES:
        return np.nan
