"""A partner's local work, measured: real tables of some thousand compounds, made-up compounds, models of single assays.

Each step runs in a process of its own with one thread. Counted are CPU seconds, peak memory and bytes on disk.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse
from threadpoolctl import threadpool_limits

from data_prep.preparation.prepare import prepare
from data_prep.prepared import Prepared, read_prepared
from data_prep.settings import Activities, Chemistry, Fingerprint, Folds, Preparation
from data_prep.structures.structures import standardise_all
from partners.assay_models import fitting, out_of_fold
from partners.assay_models.assays import Assay, assays_of
from partners.assay_models.choice import FEWEST_VALUES, choose
from partners.assay_models.fitted import AssayModel
from partners.assay_models.fitting import AssayData, fit_assay_model
from partners.assay_models.inputs import BLOCK, Inputs
from partners.assay_models.predictor import ValuePredictor
from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.models.take_home import TrunkAndHeads, compare_models, fit_models
from partners.network.state import PartnerState
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training.evaluation import evaluate
from partners.training.partner_data import PartnerData
from partners.training.training import train_in_place
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.assay_models import PARTS, timed
from tests.benchmarks.cost.laws import (
    BYTES_PER_WEIGHT,
    AssayLaws,
    Laws,
    Size,
    Terms,
    fit_law,
    forest_depth,
    forest_terms,
    process_terms,
)
from tests.benchmarks.gpu import wide_set
from tests.support.benchmarks.forked import forked, peak_mb
from tests.support.secure.round_steps import apart

HIDDEN, N_INPUTS, BATCH_SIZE = (2000,), 32_000, 4000
TRUNK = TrunkSettings(hidden=HIDDEN)
TRAINING = Training(batch_size=BATCH_SIZE)
# few compounds have few labels: smaller quorums than the default, so that there are tasks to train
QUORUMS = Activities(training_min_active=5, training_min_inactive=5, evaluation_min_active=1, evaluation_min_inactive=1)
SETTINGS = Preparation(chemistry=Chemistry(tautomers="keep"), activities=QUORUMS)
SAMPLED = 4  # one of so many structures is standardised with canonical tautomers too
N_STEPS, NOT_TIMED = 10, 2  # optimiser steps
ASSAY_SIZES = (30, 100, 300, 1000, 2000)
KNOWN, SCORED, COPIES = 40_000, 2 * BLOCK, 16  # compounds that kernels are computed with, and scored; of each model
MIB = 1 << 20
TABLES = ("T0", "T1", "T2")


@dataclass(frozen=True, slots=True)
class Trained:
    """Training and validation at some size."""

    size: Size
    step_s: float
    validation_s: float
    training_peak: float  # bytes
    validation_peak: float


@dataclass(frozen=True, slots=True)
class Part:
    """All that was measured with a part of a partner's tables."""

    trained: Trained
    n_rows: int  # of T1
    tables_s: float
    tables_peak: float
    structures: int  # standardised with canonical tautomers
    structures_s: float
    prepared_bytes: int
    models_s: float = 0.0  # of fitting and scoring; 0: not measured
    models_peak: float = 0.0
    model_bytes: int = 0
    processes: tuple[int, ...] = ()  # measurements of each assay whose model has a Gaussian process
    forests: tuple[int, ...] = ()  # the same of forests

    @property
    def size(self) -> Size:
        """Its numbers."""
        return replace(self.trained.size, n_rows=self.n_rows, processes=self.processes, forests=self.forests)


def write_parts(real: Path, folder: Path, sizes: Sequence[int]) -> None:
    """Write tables of so many random compounds each, no compound in two, into `folder`/size."""
    t0, t1, t2 = (pl.read_csv(real / f"{name}.csv.gz", infer_schema=False) for name in TABLES)
    shuffled = t2.sample(fraction=1, shuffle=True, seed=1)
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        part = folder / str(size)
        part.mkdir()
        structures = shuffled.slice(int(start), size)
        rows = t1.join(structures.select("input_compound_id"), on="input_compound_id", how="semi")
        for name, table in zip(TABLES, (t0, rows, structures), strict=True):
            table.write_csv(part / f"{name}.csv")


def assay_spread(real: Path) -> list[float]:
    """Measurements of each assay of a partner's T1, as shares of their mean."""
    counts = pl.read_csv(real / "T1.csv.gz", infer_schema=False)["input_assay_id"].value_counts()["count"].to_numpy()
    return [float(share) for share in np.sort(counts / counts.mean())]


