"""The atoms behind each fingerprint bit of standardised structures, from RDKit's own list of a bit's environments."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from scipy import sparse

from data_prep.settings import Fingerprint
from data_prep.structures.standardise import NotAccepted, morgan_generator, read_canonical
from data_prep.structures.steps import StepResult, identity_of
from data_prep.structures.structures import run_step
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True, eq=False)
class AtomBits:
    """The atoms of one structure, in the order of its canonical SMILES, and the bits that they are part of."""

    symbols: list[str]
    counts: sparse.csr_matrix  # (n_atoms, n_bits) float32: environments of the bit that contain the atom


def atom_bits(
    smiles: Sequence[str],
    settings: Fingerprint,
    positions: NDArray[np.int64],
    *,
    workers: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> list[AtomBits | None]:
    """Return the atoms of each structure with their bits; None if that takes longer than `timeout_s` or crashes.

    smiles    : canonical, as standardise_all returns them
    positions : (n_bits,) the column of each bit, as for data_prep.prediction.fingerprints.fingerprint
    """
    results = run_step(AtomBitsStep(settings), smiles, workers=workers, timeout_s=timeout_s)
    return [None if result.text is None else _unpacked(result, positions) for result in results]


@dataclass(frozen=True, slots=True)
class AtomBitsStep:
    """List the environments of a fingerprint that contain each atom, computed in a child process."""

    fingerprint: Fingerprint

    def make(self, text: str | None) -> StepResult:
        """Return the atoms' symbols and (atom, bit, number of environments) as int32 triples, or a reason."""
        try:
            mol = read_canonical(text or "")
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        symbols = " ".join(atom.GetSymbol() for atom in mol.GetAtoms())
        counts = Counter(_memberships(mol, self.fingerprint))
        triples = np.array([(*pair, counts[pair]) for pair in sorted(counts)], "<i4")
        return StepResult(symbols, numbers=triples.tobytes())

    def identity(self) -> bytes:
        """Return settings and versions as JSON bytes."""
        return identity_of("atom bits", asdict(self.fingerprint))


def _memberships(mol: Chem.Mol, fingerprint: Fingerprint) -> Iterator[tuple[int, int]]:
    """Yield (atom, bit) for each atom of each environment of each bit."""
    output = rdFingerprintGenerator.AdditionalOutput()
    output.AllocateBitInfoMap()
    morgan_generator(fingerprint).GetCountFingerprint(mol, additionalOutput=output)
    for bit, environments in output.GetBitInfoMap().items():
        for centre, radius in environments:
            yield from ((atom, bit) for atom in _atoms_around(mol, centre, radius))


def _atoms_around(mol: Chem.Mol, centre: int, radius: int) -> set[int]:
    bonds = (mol.GetBondWithIdx(i) for i in Chem.FindAtomEnvironmentOfRadiusN(mol, radius, centre)) if radius else ()
    return {centre, *(atom for bond in bonds for atom in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))}


def _unpacked(result: StepResult, positions: NDArray[np.int64]) -> AtomBits:
    symbols = (result.text or "").split()
    atom, bit, count = np.frombuffer(result.numbers, "<i4").reshape(-1, 3).T
    counts = sparse.csr_matrix((count.astype(np.float32), (atom, positions[bit])), (len(symbols), positions.size))
    return AtomBits(symbols, counts)
