"""Drawings of structures whose atoms are coloured by their contribution to a prediction."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rdkit.Chem.Draw import rdMolDraw2D

from data_prep.structures.standardise import NotAccepted, read_canonical
from data_prep.structures.steps import StepResult, identity_of
from data_prep.structures.structures import run_step
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S

Colour = tuple[float, float, float]
_RAISES, _LOWERS = (0.00, 0.45, 0.70), (0.90, 0.62, 0.00)  # of Okabe and Ito's palette, which suits the colour-blind


@dataclass(frozen=True, slots=True)
class AtomPicture:
    """What one drawing shows."""

    smiles: str
    contributions: tuple[float, ...]  # of each atom in the order of the SMILES
    legend: str


def draw_atoms(
    pictures: Sequence[AtomPicture], *, workers: int = 1, timeout_s: float = DEFAULT_TIMEOUT_S
) -> list[str | None]:
    """Return each drawing as SVG; None if it takes longer than `timeout_s` or crashes.

    Blue atoms raise the prediction, orange ones lower it; the largest contribution of a drawing has the full colour.
    """
    texts = [json.dumps(asdict(picture)) for picture in pictures]
    return [result.text for result in run_step(PictureStep(), texts, workers=workers, timeout_s=timeout_s)]


@dataclass(frozen=True, slots=True)
class PictureStep:
    """Draw one AtomPicture, given as JSON, in a child process."""

    width: int = 450  # pixels
    height: int = 400

    def make(self, text: str | None) -> StepResult:
        """Return the SVG, or a reason."""
        picture = json.loads(text or "")
        try:
            mol = read_canonical(picture["smiles"])
        except NotAccepted as refusal:
            return StepResult(reason=refusal.reason)
        colours = dict(enumerate(atom_colours(picture["contributions"])))
        drawing = rdMolDraw2D.MolDraw2DSVG(self.width, self.height)
        options = drawing.drawOptions()
        options.atomHighlightsAreCircles = True  # type: ignore[assignment]  # RDKit's stubs
        rdMolDraw2D.PrepareAndDrawMolecule(
            drawing, mol, picture["legend"], list(colours), [], colours, None, dict.fromkeys(colours, 0.4)
        )
        drawing.FinishDrawing()
        return StepResult(drawing.GetDrawingText())

    def identity(self) -> bytes:
        """Return settings and versions as JSON bytes."""
        return identity_of("atom picture", asdict(self))


def atom_colours(contributions: Sequence[float]) -> list[Colour]:
    """Return each atom's colour as red, green and blue from 0 to 1: white for 0, full for the largest of all."""
    largest = max(map(abs, contributions), default=0.0) or 1.0
    return [_tint(contribution / largest) for contribution in contributions]


def _tint(share: float) -> Colour:
    red, green, blue = (1 - abs(share) * (1 - part) for part in (_RAISES if share > 0 else _LOWERS))
    return red, green, blue