def measure_part(folder: Path, *, with_models: bool) -> Part:
    """Prepare, train and, if wanted, fit and score the models of single assays."""
    cache, seed = folder / "structures.cache", bytes(range(32))
    tables = [folder / f"{name}.csv" for name in TABLES]
    prepared = apart(lambda: prepare(*tables, SETTINGS, seed, folder / "prepared", cache=cache))
    n_rows, smiles = forked(lambda: (pl.read_csv(tables[1]).height, _sample(tables[2])))
    (matrices,) = (folder / "prepared").iterdir()
    part = Part(
        forked(lambda: _train_part(matrices)),
        n_rows,
        prepared.cpu_s,
        prepared.peak_mb * MIB,
        len(smiles),
        standardising_s(smiles),
        sum(file.stat().st_size for file in (*matrices.iterdir(), cache)),
    )
    if not with_models:
        return part
    return replace(part, **forked(lambda: _fit_part(matrices)))


def standardising_s(smiles: list[str]) -> float:
    """CPU seconds of standardising structures with canonical tautomers, in a process of its own."""
    return apart(lambda: standardise_all(smiles, Chemistry(), Fingerprint())).cpu_s


def _sample(structures: Path) -> list[str]:
    return pl.read_csv(structures)["smiles"].gather_every(SAMPLED).to_list()


def _train_part(matrices: Path) -> Trained:
    prepared = read_prepared(matrices)
    data = training_set(prepared, Folds(), TRAINING)
    trunk, state, trained = train(data, _sizes(data, prepared))
    save_checkpoint(matrices.parents[1] / "network.safetensors", Checkpoint(trunk, state))
    return trained


def _sizes(data: TrainingSet, prepared: Prepared) -> tuple[int, ...]:
    known = AssayData(data, assays_of(prepared, data))
    sizes = (known.training_part(assay).rows.size for assay in known.assays)
    return tuple(size for size in sizes if size >= FEWEST_VALUES)


def train(data: TrainingSet, assays: tuple[int, ...] = ()) -> tuple[np.ndarray, PartnerState, Trained]:
    """Take some steps, and score the validation fold."""
    layout = trunk_layout(data.n_inputs, HIDDEN)
    trunk, ticks = initial_trunk(layout, 0), list[float]()
    done = train_in_place(
        data, trunk, None, layout, TRUNK, TRAINING, 0, N_STEPS, progress=lambda *_: ticks.append(time.process_time())
    )
    training_peak, started = peak_mb() * MIB, time.process_time()
    evaluate(data, data.validation_fold, trunk, done.state, layout, TRUNK, TRAINING)
    validation_s = time.process_time() - started
    step_s = float(np.median(np.diff(ticks[NOT_TIMED - 1 :])))
    return trunk, done.state, Trained(size_of(data, assays), step_s, validation_s, training_peak, peak_mb() * MIB)


def size_of(data: TrainingSet, assays: tuple[int, ...]) -> Size:
    """The numbers of a training set."""
    return Size(
        n_compounds=data.n_compounds,
        n_rows=0,
        n_bits_set=int(data.x.nnz),
        n_labels=int(data.y.nnz),
        n_tasks=data.n_tasks,
        n_training=data.training_rows.size,
        n_validation=data.rows_of(data.validation_fold).size,
        n_test=data.rows_of(data.test_fold).size,
        n_inputs=data.n_inputs,
        n_units=HIDDEN[0],
        assays=assays,
        processes=(),
        forests=(),
    )


def _fit_part(matrices: Path) -> dict[str, Any]:
    """What `Part` says of the models of single assays."""
    import sklearn.ensemble  # noqa: F401, PLC0415 -- loaded before the clock starts

    prepared, layout = read_prepared(matrices), trunk_layout(N_INPUTS, HIDDEN)
    own = PartnerData(training_set(prepared, Folds(), TRAINING), TRAINING, "")
    network, file = _network(matrices), matrices.parents[1] / "assay_models.safetensors"
    started = time.process_time()
    models = fit_models(prepared, own, network, network, layout, TRUNK, file)
    compare_models(prepared, own, SETTINGS, models, network, network, layout, TRUNK)
    seconds, known = time.process_time() - started, AssayData(own.training_set, assays_of(prepared, own.training_set))
    kinds = [
        (choice.kind, known.training_part(assay).rows.size)
        for choice, assay in zip(models.choices, known.assays, strict=True)
    ]
    return {
        "models_s": seconds,
        "models_peak": peak_mb() * MIB,
        "model_bytes": file.stat().st_size,
        "processes": tuple(size for kind, size in kinds if kind in {"gaussian process", "mean"}),
        "forests": tuple(size for kind, size in kinds if kind in {"forest", "mean"}),
    }


