"""`hocket predict --explain`: what each atom of the first compounds contributes to the predictions of some tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prediction.atom_bits import AtomBits, atom_bits
from data_prep.prediction.atom_pictures import AtomPicture, draw_atoms
from data_prep.prediction.prediction_files import Columns, Sink, Texts
from partners.models.occlusion import atom_contributions
from partners.network.inference import logistic
from pipeline.model.description import ClassTask, RegrTask, Selection
from pipeline.model.explanation_files import open_explanations, picture_name
from pipeline.model.folder import OpenModel
from pipeline.model.structure_batches import StructureBatch

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Compound:
    """One explained compound."""

    row: int  # in the input
    id: str | None
    smiles: str
    symbols: list[str]
    predicted: Floats  # (n_tasks,) logits and values
    contributions: Floats  # (n_atoms, n_tasks)


class Explainer:
    """Explains the first compounds that it gets, and writes a table of their atoms and drawings."""

    def __init__(
        self, model: OpenModel, selection: Selection, n_compounds: int, workers: int, folder: Path, sink: Sink
    ) -> None:
        self._model, self._selection, self._workers = model, selection, workers
        self._left, self._folder, self._sink = n_compounds, folder, sink
        self._tasks: list[ClassTask | RegrTask] = [*selection.class_tasks, *selection.regression_tasks]
        self._n_explained = self._n_failed = self._n_not_drawn = 0

    @property
    def summary(self) -> str:
        """Text with the numbers of explained compounds and, if there are any, of failures."""
        failed = ((self._n_failed, "compounds"), (self._n_not_drawn, "drawings"))
        texts = [f"{n} {name}" for n, name in failed if n]
        why = f"; {' and '.join(texts)} took too long or crashed RDKit" if texts else ""
        return f"{self._n_explained} compounds explained{why}"

    def add(self, batch: StructureBatch) -> None:
        """Explain the first compounds of a batch, as many as are still wanted."""
        n = min(self._left, len(batch.rows))
        self._left -= n
        compounds = self._explained(batch, n) if n else []
        self._sink(self._atom_table(compounds))
        self._draw(compounds)
        self._n_explained += len(compounds)
        self._n_failed += n - len(compounds)

    def _explained(self, batch: StructureBatch, n: int) -> list[_Compound]:
        found = enumerate(self._atoms_of(batch.smiles[:n]))
        atoms = {row: bits for row, bits in found if bits is not None}
        rows = np.array(list(atoms), np.int64)
        x, descriptors = batch.x[rows], None if batch.descriptors is None else batch.descriptors[rows]
        predicted = self._scores(x, descriptors)
        contributions = atom_contributions(self._scores, x, descriptors, [bits.counts for bits in atoms.values()])
        return [
            _Compound(int(batch.rows[row]), batch.ids[row], batch.smiles[row], atoms[row].symbols, *results)
            for row, *results in zip(atoms, predicted, contributions, strict=True)
        ]

    def _atoms_of(self, smiles: list[str]) -> list[AtomBits | None]:
        description = self._model.description
        return atom_bits(
            smiles,
            description.fingerprint,
            self._model.places,
            workers=self._workers,
            timeout_s=description.compound_timeout_s,
        )

    def _scores(self, x: sparse.csr_matrix, descriptors: Floats | None, /) -> Floats:
        """Logits of the chosen classification tasks, then values of the chosen regression tasks."""
        outputs = self._model.predictor.outputs(x, descriptors)
        chosen = outputs.logits[:, self._selection.classes], outputs.values[:, self._selection.regressions]
        return np.hstack(chosen)

    def _atom_table(self, compounds: list[_Compound]) -> Columns:
        """A row for each compound, task and atom, in this order."""
        n_tasks = len(self._tasks)
        n_atoms = np.array([len(compound.symbols) for compound in compounds], np.int64)
        compound = np.repeat(np.arange(len(compounds)), n_atoms * n_tasks)
        task = np.concatenate([_NONE, *(np.repeat(np.arange(n_tasks), n) for n in n_atoms)])
        atom = np.concatenate([_NONE, *(np.tile(np.arange(n), n_tasks) for n in n_atoms)])
        thresholds = [chosen.threshold if isinstance(chosen, ClassTask) else np.nan for chosen in self._tasks]
        symbols = [symbol for explained in compounds for symbol in explained.symbols * n_tasks]
        contributions = [explained.contributions.T.ravel() for explained in compounds]
        return {
            "input_row": np.array([explained.row for explained in compounds], np.int64)[compound],
            "input_compound_id": Texts([explained.id for explained in compounds], compound),
            "input_assay_id": Texts([chosen.input_assay_id for chosen in self._tasks], task),
            "threshold": np.array(thresholds, np.float64)[task],
            "atom": atom,
            "symbol": Texts(symbols),
            "contribution": np.concatenate([np.zeros(0, np.float32), *contributions]),
            "smiles": Texts([explained.smiles for explained in compounds], compound),
        }

    def _draw(self, compounds: list[_Compound]) -> None:
        names = [
            picture_name(compound.row, number, task.name)
            for compound in compounds
            for number, task in enumerate(self._tasks, 1)
        ]
        pictures = [self._picture(compound, task) for compound in compounds for task in range(len(self._tasks))]
        timeout_s = self._model.description.compound_timeout_s
        for name, svg in zip(names, draw_atoms(pictures, workers=self._workers, timeout_s=timeout_s), strict=True):
            if svg is None:
                self._n_not_drawn += 1
            else:
                (self._folder / name).write_text(svg)

    def _picture(self, compound: _Compound, task: int) -> AtomPicture:
        contributions = compound.contributions[:, task]
        is_class = isinstance(self._tasks[task], ClassTask)
        predicted = logistic(compound.predicted[task]) if is_class else compound.predicted[task]
        largest = np.abs(contributions).max(initial=0)
        legend = (
            f"{self._tasks[task].name}: {'probability ' if is_class else ''}{predicted:.3g}\n"
            f"blue raises, orange lowers; full colour: {largest:.2g}{' log-odds' if is_class else ''}"
        )
        return AtomPicture(compound.smiles, tuple(map(float, contributions)), legend)


_NONE = np.zeros(0, np.int64)


@contextmanager
def open_explainer(
    folder: Path | None, model: OpenModel, selection: Selection, n_compounds: int, workers: int
) -> Iterator[Explainer | None]:
    """Open an Explainer that writes to a folder, which appears at the end; None: nothing is explained."""
    if folder is None:
        yield None
        return
    with open_explanations(folder) as (unfinished, sink):
        yield Explainer(model, selection, n_compounds, workers, unfinished, sink)
