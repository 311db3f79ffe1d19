"""The partners of a benchmark: their prepared matrices, which tasks are judged, and what the judge alone knows."""

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.benchmark_split import split_benchmark
from data_prep.prepare import prepare
from data_prep.prepared import Prepared, read_prepared
from data_prep.settings import Chemistry, Fingerprint, Preparation
from partners.training_set import TrainingSet
from pipeline.benchmark_data import ensure_wheel

STRUCTURE_SEED = bytes(range(32))  # the same for all partners, so that folds agree; no secret here
DEMO_PARTNERS, DEMO_SHARE = 5, 0.5

Truth = dict[tuple[str, str], str]  # (partner, assay) -> target and endpoint


@dataclass(frozen=True)
class Partner:
    """One partner's training set, and for each task whether it is judged and what it truly measures."""

    training_set: TrainingSet
    judged: NDArray[np.bool_]  # (n_tasks,) auxiliary tasks are trained to help the others, never judged
    targets: tuple[str, ...]  # by task: target and endpoint, from the truth no partner reads
    keys: tuple[str, ...]  # by task: the same with the threshold; equal keys are the same task at two partners


def tables_of(data: str, work: Path, shared: Path) -> Path:
    """Folder with P01, P02, ...: one of `../shared/data`, or for "demo" the public MoleculeACE tables dealt out."""
    if data != "demo":
        return shared / data
    folder = work / "demo"
    split_benchmark(ensure_wheel(), DEMO_PARTNERS, DEMO_SHARE, 0, folder)
    return folder


def load_partners(tables: Path, n_bits: int, work: Path, tell: Callable[[str], None]) -> dict[str, Partner]:
    """Prepare each partner's tables, or read what was prepared before.

    Tautomers stay as drawn: ChEMBL's structures are standardised, and enumerating them takes 20 times as long.
    """
    settings = Preparation(chemistry=Chemistry(tautomers="keep"), fingerprint=Fingerprint(n_bits=n_bits))
    truth = _truth(tables)
    partners = {}
    for folder in sorted(tables.glob("P[0-9][0-9]")):
        tell(f"preparing {folder.name} at {n_bits} bits")
        files = (next(folder.glob(f"{name}.csv*")) for name in ("T0", "T1", "T2"))
        prepared = read_prepared(prepare(*files, settings, STRUCTURE_SEED, work / "prepared" / tables.name))
        partners[folder.name] = _partner(folder.name, prepared, truth)
    return partners


def _partner(name: str, prepared: Prepared, truth: Truth) -> Partner:
    targets = tuple(truth[name, task.input_assay_id] for task in prepared.tasks)
    return Partner(
        training_set=TrainingSet(
            x=prepared.x,
            y=prepared.y,
            folding=prepared.folding,
            training_weight=np.array([task.training_weight for task in prepared.tasks], dtype=np.float32),
        ),
        judged=np.array([not task.is_auxiliary for task in prepared.tasks]),
        targets=targets,
        keys=tuple(f"{target} {task.threshold:g}" for target, task in zip(targets, prepared.tasks, strict=True)),
    )


def _truth(tables: Path) -> Truth:
    (file,) = [*tables.glob("truth/assay_map.csv.gz"), *tables.glob("truth.csv")]
    return {(row["partner"], row["input_assay_id"]): f"{row['target']} {row['endpoint']}" for row in _rows(file)}


def _rows(file: Path) -> Iterator[dict[str, str]]:
    raw = file.read_bytes()
    yield from csv.DictReader((gzip.decompress(raw) if file.suffix == ".gz" else raw).decode().splitlines())


def permuted(training_set: TrainingSet, rng: np.random.Generator) -> TrainingSet:
    """The same partner with its training labels permuted within each task: same compounds, counts and weights."""
    y = training_set.y.tocsc()
    y.sort_indices()
    is_training = np.zeros(training_set.n_compounds, dtype=bool)
    is_training[training_set.training_rows] = True
    for column in range(training_set.n_tasks):
        place = np.arange(y.indptr[column], y.indptr[column + 1])
        mixed = place[is_training[y.indices[place]]]
        y.data[mixed] = y.data[rng.permutation(mixed)]
    return replace(training_set, y=sparse.csr_matrix(y))