def _network(matrices: Path) -> TrunkAndHeads:
    file = matrices.parents[1] / "network.safetensors"
    stored = load_checkpoint(file, trunk_layout(N_INPUTS, HIDDEN))
    return TrunkAndHeads(stored.need_trunk(file), stored.need_partner(file))


def train_made_up(n_compounds: int, n_tasks: int) -> Trained:
    """Train on made-up compounds in five equal folds, ten labels each."""

    def made() -> Trained:
        data = replace(wide_set(n_compounds, n_tasks), folding=np.arange(n_compounds) % 5)
        return forked(lambda: train(data)[2])  # a process whose peak is not that of making the data

    return forked(made)


@dataclass(frozen=True, slots=True)
class AssayCosts:
    """Costs of the models of single assays of some sizes."""

    laws: AssayLaws
    scoring: Terms  # of `Size.scoring`
    model_bytes: float  # in memory and on disk, for each measurement
    hidden_bytes: float  # for each training compound and unit


def measure_assays(folder: Path) -> AssayCosts:
    """Measure with made-up values of a part's real compounds; kernels with made-up compounds, more than caches hold."""
    (matrices,) = (folder / "prepared").iterdir()
    laws, by_tree, model_bytes = forked(lambda: _measure_fits(matrices))
    by_pair = forked(_measure_kernels)
    return AssayCosts(laws, (*by_pair, *by_tree), model_bytes, forked(_measure_hidden))


def _measure_fits(matrices: Path) -> tuple[AssayLaws, Terms, float]:
    prepared = read_prepared(matrices)
    data = training_set(prepared, Folds(), TRAINING)
    measured = pl.read_csv(matrices.parents[1] / "T1.csv")["standard_value"].to_numpy()
    own, known = AssayData(data, ()), data.training_rows
    predictor = _network(matrices).predictor(trunk_layout(N_INPUTS, HIDDEN), TRUNK, TRAINING)
    sides = (own.inputs(known), own.inputs(known, predictor))
    fits: list[Counter[str]] = []
    models: tuple[list[AssayModel], list[AssayModel]] = ([], [])
    with threadpool_limits(limits=1):
        for size in ASSAY_SIZES:
            assay, y = made_up_assay(data, measured, min(size, known.size))
            fits.append(Counter())
            for module, stage in ((out_of_fold, "choose"), (fitting, "fit")):
                for name, part in PARTS.items():
                    plain = getattr(getattr(module, name), "__wrapped__", getattr(module, name))
                    setattr(module, name, timed(plain, f"{stage} {part}", fits[-1]))
            mine = np.searchsorted(known, assay.rows)
            choose(assay, sides[0][mine], y, data.folding[assay.rows], 0)
            half = assay.only(np.arange(assay.rows.size) % 2 == 0)
            fit_assay_model(half, "mean", sides[0][np.searchsorted(known, half.rows)], known, 0)
            for side, kept in zip(sides, models, strict=True):
                model = fit_assay_model(assay, "mean", side[mine], known, 0)
                if model is not None:
                    kept.append(model)
        seconds = [[_scoring_s(model, side) for model in kept] for kept, side in zip(models, sides, strict=True)]
    sizes = [min(size, known.size) for size in ASSAY_SIZES]
    by_tree = [fit_law([forest_depth(size) for size in sizes], of_side) for of_side in seconds]
    n_bytes = sum(_n_bytes(model) for kept in models for model in kept) / (2 * sum(sizes))
    return _assay_laws(sizes, fits), (*by_tree[0], *by_tree[1]), n_bytes


def _assay_laws(sizes: Sequence[int], fits: Sequence[Counter[str]]) -> AssayLaws:
    def law(stage: str, part: str) -> Terms:
        terms = process_terms if part == "Gaussian processes" else forest_terms
        return fit_law([terms(size) for size in sizes], [seconds[f"{stage} {part}"] for seconds in fits])

    return AssayLaws(*(law(stage, part) for stage in ("choose", "fit") for part in ("Gaussian processes", "forests")))


