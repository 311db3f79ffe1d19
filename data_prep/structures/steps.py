"""What is computed for one text, in a child process and once in a cache: a structure, or a fold scaffold."""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import rdkit

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import scaffolds
from data_prep.structures.standardise import NotAccepted, smiles_of_mol_block, standardiser
from data_prep.version import CODE_VERSION

TIMEOUT, CRASHED = "timeout", "crashed"
"""The two reasons that depend on the machine, not on the structure alone."""


class StepResult(NamedTuple):
    """The outcome of a step; a refusal has a reason and nothing else."""

    text: str | None = None  # canonical SMILES, or the fold scaffold
    murcko: str | None = None  # of a structure; None: acyclic
    reason: str | None = None  # None: accepted
    bits: bytes = b""  # of a structure: int32, little-endian, ascending
    counts: bytes = b""  # of a structure with a counted fingerprint: int32, little-endian, one for each bit


class Step(Protocol):
    """A deterministic computation that may take long or crash; it can be pickled."""

    def make(self, text: str | None) -> StepResult:
        """Return what the step makes of a text. Refusals are part of the answer, not exceptions."""

    def identity(self) -> bytes:
        """Return all that the answer depends on besides the text."""


@dataclass(frozen=True, slots=True)
class StructureStep:
    """From a SMILES to its standard form, Murcko scaffold and fingerprint."""

    chemistry: Chemistry
    fingerprint: Fingerprint

    def make(self, text: str | None) -> StepResult:
        """Return canonical SMILES, Murcko scaffold, bits and counts, or the standardiser's reason."""
        try:
            found = standardiser(self.chemistry, self.fingerprint).structure(text)
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        counts = found.counts.astype("<i4").tobytes() if self.fingerprint.counts else b""
        return StepResult(found.smiles, found.murcko, None, found.bits.astype("<i4").tobytes(), counts)

    def identity(self) -> bytes:
        """Return settings and versions."""
        return _identity("structure", asdict(self.chemistry), asdict(self.fingerprint))


@dataclass(frozen=True, slots=True)
class MolBlockStep:
    """From a mol block, V2000 or V3000, to a SMILES."""

    def make(self, text: str | None) -> StepResult:
        """Return the SMILES as drawn, or the reason `unparsable`."""
        return (
            StepResult(smiles)
            if (smiles := smiles_of_mol_block(text or "")) is not None
            else StepResult(reason="unparsable")
        )

    def identity(self) -> bytes:
        """Return the versions; there is nothing to set."""
        return _identity("mol block")


@dataclass(frozen=True, slots=True)
class ScaffoldStep:
    """From a Murcko scaffold to its fold scaffold."""

    def make(self, text: str | None) -> StepResult:
        """Return the fold scaffold, or the reason `too_complex` or `scaffold_failed`."""
        try:
            return StepResult(scaffolds.fold_scaffold(text or ""))
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        except (ValueError, RuntimeError):  # RDKit cannot read it or take it apart
            return StepResult(reason="scaffold_failed")

    def identity(self) -> bytes:
        """Return the versions; there is nothing to set."""
        return _identity("fold scaffold")


def _identity(*parts: object) -> bytes:
    return json.dumps([*parts, rdkit.__version__, CODE_VERSION], sort_keys=True).encode()
