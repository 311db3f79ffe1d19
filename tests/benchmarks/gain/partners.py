"""The partners of a benchmark: their prepared matrices, which tasks are scored, and the truth about their targets."""

import csv
import gzip
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.preparation.prepare import prepare
from data_prep.prepared import Prepared, Task, read_prepared
from data_prep.samples.benchmark_split import split_benchmark
from data_prep.settings import Chemistry, Fingerprint, Preparation
from partners.training_data.training_set import TrainingSet
from pipeline.demo.benchmark_data import ensure_wheel

STRUCTURE_SEED = bytes(range(32))  # the same for all partners, so that folds agree; no secret here
DEMOS = {"demo": (5, 0.5), "demo3": (3, 0.35)}  # partners, share of the compounds; demo3 is what `hocket demo` takes

Truth = dict[tuple[str, str], str]  # (partner, assay) -> target and endpoint


@dataclass(frozen=True)
class Known:
    """Truth about a partner's tasks of one kind, which no partner knows, in the order of their columns."""

    is_scored: NDArray[np.bool_]  # (n_tasks,) auxiliary tasks are trained to help the others, never scored
    targets: tuple[str, ...]  # by task: target and endpoint, from the truth no partner reads
    keys: tuple[str, ...]  # by task: equal keys are the same task at two partners


@dataclass(frozen=True, eq=False)
class Partner:
    """One partner's training set, and for each task whether it is scored and its true target."""

    training_set: TrainingSet  # with measured values; a run without regression takes `labels_only` of it
    classes: Known
    regressions: Known
    tasks: tuple[Task, ...] = ()  # of classification, as they were prepared
    prepared: Prepared | None = None  # the matrices, which models of single assays are fitted on
    declared: tuple[str, ...] = ()  # by such task: the `catalog_assay_id` in T0, or nothing


def tables_of(data: str, work: Path, shared: Path) -> Path:
    """Folder with P01, P02, ...: one of `../shared/data`, or the public MoleculeACE tables dealt out, see DEMOS."""
    if data not in DEMOS:
        return shared / data
    folder, (n_partners, share) = work / data, DEMOS[data]
    split_benchmark(ensure_wheel(), n_partners, share, 0, folder)
    return folder


def load_partners(
    tables: Path, n_bits: int, work: Path, tell: Callable[[str], None], *, descriptors: bool = False
) -> dict[str, Partner]:
    """Prepare each partner's tables, or read what was prepared before.

    Tautomers stay as drawn: ChEMBL's structures are standardised, and enumerating them takes 20 times as long.
    """
    settings = Preparation(chemistry=Chemistry(tautomers="keep"), fingerprint=Fingerprint(n_bits=n_bits))
    truth = _truth(tables)
    partners = {}
    for folder in sorted(tables.glob("P[0-9][0-9]")):
        tell(f"preparing {folder.name} at {n_bits} bits")
        files = (next(folder.glob(f"{name}.csv*")) for name in ("T0", "T1", "T2"))
        target, cache = work / "prepared" / tables.name, work / "structures.cache"
        prepared = read_prepared(
            prepare(*files, settings, STRUCTURE_SEED, target, cache=cache, descriptors=descriptors)
        )
        (assays,) = folder.glob("T0.csv*")
        declared = {row["input_assay_id"]: row["catalog_assay_id"] for row in _rows(assays)}
        partners[folder.name] = _partner(folder.name, prepared, truth, declared)
    return partners


def _partner(name: str, prepared: Prepared, truth: Truth, declared: Mapping[str, str]) -> Partner:
    tasks, regressions = prepared.tasks, prepared.regression_tasks
    of_class, of_value = (tuple(truth[name, task.input_assay_id] for task in kind) for kind in (tasks, regressions))
    keys = tuple(f"{target} {task.threshold:g}" for target, task in zip(of_class, tasks, strict=True))
    return Partner(
        training_set=TrainingSet(
            x=prepared.x,
            y=prepared.y,
            folding=prepared.folding,
            training_weight=_numbers(task.training_weight for task in tasks),
            y_regr=prepared.y_regr,
            y_censor=prepared.y_censor,
            regr_weight=_numbers(task.training_weight for task in regressions),
            censored_weight=_numbers(task.censored_weight for task in regressions),
        ),
        classes=Known(np.array([not task.is_auxiliary for task in tasks]), of_class, keys),
        prepared=prepared,
        regressions=Known(np.array([not task.is_auxiliary for task in regressions], dtype=bool), of_value, of_value),
        tasks=tasks,
        declared=tuple(declared[task.input_assay_id] for task in tasks),
    )


def _numbers(values: Iterable[float]) -> NDArray[np.float32]:
    return np.fromiter(values, dtype=np.float32)


def labels_only(training_set: TrainingSet) -> TrainingSet:
    """The partner without regression: no measured values, and no compounds that have only those."""
    return TrainingSet(
        x=training_set.x,
        y=training_set.y,
        folding=training_set.folding,
        training_weight=training_set.training_weight,
    )


def _truth(tables: Path) -> Truth:
    (file,) = [*tables.glob("truth/assay_map.csv.gz"), *tables.glob("truth.csv")]
    return {(row["partner"], row["input_assay_id"]): f"{row['target']} {row['endpoint']}" for row in _rows(file)}


def _rows(file: Path) -> Iterator[dict[str, str]]:
    raw = file.read_bytes()
    yield from csv.DictReader((gzip.decompress(raw) if file.suffix == ".gz" else raw).decode().splitlines())


def permuted(training_set: TrainingSet, rng: np.random.Generator) -> TrainingSet:
    """The partner with its training labels and values permuted within each task: same compounds and weights."""
    is_training = np.zeros(training_set.n_compounds, dtype=bool)
    is_training[training_set.training_rows] = True
    (y,) = _mixed([training_set.y], is_training, rng)
    y_regr, y_censor = _mixed([training_set.y_regr, training_set.y_censor], is_training, rng)
    return replace(training_set, y=y, y_regr=y_regr, y_censor=y_censor)


def _mixed(
    matrices: Sequence[sparse.csr_matrix], is_training: NDArray[np.bool_], rng: np.random.Generator
) -> list[sparse.csr_matrix]:
    """Permute the training compounds' stored values in each column, equally in matrices of one pattern."""
    columns = [matrix.tocsc() for matrix in matrices]
    for matrix in columns:
        matrix.sort_indices()
    for start, stop in itertools.pairwise(columns[0].indptr):
        place = np.arange(start, stop)
        mixed = place[is_training[columns[0].indices[place]]]
        order = rng.permutation(mixed)
        for matrix in columns:
            matrix.data[mixed] = matrix.data[order]
    return [sparse.csr_matrix(matrix) for matrix in columns]