def made_up_assay(data: TrainingSet, measured: np.ndarray, n: int) -> tuple[Assay, sparse.csc_matrix]:
    """An assay of n compounds of the training folds with values drawn from measured ones, and its task's labels."""
    rng = np.random.default_rng(n)
    rows = np.sort(rng.choice(data.training_rows, n, replace=False))
    values = rng.choice(measured, n).astype(np.float64)
    labels = np.where(values > np.median(values), 1.0, -1.0)
    y = sparse.csc_matrix((labels, (rows, np.zeros(n, np.int64))), shape=(data.n_compounds, 1))
    return Assay("made up", rows, values, np.zeros(n, np.int8), (0,), (1,), None), y


def _scoring_s(model: AssayModel, known: Inputs) -> float:
    """CPU seconds of scoring a compound by a model's forest, as one of many that are asked."""
    predict = ValuePredictor([AssayModel(None, model.forest)] * COPIES, known, 0)
    return _seconds_each(predict, known[:SCORED]) / COPIES


def _seconds_each(predict: ValuePredictor, inputs: Inputs) -> float:
    predict(inputs[:BLOCK])
    started = time.process_time()
    predict(inputs)
    return (time.process_time() - started) / inputs.n_compounds


def _n_bytes(model: AssayModel) -> int:
    process, forest = model.process, model.forest
    of_process = 0 if process is None else 4 * process.compounds.size + process.process.weight.nbytes
    of_forest = 0 if forest is None else forest.feature.nbytes + forest.number.nbytes + forest.right.nbytes
    return of_process + of_forest


def _measure_kernels() -> tuple[float, float]:
    """CPU seconds of the kernel of a pair of compounds: from bits, and for each hidden unit."""
    bits, rng = wide_set(KNOWN, 10).x, np.random.default_rng(0)
    hidden = rng.random((KNOWN, HIDDEN[0]), dtype=np.float32)
    seconds = []
    with threadpool_limits(limits=1):
        for known in (Inputs.of(bits), Inputs.of(bits, hidden)):
            fitted = fit_assay_model(
                Assay("made up", np.arange(100), np.arange(100.0), np.zeros(100, np.int8), (), (), None),
                "gaussian process",
                known[:100],
                np.arange(KNOWN),
                0,
            )
            predict = ValuePredictor([fitted] if fitted else [], known, 0)
            seconds.append(_seconds_each(predict, known[:SCORED]))
    of_bits = seconds[0] / KNOWN
    return of_bits, max(seconds[1] / KNOWN - of_bits, 0.0) / HIDDEN[0]


def _measure_hidden() -> float:
    """Peak bytes of the hidden layer of known compounds, for each compound and unit."""
    data = wide_set(KNOWN // 2, 10)
    trunk = initial_trunk(trunk_layout(N_INPUTS, HIDDEN), 0)
    state = train_in_place(data, trunk, None, trunk_layout(N_INPUTS, HIDDEN), TRUNK, TRAINING, 0, 1).state
    predictor = TrunkAndHeads(trunk, PartnerState(state.heads, {}, {}, 0, state.normalisation)).predictor(
        trunk_layout(N_INPUTS, HIDDEN), TRUNK, TRAINING
    )
    del state
    before = _resident()
    AssayData(data, ()).inputs(data.training_rows, predictor)
    return max(peak_mb() * MIB - before, 0.0) / (data.training_rows.size * HIDDEN[0])


def _resident() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024.0


def fit_laws(parts: Sequence[Part], made_up: Trained, costs: AssayCosts, start_s: float) -> Laws:
    """Laws from two parts, made-up compounds and models of single assays; start_s: of standardising one structure."""
    trained = [*(part.trained for part in parts), made_up]
    n_structures = sum(part.structures for part in parts)
    rate = (sum(part.structures_s for part in parts) - len(parts) * start_s) / n_structures
    return Laws(
        structures=(start_s, rate),
        tables=fit_law([part.size.tables() for part in parts], [part.tables_s for part in parts]),
        step=fit_law([run.size.step(BATCH_SIZE) for run in trained], [run.step_s for run in trained]),
        validation=fit_law([run.size.validation() for run in trained], [run.validation_s for run in trained]),
        assays=costs.laws,
        scoring=costs.scoring,
        training_bytes=fit_law(
            [run.size.stored(BATCH_SIZE) for run in trained],
            [run.training_peak - BYTES_PER_WEIGHT * run.size.n_weights for run in trained],
        ),
        prepared_bytes=fit_law([part.size.compounds() for part in parts], [part.prepared_bytes for part in parts]),
        model_bytes=costs.model_bytes,
        hidden_bytes=costs.hidden_bytes,
    )
