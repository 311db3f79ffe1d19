"""Fold scaffolds: the part of a Murcko scaffold with about three rings that represents its chemical series."""

import re
from functools import cache

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import rdScaffoldNetwork

from data_prep.structures.standardise import NotAccepted, murcko_scaffold

_TARGET_RINGS = 3
_CARBON = 6
_CUT = Chem.MolFromSmarts("[R]-!@[*]")
_PLAIN = re.compile(r"(?:[^][@/\\.*]|\[nH\])+")  # SMILES whose only bracket atom is [nH]; others need RDKit's network
_LARGE_RING = 9  # atoms; rings beyond are macrocycles
_USUAL_RINGS = (5, 6)  # atoms
# Limits on work, not time, since partners must agree: the most parts of a scaffold that are examined.
_MOST_PARTS = 20_000  # by this module: a second
_MOST_NODES = 300  # by RDKit's network: some seconds


def fold_scaffold(murcko: str) -> str:
    """Return the fold scaffold of a Murcko scaffold (both SMILES).

    A scaffold of at most three rings is its own fold scaffold. A larger one is fragmented into the nodes of RDKit's
    scaffold network, and the first node by MELLODDY-TUNER's order (after the Scaffold Tree rules) is chosen.
    Raises NotAccepted (`too_complex`) for a scaffold with too many parts, ValueError or RuntimeError if RDKit cannot
    read or fragment the scaffold.
    """
    mol = _read(murcko)
    if rdMolDescriptors.CalcNumRings(mol) <= _TARGET_RINGS:
        return murcko
    plain = _PLAIN.fullmatch(murcko) and murcko_scaffold(mol) == murcko
    nodes = _closest_nodes(mol) if plain else _network_nodes(mol)
    return nodes.pop() if len(nodes) == 1 else min(nodes or {murcko}, key=_preference)


def _closest_nodes(mol: Chem.Mol) -> set[str]:
    """Return the nodes of the scaffold network whose number of rings is closest to three.

    RDKit's network breaks, one after the other, single bonds between a ring atom and an atom outside that ring and
    keeps the ring atom's side. Any order of breaks leaves a connected set of atoms, so sets of atoms (as the bits of
    an int) are enough here, none is broken further once it has three rings, and only the closest become molecules:
    three times as fast as RDKit's network.
    """
    n_rings = _parts(mol, down_to=_TARGET_RINGS, most=_MOST_PARTS)
    closest = min(abs(n - _TARGET_RINGS) for n in n_rings.values())
    cuts = _cuts(mol)
    return {_smiles_of(mol, part, cuts) for part, n in n_rings.items() if abs(n - _TARGET_RINGS) == closest}


def _network_nodes(mol: Chem.Mol) -> set[str]:
    """Return the nodes of RDKit's own network, whose time grows with the number of parts."""
    _parts(mol, down_to=0, most=_MOST_NODES)
    return {str(node) for node in rdScaffoldNetwork.CreateScaffoldNetwork([mol], _network_settings()).nodes}


def _parts(mol: Chem.Mol, *, down_to: int, most: int) -> dict[int, int]:
    """Return the parts that breaking bonds leaves, as sets of atoms, with their numbers of rings.

    Parts with no more than `down_to` rings are not broken. Raises NotAccepted (`too_complex`) beyond `most` parts.
    """
    rings = [sum(1 << atom for atom in ring) for ring in mol.GetRingInfo().AtomRings()]
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    sides = [((1 << ring_atom) | (1 << other), _side(bonds, ring_atom, other)) for ring_atom, other in _cuts(mol)]
    whole = (1 << mol.GetNumAtoms()) - 1
    n_rings = {whole: len(rings)}
    to_break = [whole]
    while to_break:
        part = to_break.pop()
        for ends, side in sides:
            smaller = part & side
            if part & ends == ends and smaller not in n_rings:
                n_rings[smaller] = sum(ring & smaller == ring for ring in rings)
                if n_rings[smaller] > down_to:
                    to_break.append(smaller)
        if len(n_rings) > most:
            raise NotAccepted("too_complex")
    return n_rings


def _cuts(mol: Chem.Mol) -> tuple[tuple[int, int], ...]:
    """Return the bonds that may be broken, as (ring atom, atom outside of that ring)."""
    cuts: tuple[tuple[int, int], ...] = mol.GetSubstructMatches(_CUT, uniquify=False, maxMatches=10_000)
    return cuts


def _side(bonds: list[tuple[int, int]], ring_atom: int, other: int) -> int:
    """Return the atoms on the ring atom's side of a bond that is in no ring."""
    atoms, before = 1 << ring_atom, 0
    while atoms != before:
        before = atoms
        for begin, end in bonds:
            if (atoms >> begin ^ atoms >> end) & 1 and {begin, end} != {ring_atom, other}:
                atoms |= 1 << begin | 1 << end
    return atoms


def _smiles_of(mol: Chem.Mol, part: int, cuts: tuple[tuple[int, int], ...]) -> str:
    kept = Chem.RWMol(mol)
    for ring_atom, other in cuts:
        atom = kept.GetAtomWithIdx(ring_atom)
        if part >> ring_atom & 1 and not part >> other & 1 and atom.GetIsAromatic() and atom.GetAtomicNum() != _CARBON:
            atom.SetNoImplicit(True)  # noqa: FBT003 - RDKit takes no keywords here
            atom.SetNumExplicitHs(1)
    kept.BeginBatchEdit()
    for index in range(mol.GetNumAtoms()):
        if not part >> index & 1:
            kept.RemoveAtom(index)
    kept.CommitBatchEdit()
    Chem.SanitizeMol(kept)
    return Chem.MolToSmiles(kept)


@cache
def _network_settings() -> rdScaffoldNetwork.ScaffoldNetworkParams:
    settings = rdScaffoldNetwork.ScaffoldNetworkParams()
    choices = {
        "flattenIsotopes": True,
        "includeGenericBondScaffolds": False,
        "includeGenericScaffolds": False,
        "includeScaffoldsWithAttachments": False,
        "includeScaffoldsWithoutAttachments": True,
        "pruneBeforeFragmenting": True,
    }
    for name, value in choices.items():
        setattr(settings, name, value)
    return settings


def _preference(smiles: str) -> tuple[object, ...]:
    """Return the sort key of a network node; the smallest is chosen."""
    mol = _read(smiles)
    sizes = [len(ring) for ring in mol.GetRingInfo().AtomRings()]
    return (
        abs(rdMolDescriptors.CalcNumRings(mol) - _TARGET_RINGS),
        -any(size > _LARGE_RING for size in sizes),
        rdMolDescriptors.CalcNumRotatableBonds(mol, strict=False),
        -rdMolDescriptors.CalcNumBridgeheadAtoms(mol),
        -rdMolDescriptors.CalcNumSpiroAtoms(mol),
        -any(size not in _USUAL_RINGS for size in sizes),
        -rdMolDescriptors.CalcNumHeterocycles(mol),
        rdMolDescriptors.CalcNumAromaticRings(mol),
        smiles,
    )


def _read(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError("RDKit cannot read back a scaffold it wrote")
    return mol
