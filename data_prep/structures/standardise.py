"""Standard form, Murcko scaffold and fingerprint bits of one structure, as MELLODDY-TUNER makes them.

The steps and their order are MELLODDY-TUNER's (charge parent, isotopes, stereo, tautomer, metals, normalisation,
reionisation, SMILES round trip). Steps that provably cannot change the molecule are skipped.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.MolStandardize import rdMolStandardize

from data_prep.settings import Chemistry, Fingerprint

# Before salts are stripped only the raw size can be limited; the limit of the parent is checked later.
_CHARACTERS_PER_ATOM = 100
_RAW_ATOMS_PER_ATOM = 10
# Limits of the normaliser's work, which grows with a high power of it: seconds here, minutes at five times as much.
_MOST_SULFOXIDES = 40
_MOST_TO_CLEAN = 200  # charges, metals and the like

# RDKit's metal disconnector, normaliser, reioniser and uncharger act on metals, on charges, on neutral sulfoxides and
# on metaphosphates (every other neutral pattern among RDKit's normalisations has a five-valent N, which no sanitised
# molecule contains). A nitro group is already as they would leave it. So a single fragment of the elements below,
# without explicit hydrogens, charges outside nitro groups and three-connected S or P passes through all unchanged.
_NEEDS_CLEANING = Chem.MolFromSmarts(
    "[$([!#6;!#7;!#8;!#9;!#15;!#16;!#17;!#35;!#53]),"
    "$([!+0;!$([N+](=[OX1])([OX1-])[#6]);!$([OX1-][N+](=[OX1])[#6])]),"
    "$([#15,#16;X3])]"
)
_SULFOXIDE = Chem.MolFromSmarts("[#15,#16;X3]")
_ISOTOPE = Chem.MolFromSmarts("[!0*]")


@dataclass(frozen=True, slots=True)
class Structure:
    """A standardised structure; `bits` are not permuted yet."""

    smiles: str  # canonical
    murcko: str | None  # None: acyclic
    bits: NDArray[np.int64]  # ascending
    counts: NDArray[np.int64]  # of each bit; ones for a binary fingerprint


class NotAccepted(ValueError):
    """A structure is rejected; `reason` is the code in the table of rejected rows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def standardiser(chemistry: Chemistry, fingerprint: Fingerprint) -> "Standardiser":
    """Return this process's standardiser for these settings; making its RDKit objects costs more than a molecule."""
    return Standardiser(chemistry, fingerprint)


class Standardiser:
    """Standardises structures with RDKit's objects, which are made once."""

    def __init__(self, chemistry: Chemistry, fingerprint: Fingerprint) -> None:
        self._chemistry = chemistry
        self._tautomers = rdMolStandardize.TautomerEnumerator()
        self._tautomers.SetMaxTautomers(chemistry.max_tautomers)
        self._tautomers.SetMaxTransforms(chemistry.max_transforms)
        self._tautomers.SetRemoveSp3Stereo(False)  # noqa: FBT003 - RDKit takes no keywords here
        self._metals = rdMolStandardize.MetalDisconnector()
        self._normaliser = rdMolStandardize.Normalizer()
        self._reioniser = rdMolStandardize.Reionizer()
        self._fragments = rdMolStandardize.LargestFragmentChooser()
        self._uncharger = rdMolStandardize.Uncharger()
        self._counted = fingerprint.counts
        self._morgan = morgan_generator(fingerprint)

    def structure(self, smiles: str | None) -> Structure:
        """Return the standard form of `smiles`.

        Raises NotAccepted with reason `empty`, `unparsable`, `too_large`, `too_complex` or `standardisation_failed`.
        """
        mol = self._parse(smiles)
        try:
            canonical, mol = self._standard_form(mol)
            return Structure(canonical, murcko_scaffold(mol), *self._fingerprint(mol))
        except NotAccepted:
            raise
        # RDKit's sanitisation errors, broken invariants, and C++ exceptions that arrive as these
        except (ValueError, RuntimeError, IndexError, KeyError, OverflowError) as failure:
            raise NotAccepted("standardisation_failed") from failure

    def _fingerprint(self, mol: Chem.Mol) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # twice as fast as RDKit's numpy arrays of all n_bits, with or without counts
        count_of_bit = dict(sorted(self._morgan.GetCountFingerprint(mol).GetNonzeroElements().items()))
        bits = np.fromiter(count_of_bit, np.int64, len(count_of_bit))
        return bits, np.fromiter(count_of_bit.values(), np.int64, len(bits)) if self._counted else np.ones_like(bits)

    def _parse(self, smiles: str | None) -> Chem.Mol:
        if smiles is None or not smiles.strip():
            raise NotAccepted("empty")
        limit = self._chemistry.max_heavy_atoms
        if len(smiles) > _CHARACTERS_PER_ATOM * limit:
            raise NotAccepted("too_large")
        try:
            mol = Chem.MolFromSmiles(smiles)
        except ValueError:  # characters that no text file holds
            mol = None
        if mol is None:
            raise NotAccepted("unparsable")
        if mol.GetNumAtoms() == 0:
            raise NotAccepted("empty")
        if mol.GetNumHeavyAtoms() > _RAW_ATOMS_PER_ATOM * limit:
            raise NotAccepted("too_large")
        if _more_than(_MOST_SULFOXIDES, _SULFOXIDE, mol) or _more_than(_MOST_TO_CLEAN, _NEEDS_CLEANING, mol):
            raise NotAccepted("too_complex")
        return mol

    def _standard_form(self, mol: Chem.Mol) -> tuple[str, Chem.Mol]:
        mol = self._parent(mol)
        if mol.GetNumHeavyAtoms() > self._chemistry.max_heavy_atoms:
            raise NotAccepted("too_large")
        if rdMolDescriptors.CalcNumRings(mol) > self._chemistry.max_rings:  # no later step makes a ring
            raise NotAccepted("too_complex")
        if mol.HasSubstructMatch(_ISOTOPE):
            for atom in mol.GetAtoms():
                atom.SetIsotope(0)
        if not self._chemistry.include_stereo:
            Chem.RemoveStereochemistry(mol)
        if self._chemistry.tautomers == "canonical":
            mol = self._tautomers.Canonicalize(mol)
            Chem.SanitizeMol(mol)
        if not _needs_no_cleaning(mol):
            Chem.SanitizeMol(mol)
            mol = self._clean(mol)
        Chem.AssignStereochemistry(mol, force=True, cleanIt=True)
        return _round_trip(mol)

    def _parent(self, mol: Chem.Mol) -> Chem.Mol:
        """Return the charge parent as RDKit's ChargeParent does, but with objects made once."""
        if _needs_no_cleaning(mol):
            return mol
        mol = self._fragments.choose(self._cleanup(mol))
        return self._cleanup(self._uncharger.uncharge(mol))

    def _cleanup(self, mol: Chem.Mol) -> Chem.Mol:
        mol = self._clean(mol)
        Chem.AssignStereochemistry(mol, force=True, cleanIt=True)
        return mol

    def _clean(self, mol: Chem.Mol) -> Chem.Mol:
        mol = self._metals.Disconnect(Chem.RemoveHs(mol))
        return self._reioniser.reionize(self._normaliser.normalize(mol))


