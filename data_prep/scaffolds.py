"""The fold scaffold: the part of a Murcko scaffold with about three rings that stands for its chemical series."""

from functools import cache

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import rdScaffoldNetwork

_TARGET_RINGS = 3
_LARGE_RING = 9  # atoms; rings beyond are macrocycles
_USUAL_RINGS = (5, 6)  # atoms


def fold_scaffold(murcko: str) -> str:
    """Return the fold scaffold of a Murcko scaffold (both SMILES).

    A scaffold of at most three rings is its own fold scaffold. Of a larger one RDKit's scaffold network is made
    and the node that comes first by MELLODDY-TUNER's order (after the Scaffold Tree rules) is taken.
    Raises ValueError or RuntimeError where RDKit cannot read or take apart the scaffold.
    """
    mol = _read(murcko)
    if rdMolDescriptors.CalcNumRings(mol) <= _TARGET_RINGS:
        return murcko
    nodes = rdScaffoldNetwork.CreateScaffoldNetwork([mol], _network_settings()).nodes
    return min((str(node) for node in nodes), key=_preference)


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
    """Return the sort key of a network node; the first in order is taken."""
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
