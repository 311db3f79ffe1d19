"""Results for many structures do not depend on processes, order or the other structures."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.structures import fold_scaffolds, standardise_all

KEEP = Chemistry(tautomers="keep")


def by_smiles(smiles, structures):
    return {
        text: (
            structures.smiles[i],
            structures.murcko[i],
            structures.reasons[i],
            structures.bits[structures.starts[i] : structures.starts[i + 1]].tolist(),
        )
        for i, text in enumerate(smiles)
    }


def test_partner_independence(golden):
    """Split at random in three parts, shuffled, in one process or two, each structure has the same result."""
    smiles = [*golden["smiles"].gather_every(3), "no structure", "", "CC.[Na+]"]
    whole = by_smiles(smiles, standardise_all(smiles, KEEP, Fingerprint()))
    rng = np.random.default_rng(3)
    order = rng.permutation(len(smiles))
    for workers, part in zip((1, 2, 1), np.array_split(order, 3), strict=True):
        mine = [smiles[i] for i in part]
        structures = by_smiles(mine, standardise_all(mine, KEEP, Fingerprint(), workers=workers))
        assert structures == {text: whole[text] for text in mine}


def test_progress_counts_structures():
    """The callback gets the finished and total numbers; the last call reports all."""
    calls = []
    standardise_all(["CC"] * 150, KEEP, Fingerprint(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(32, 150), (64, 150), (96, 150), (128, 150), (150, 150)]


def test_progress_counts_scaffolds():
    """Progress of fold scaffolds counts each distinct scaffold once."""
    calls: list[tuple[int, int]] = []
    murcko = [f"C1CC1{'C' * i}C1CC1" for i in range(40)] * 2
    fold_scaffolds([*murcko, None], progress=lambda done, total, _note="": calls.append((done, total)))
    assert calls == [(10, 40), (20, 40), (30, 40), (40, 40)]


def test_nothing_gives_nothing():
    """No structures give empty results, and 0 workers are refused."""
    structures = standardise_all([], KEEP, Fingerprint())
    assert (structures.smiles, structures.bits.size, structures.starts.tolist()) == ([], 0, [0])
    with pytest.raises(ValueError, match="workers: found 0"):
        standardise_all(["C"], KEEP, Fingerprint(), workers=0)


@pytest.mark.parametrize("smiles", ["CC(=O)Oc1ccccc1C(=O)O", "c1ccc2[nH]ccc2c1CCN", "C[C@H](N)C(=O)O"])
@pytest.mark.parametrize("options", [{}, {"counts": True}, {"features": True}, {"chirality": True}, {"radius": 2}])
def test_fingerprints_are_rdkits_own(smiles, options):
    """Bits and counts with every option are those of RDKit's generator with that option."""
    stereo = Chemistry(tautomers="keep", include_stereo=True)
    structures = standardise_all([smiles], stereo, Fingerprint(n_bits=2048, **options))
    invariants = rdFingerprintGenerator.GetMorganFeatureAtomInvGen() if "features" in options else None
    generator = rdFingerprintGenerator.GetMorganGenerator(
        radius=options.get("radius", 3), fpSize=2048,
        includeChirality="chirality" in options, atomInvariantsGenerator=invariants,
    )  # fmt: skip
    expected = dict(sorted(generator.GetCountFingerprint(Chem.MolFromSmiles(smiles)).GetNonzeroElements().items()))
    assert structures.bits.tolist() == list(expected)
    assert structures.counts.tolist() == (list(expected.values()) if "counts" in options else [1] * len(expected))


def test_enantiomers_differ_with_chirality_alone():
    """Enantiomers differ in bits with chirality, if stereo is kept; without it they share their bits."""
    stereo, pair = Chemistry(tautomers="keep", include_stereo=True), ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"]
    for chirality in (False, True):
        structures = standardise_all(pair, stereo, Fingerprint(chirality=chirality))
        left, right = np.split(structures.bits, structures.starts[1:-1])
        assert (left.tolist() == right.tolist()) is not chirality


_ARM = "c1cc(-c2ccccc2)cc(-c2ccccc2)c1"
STAR_OF_73 = f"C({_ARM})({_ARM})({_ARM}){_ARM}"  # costs RDKit's network seconds
HUB = (
    "C[n+]1ccc(cc1)-c1c(-c2ccsc2)c(-c2ccoc2)c(Cc2c(-c3cncnc3)c(-c3cccnc3)c(-c3ccccc3)c(C3CC3)c2C2CCC2)"
    "c(C2CCCC2)c1C1CCNC1"
)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CS(=O)" * 300 + "C", "too_complex"),  # the normaliser: minutes
        ("C[S+2]([O-])([O-])" * 240 + "C", "too_complex"),  # the same
        ("c1ccccc1.[Na+].[Cl-]" + ".[Na+].[Cl-]" * 100, "too_complex"),
        ("C1CC1" * 13, "too_complex"),
    ],
)
def test_runaway_structures_are_refused_by_their_work(smiles, reason):
    """Limits count work, not time, so every partner refuses the same structures."""
    assert standardise_all([smiles], Chemistry(), Fingerprint()).reasons == [reason]


def test_runaway_scaffolds_are_refused_by_their_work():
    """A charged hub of eleven different rings, a thousand nodes of RDKit's network, is refused; a plain star is not."""
    structures = standardise_all([HUB, STAR_OF_73], KEEP, Fingerprint())
    scaffolds = fold_scaffolds(structures.murcko)
    assert scaffolds.refused == {structures.murcko[0]: "too_complex"}
    assert Chem.MolFromSmiles(STAR_OF_73).GetNumAtoms() == 73
    assert scaffolds[structures.murcko[1]] is not None
