"""Standardisation of one structure: the peer's standard forms, and a reason for each rejected structure."""

import numpy as np
import polars as pl
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

from data_prep.folds.consistency import reference_smiles
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures.standardise import NotAccepted, Standardiser

KEEP = Standardiser(Chemistry(tautomers="keep"), Fingerprint())
FULL = Standardiser(Chemistry(), Fingerprint())

TRICKY = (
    "[Cl]",
    "[35Cl]",
    "[Cl-]",
    "[Br]",
    "O=[N+]([O-])c1ccc([O-])cc1",
    "O=N(=O)c1ccccc1",
    "C[N+](=O)[O-].[Na+]",
    "CC(=O)[O-].[NH4+]",
    "O=S(=O)(O)c1ccc([N+](=O)[O-])cc1C(=O)[O-]",
    "C[S+]([O-])C",
    "CS(=O)CC(=O)O",
    "CP(C)(=O)O",
    "CP(C)C",
    "O=P(=O)C",
    "CN=N#N",
    "[N-]=[N+]=NCc1ccccc1",
    "C=[N+]=[N-]",
    "[O-][N+](=O)OCC",
    "C[n+]1ccccc1.[I-]",
    "[H]/N=C(/N)c1ccccc1",
    "[2H]OC",
    "[H][H]",
    "c1ccccc1[B-](F)(F)F.[K+]",
    "Cl",
    "Cl(=O)(=O)(=O)O",
    "C1CC1.C1CCC1",
    "[Na]OC(=O)C",
    "O=C([O-])CC[NH3+]",
    "[O-]c1ccc(N=[N+]=[N-])cc1",
    "CC(=O)Oc1ccccc1C(=O)O",
)


def _plain_steps(smiles: str) -> str:
    """Run the peer's steps without tautomers, each by RDKit and none skipped."""
    mol = rdMolStandardize.ChargeParent(Chem.MolFromSmiles(smiles))
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    Chem.RemoveStereochemistry(mol)
    Chem.SanitizeMol(mol)
    mol = rdMolStandardize.MetalDisconnector().Disconnect(Chem.RemoveHs(mol))
    mol = rdMolStandardize.Reionizer().reionize(rdMolStandardize.Normalizer().normalize(mol))
    Chem.AssignStereochemistry(mol, force=True, cleanIt=True)
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))


def _outcome(standardiser: Standardiser, smiles: str | None) -> str:
    try:
        return standardiser.structure(smiles).smiles
    except NotAccepted as refusal:
        return refusal.reason


def test_standardised_structures_are_the_peers(golden, standardised):
    """All 1,543 golden structures get the peer's canonical SMILES and Murcko scaffold."""
    assert standardised.smiles == golden["canonical_smiles"].to_list()
    assert standardised.murcko == golden["murcko_scaffold"].to_list()
    assert set(standardised.reasons) == {None}


def test_hundred_structures_of_the_peers_unit_test(shared, golden, standardised):
    """The 100 pairs of standardized.csv hold (they are among the golden structures or are standardised here)."""
    known = dict(zip(golden["smiles"], standardised.smiles, strict=True))
    pairs = pl.read_csv(shared / "golden/tuner/standardized.csv")
    for smiles, canonical in zip(pairs["smiles"], pairs["canonical_smiles"], strict=True):
        assert (known.get(smiles) or FULL.structure(smiles).smiles) == canonical


REFUSALS = {"empty", "unparsable", "too_large", "too_complex"}
ACCEPTED = [smiles for smiles in reference_smiles() if _outcome(KEEP, smiles) not in REFUSALS]


@pytest.mark.parametrize("smiles", [*TRICKY, *ACCEPTED])
def test_skipped_steps_change_nothing(smiles):
    """Skipping steps that change nothing gives the result of all of RDKit's steps."""
    assert _outcome(KEEP, smiles) == _plain_steps(smiles)


def test_skipped_steps_change_nothing_in_golden_structures(golden):
    """Skipping steps changes no result for a sample of real structures."""
    for smiles in golden["smiles"].gather_every(12):
        assert _outcome(KEEP, smiles) == _plain_steps(smiles)


