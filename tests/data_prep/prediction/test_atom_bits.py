"""The atoms behind each bit are those that RDKit itself removes a bit for."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.Draw import SimilarityMaps

from data_prep.prediction.atom_bits import AtomBitsStep, atom_bits
from data_prep.prediction.fingerprints import fingerprint
from data_prep.settings import Chemistry, Fingerprint

SMILES = [
    "CCO",
    "C",
    "c1ccccc1",
    "CCN(CC)c1ccc(C(=O)Nc2ccccc2S(N)(=O)=O)cc1",
    "C[C@H](N)C(=O)O",
    "COc1ccc2[nH]cc(CCN(C)C)c2c1F",
    "C1CC2CCC1C2",
    "O=C(O)C1CCCCC1.Cl",
]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("radius", [0, 2, 3])
@pytest.mark.parametrize("features", [False, True])
def test_removing_an_atoms_bits_is_what_rdkits_similarity_maps_do(*, radius: int, features: bool) -> None:
    """The bits that are left without an atom, for every atom, with folding that makes bits collide."""
    settings = Fingerprint(radius=radius, n_bits=64, features=features)
    positions = RNG.permutation(64)
    for smiles, atoms in zip(SMILES, atom_bits(SMILES, settings, positions), strict=True):
        assert atoms is not None
        mol = Chem.MolFromSmiles(smiles)
        assert atoms.symbols == [atom.GetSymbol() for atom in mol.GetAtoms()]
        every = set(atoms.counts.indices)
        for atom in range(mol.GetNumAtoms()):
            without = SimilarityMaps.GetMorganFingerprint(
                mol, atom, radius=radius, nBits=64, fpType="bv", useFeatures=features
            )
            expected = {int(positions[bit]) for bit in without.GetOnBits()}
            assert every - set(atoms.counts[[atom]].indices) == expected


@pytest.mark.parametrize("counts", [False, True])
def test_every_bit_of_a_fingerprint_has_its_atoms(*, counts: bool) -> None:
    """At radius 0 an environment is one atom, so the atoms' counts add up to the fingerprint's."""
    settings, positions = Fingerprint(radius=0, n_bits=512, counts=counts), RNG.permutation(512)
    made = fingerprint(SMILES, Chemistry(), settings, positions)
    for row, atoms in enumerate(atom_bits(made.smiles, settings, positions)):
        assert atoms is not None
        total = np.asarray(atoms.counts.sum(axis=0)).ravel()
        np.testing.assert_array_equal(total if counts else total > 0, made.x[[row]].toarray().ravel())


def test_a_structure_that_cannot_be_read_has_no_atoms() -> None:
    """The others keep theirs; no structure gives none; settings are part of the step's identity."""
    (bad, good) = atom_bits(["C1CC", "CC"], Fingerprint(n_bits=64), np.arange(64))
    assert bad is None
    assert good is not None
    assert good.symbols == ["C", "C"]
    assert atom_bits([], Fingerprint(n_bits=64), np.arange(64)) == []
    assert AtomBitsStep(Fingerprint(radius=1)).identity() != AtomBitsStep(Fingerprint(radius=2)).identity()
