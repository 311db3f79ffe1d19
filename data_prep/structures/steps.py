"""The computations on one text (SMILES or mol block), done in a child process and stored in the cache."""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import rdkit

from data_prep.descriptors.listed import DESCRIPTORS_VERSION
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import scaffolds
from data_prep.structures.descriptors import descriptors_of
from data_prep.structures.standardise import NotAccepted, smiles_of_mol_block, standardiser
from data_prep.version import CODE_VERSION

TIMEOUT, CRASHED = "timeout", "crashed"
"""The two reasons that depend on the machine, not on the structure alone."""


class StepResult(NamedTuple):
    """The result of a step for one text; a rejected text has a reason and nothing else."""

    text: str | None = None  # canonical SMILES, or the fold scaffold
    murcko: str | None = None  # of a structure; None: acyclic
    reason: str | None = None  # None: accepted
    numbers: bytes = b""  # little-endian; of a structure: its bits, int32, ascending; of a DescriptorStep: float32
    counts: bytes = b""  # of a structure with a counted fingerprint: int32, little-endian, one for each bit


class Step(Protocol):
    """A deterministic computation that may take long or crash; it can be pickled."""

    def make(self, text: str | None) -> StepResult:
        """Return the result for a text; a rejected text gives a result with a reason, no exception."""

    def identity(self) -> bytes:
        """Return bytes that differ whenever settings or versions may change the result."""


@dataclass(frozen=True, slots=True)
class StructureStep:
    """Turn a SMILES into its standard form, Murcko scaffold and fingerprint."""

    chemistry: Chemistry
    fingerprint: Fingerprint

    def make(self, text: str | None) -> StepResult:
        """Return canonical SMILES, Murcko scaffold, bits and counts, or the standardiser's reason for rejection."""
        try:
            structure = standardiser(self.chemistry, self.fingerprint).structure(text)
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        counts = structure.counts.astype("<i4").tobytes() if self.fingerprint.counts else b""
        return StepResult(structure.smiles, structure.murcko, None, structure.bits.astype("<i4").tobytes(), counts)

    def identity(self) -> bytes:
        """Return settings and versions as JSON bytes."""
        return identity_of("structure", asdict(self.chemistry), asdict(self.fingerprint))


@dataclass(frozen=True, slots=True)
class DescriptorStep:
    """Turn the canonical SMILES of a StructureStep into its descriptors.

    A step of its own, so that structures in the cache stay known whether or not their descriptors are wanted.
    """

    def make(self, text: str | None) -> StepResult:
        """Return the descriptors, NaN where there is none; no structure is rejected for them."""
        return StepResult(numbers=descriptors_of(text or "").astype("<f4").tobytes())

    def identity(self) -> bytes:
        """Return the versions as JSON bytes; this step has no settings."""
        return identity_of("descriptors", DESCRIPTORS_VERSION)


@dataclass(frozen=True, slots=True)
class MolBlockStep:
    """Turn a mol block, V2000 or V3000, into a SMILES."""

    def make(self, text: str | None) -> StepResult:
        """Return the SMILES as drawn, or the reason `unparsable`."""
        return (
            StepResult(smiles)
            if (smiles := smiles_of_mol_block(text or "")) is not None
            else StepResult(reason="unparsable")
        )

    def identity(self) -> bytes:
        """Return the versions as JSON bytes; this step has no settings."""
        return identity_of("mol block")


@dataclass(frozen=True, slots=True)
class ScaffoldStep:
    """Turn a Murcko scaffold into its fold scaffold."""

    def make(self, text: str | None) -> StepResult:
        """Return the fold scaffold, or the reason `too_complex` or `scaffold_failed`."""
        try:
            return StepResult(scaffolds.fold_scaffold(text or ""))
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        except (ValueError, RuntimeError):  # RDKit cannot read it or take it apart
            return StepResult(reason="scaffold_failed")

    def identity(self) -> bytes:
        """Return the versions as JSON bytes; this step has no settings."""
        return identity_of("fold scaffold")


def identity_of(*parts: object) -> bytes:
    """Return a step's name and settings with the versions that its results depend on, as JSON bytes."""
    return json.dumps([*parts, rdkit.__version__, CODE_VERSION], sort_keys=True).encode()