def test_bits_and_scaffold_are_rdkits_own(golden):
    """Bits and Murcko scaffold are those RDKit gives for the canonical SMILES read afresh."""
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_000)
    for smiles in golden["smiles"].gather_every(60):
        structure = KEEP.structure(smiles)
        mol = Chem.MolFromSmiles(structure.smiles)
        assert structure.bits.tolist() == list(morgan.GetFingerprint(mol).GetOnBits())
        assert (structure.murcko or "") == Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol))
        assert np.all(np.diff(structure.bits) > 0)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        ("  ", "empty"),
        ("not a structure", "unparsable"),
        ("C1CC", "unparsable"),
        ("C(C)(C)(C)(C)C", "unparsable"),
        ("C\x00C", "unparsable"),
        ("C" * 101, "too_large"),
        ("C" * 10_000_000, "too_large"),
        (".".join(["CCCCC"] * 201), "too_large"),
        ("C1CC1" * 13, "too_complex"),
    ],
)
def test_refused_structures_have_a_reason(smiles, reason):
    """Every invalid structure gets a reason code, however long its SMILES."""
    assert _outcome(KEEP, smiles) == reason


def test_limits_include_their_number():
    """Exactly max_heavy_atoms and exactly max_rings are accepted, and salts do not count."""
    assert _outcome(KEEP, "C" * 100) == "C" * 100
    assert _outcome(KEEP, "C" * 99 + "O." + "O." * 50 + "[Na+].[Cl-]") != "too_large"
    assert _outcome(KEEP, "C1CC1" * 12) != "too_complex"


def test_stereo_is_kept_on_demand():
    """With include_stereo enantiomers stay different, without it they are one structure."""
    left, right = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"
    keep = Standardiser(Chemistry(tautomers="keep", include_stereo=True), Fingerprint())
    assert _outcome(keep, left) != _outcome(keep, right)
    assert _outcome(KEEP, left) == _outcome(KEEP, right) == "CC(N)C(=O)O"


@pytest.mark.parametrize(("one", "other"), [("Oc1ccccn1", "O=c1cccc[nH]1"), ("CC(O)=CC(C)=O", "CC(=O)CC(C)=O")])
def test_tautomers(one, other):
    """Tautomers have one standard form, unless the settings keep them as drawn."""
    assert _outcome(FULL, one) == _outcome(FULL, other)
    assert _outcome(KEEP, one) != _outcome(KEEP, other)


DRAWN_OTHERWISE = "CC(=CCC\\C(=C\\Cc1c(O)cc(\\C=C\\c2ccc(O)cc2)cc1O)\\C)C"


def test_a_fingerprint_belongs_to_the_canonical_smiles():
    """The bits of every drawing of a structure are those of its canonical SMILES, with stereo and chirality too."""
    chiral = Standardiser(Chemistry(include_stereo=True), Fingerprint(chirality=True))
    drawn = chiral.structure(DRAWN_OTHERWISE)
    again = chiral.structure(drawn.smiles)
    assert (again.smiles, again.murcko) == (drawn.smiles, drawn.murcko)
    np.testing.assert_array_equal(again.bits, drawn.bits)
    whole = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_000, includeChirality=True)
    np.testing.assert_array_equal(
        drawn.bits, np.flatnonzero(whole.GetFingerprintAsNumPy(Chem.MolFromSmiles(drawn.smiles)))
    )


def test_a_lone_chlorine_is_hydrogen_chloride():
    """MELLODDY-TUNER's value: RDKit's reioniser makes a chloride of it, whose parent is the neutral acid."""
    assert FULL.structure("[Cl]").smiles == "Cl"


def test_a_mol_block_is_its_smiles():
    """A structure from an SD file has the standard form, scaffold and bits of the same structure as a SMILES."""
    for smiles in ("CC(=O)Oc1ccccc1C(=O)O.[Na]", "C[C@H](N)C(=O)O", "O=[N+]([O-])c1ccccc1"):
        mol = Chem.MolFromSmiles(smiles)
        for block in (Chem.MolToMolBlock(mol), Chem.MolToV3KMolBlock(mol)):
            from_block, from_smiles = FULL.structure(block), FULL.structure(smiles)
            assert (from_block.smiles, from_block.murcko) == (from_smiles.smiles, from_smiles.murcko)
            assert from_block.bits.tolist() == from_smiles.bits.tolist()


@pytest.mark.parametrize(
    ("block", "reason"), [("\n", "empty"), ("CCO\nno block\nM  END\n", "unparsable"), ("\n" * 10**6, "empty")]
)
def test_what_is_no_mol_block_is_refused(block, reason):
    """Several lines are never read as a SMILES, whose reading ends at the first blank."""
    assert _outcome(FULL, block) == reason


def test_too_long_mol_blocks_are_too_large():
    """A block of more lines than ten times the largest molecule has is not parsed."""
    assert _outcome(FULL, "title\n" + "0 " * 10**6) == "too_large"