def morgan_generator(fingerprint: Fingerprint) -> rdFingerprintGenerator.FingerprintGenerator64:
    """Return RDKit's generator of these fingerprints."""
    features = rdFingerprintGenerator.GetMorganFeatureAtomInvGen() if fingerprint.features else None
    return rdFingerprintGenerator.GetMorganGenerator(
        radius=fingerprint.radius,
        fpSize=fingerprint.n_bits,
        includeChirality=fingerprint.chirality,
        atomInvariantsGenerator=features,
    )


def smiles_of_mol_block(block: str) -> str | None:
    """Return the SMILES of a mol block as drawn, None if RDKit cannot read it."""
    try:
        mol = Chem.MolFromMolBlock(block)
        return None if mol is None else Chem.MolToSmiles(mol)
    except (ValueError, RuntimeError):
        return None


def murcko_scaffold(mol: Chem.Mol) -> str | None:
    """Return the SMILES of the Murcko scaffold as RDKit's MurckoScaffold module makes it, None for an acyclic one."""
    if not mol.GetRingInfo().NumRings():
        return None
    scaffold = Chem.MurckoDecompose(mol)
    scaffold.ClearComputedProps()
    scaffold.UpdatePropertyCache()
    Chem.GetSymmSSSR(scaffold)
    return Chem.MolToSmiles(scaffold) or None


def _more_than(most: int, pattern: Chem.Mol, mol: Chem.Mol) -> bool:
    return mol.GetNumAtoms() > most and len(mol.GetSubstructMatches(pattern, maxMatches=most + 1)) > most


def _needs_no_cleaning(mol: Chem.Mol) -> bool:
    return not mol.HasSubstructMatch(_NEEDS_CLEANING) and len(Chem.GetMolFrags(mol)) == 1


def _round_trip(mol: Chem.Mol) -> tuple[str, Chem.Mol]:
    """Return the canonical SMILES after a round trip, and the molecule that reading it gives.

    Even for a SMILES that was canonical: after the tautomer step a molecule may hold marks that fingerprints with
    chirality see and its SMILES does not.
    """
    first = Chem.MolToSmiles(mol)
    mol = read_canonical(first)
    canonical = Chem.MolToSmiles(mol)
    return canonical, mol if canonical == first else read_canonical(canonical)


def read_canonical(smiles: str) -> Chem.Mol:
    """Return the molecule of a canonical SMILES; raises NotAccepted if RDKit cannot read it."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise NotAccepted("standardisation_failed")
    return mol
