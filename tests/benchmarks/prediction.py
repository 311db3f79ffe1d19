"""Speed of `hocket predict` on one core after standardisation, step by step.

    python tests/benchmarks/prediction.py [--known 50000] [--new 512] [--tasks 300] [--measured 300] \
        [--structures T2.csv ...]

A model of the usual size (32,000 bits, 2000 units) with untrained weights: its arithmetic is that of a trained one.
Each task is an assay of its own, with a Gaussian process and a forest on the fingerprint, as the strongest local models
have it, or on fingerprint and trunk, as the take-home models. They are fitted to random values of --measured compounds.
Without --structures fingerprints are made up: bits as uneven as those of ECFP6, and each new compound a known one with
a third of its bits exchanged, so that the nearest lies as near as in real libraries. Processor seconds, not wall time:
other work on the machine disturbs less.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

from data_prep.prediction.fingerprints import fingerprint
from data_prep.prediction.prediction_files import growing_table
from data_prep.prediction.structure_files import read_batches
from data_prep.settings import Chemistry, Fingerprint
from partners.assay_models.fitted import AssayModel, AssayModels, KnownProcess, Mixing
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.predictor import AssayPredictor
from partners.models.conformal import Calibration, calibrate
from partners.models.final_model import FinalModel, KnownCompounds, Weights
from partners.models.similarity import Neighbours
from partners.network.inference import Predictor
from partners.network.state import HeadSizes, PartnerState, initial_heads
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from pipeline.model.description import ClassTask, Description, Selection
from pipeline.model.prediction_tables import Format, as_table

_BITS, _BITS_OF_A_COMPOUND = 32_000, 70
_CALIBRATED = 2000  # compounds, each with a label for a tenth of the tasks
_REPEATS = 3
_PARTS = {"Gaussian processes": "forest", "forests": "process"}  # and what is left out to measure them alone


def made_up(n_known: int, n_new: int, rng: np.random.Generator) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Made-up known and new compounds."""
    share = 1 / np.arange(2, _BITS + 2) ** 0.9
    likely = rng.permutation(share / share.sum())
    drawn = rng.choice(_BITS, (n_known, _BITS_OF_A_COMPOUND), p=likely)
    known = np.sort(drawn, axis=1)
    new = known[rng.integers(0, n_known, n_new)]
    exchanged = rng.random(new.shape) < 1 / 3
    new[exchanged] = rng.choice(_BITS, int(exchanged.sum()), p=likely)
    return _rows(known), _rows(new)


def _rows(bits: np.ndarray) -> sparse.csr_matrix:
    starts = np.arange(len(bits) + 1) * bits.shape[1]
    x = sparse.csr_matrix((np.ones(bits.size, np.float32), bits.ravel(), starts), shape=(len(bits), _BITS))
    x.sum_duplicates()
    x.data[:] = 1
    return x


def real(files: list[Path], n_known: int, n_new: int, rng: np.random.Generator) -> tuple[sparse.csr_matrix, ...]:
    """Known and new compounds, drawn from tables of structures."""
    smiles = {r.text for file in files for batch in read_batches(file, 4096) for r in batch if r.text}
    chosen = rng.permutation(sorted(smiles))[: n_known + n_new].tolist()
    chemistry, settings = Chemistry(tautomers="keep"), Fingerprint(n_bits=_BITS)
    x = fingerprint(chosen, chemistry, settings, np.arange(_BITS), workers=len(os.sched_getaffinity(0))).x
    return x[n_new:], x[:n_new]


def calibration(predictor: Predictor, x: sparse.csr_matrix, n_tasks: int, rng: np.random.Generator) -> Calibration:
    """A calibration on random labels."""
    found = predictor(x[:_CALIBRATED])
    n = found.logits.shape[0]
    y = sparse.random(n, n_tasks, 0.1, format="csr", rng=rng)
    y.data = rng.choice([-1.0, 1.0], y.nnz)
    none = sparse.csr_matrix((n, 0))
    return calibrate(found, y, none, none)


def assay_models(
    known: sparse.csr_matrix, predictor: Predictor, n_tasks: int, n_measured: int, *, on_trunk: bool
) -> AssayModels:
    """A Gaussian process and a forest of each task, fitted to random values: the arithmetic does not depend on them."""
    rng, inputs, models = np.random.default_rng(1), Inputs.of(known, predictor.hidden(known) if on_trunk else None), []
    for number in range(n_tasks):
        rows = np.sort(rng.choice(known.shape[0], n_measured, replace=False))
        measured, values = inputs[rows], rng.normal(6, 1, n_measured)
        fit = fit_gaussian_process(kernel(measured, measured), values, inputs.n_kernels)
        models.append(AssayModel(KnownProcess(rows, fit), fit_forest(measured, values, number)))
    none = AssayModels.none(n_tasks, 0)
    return replace(
        none,
        uses_trunk=on_trunk,
        models=tuple(models),
        of_task=np.arange(n_tasks),
        mixing=Mixing(none.mixing.by_network, none.mixing.by_network, none.mixing.offset),
    )


def without(models: AssayModels, part: str) -> AssayModels:
    """The same models without their processes or their forests."""
    return replace(models, models=tuple(replace(model, **{part: None}) for model in models.models))


def description(n_tasks: int, trunk: TrunkSettings) -> Description:
    """A model's description with its tasks."""
    tasks = tuple(
        ClassTask(
            input_assay_id=f"A{i:05d}",
            threshold=6.0,
            direction="high",
            assay_type="OTHER",
            is_auxiliary=False,
            strongest="mean",
            kept="mean on the trunk",
            reason="",
        )
        for i in range(n_tasks)
    )
    return Description(
        version="0",
        partner="P01",
        federation="benchmark",
        federation_id="0" * 32,
        plan="",
        n_rounds=1,
        kept="federated",
        trunk=trunk,
        training=Training(),
        chemistry=Chemistry(),
        fingerprint=Fingerprint(),
        compound_timeout_s=60.0,
        tasks=tasks,
        regression_tasks=(),
        descriptors=None,
        least_similarity=0.2,
    )


def rate(step: Callable[[], object], n: int) -> float:
    """Compounds per CPU second, the best of several repeats."""
    seconds = []
    for _ in range(_REPEATS):
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
    return n / min(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    for name, default in (("known", 50_000), ("new", 512), ("tasks", 300), ("measured", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--structures", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    known, new = (real if given.structures else lambda _, *rest: made_up(*rest))(
        given.structures, given.known, given.new, rng
    )
    trunk = TrunkSettings(hidden=(2000,))
    layout = trunk_layout(_BITS, trunk.hidden)
    vector, heads = initial_trunk(layout, 1), initial_heads(layout, HeadSizes((given.tasks,)), rng)
    state = PartnerState(heads, {}, {}, 0)
    predictor, neighbours = Predictor(vector, state, layout, trunk, Training()), Neighbours(known)
    local, take_home = (
        assay_models(
            on_trunk=on_trunk, known=known, predictor=predictor, n_tasks=given.tasks, n_measured=given.measured
        )
        for on_trunk in (False, True)
    )
    weights = Weights(vector, state, take_home, calibration(predictor, known, given.tasks, rng))
    model = FinalModel(weights, KnownCompounds(known, np.arange(_BITS)), layout, trunk, Training(), 0.2)
    selection = Selection(description(given.tasks, trunk), None)
    logits, found, n = predictor(new).logits, model.predict(new), new.shape[0]
    rows, ids = np.arange(n), [f"compound-{i}" for i in range(n)]
    kinds = {"local": local, "on the trunk": take_home}

    def served(own: AssayModels, other: str) -> Callable[[], object]:
        alone = AssayPredictor(predictor, without(own, other), known)
        return lambda: alone.values(new)

    def tables(how: Format, path: Path) -> None:
        with growing_table(path) as sink:
            sink(as_table(how, rows, ids, found, selection))

    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Callable[[], object]] = {
            "network": lambda: predictor(new),
            **{f"{name}: {part}": served(own, other) for name, own in kinds.items() for part, other in _PARTS.items()},
            "p-values": lambda: weights.calibration.p_values(logits),
            "nearest known compound": lambda: neighbours.nearest(new),
            "long CSV": lambda: tables("long", Path(folder) / "long.csv"),
            "wide CSV": lambda: tables("wide", Path(folder) / "wide.csv"),
            "long Parquet": lambda: tables("long", Path(folder) / "long.parquet"),
            "all, long CSV": lambda: (model.predict(new), tables("long", Path(folder) / "long.csv")),
            "all, wide Parquet": lambda: (model.predict(new), tables("wide", Path(folder) / "wide.parquet")),
        }
        about = f"{n} new and {known.shape[0]} known compounds, {new.nnz / n:.0f} bits each, {given.tasks} assays"
        table = Table(title=f"{about}; nearest at {found.similarity.mean():.2f} on average")
        for column in ("step", "compounds / s", "us each"):
            table.add_column(column, justify="left" if column == "step" else "right")
        for name, step in steps.items():
            speed = rate(step, n)
            table.add_row(name, f"{speed:.0f}", f"{1e6 / speed:.0f}")
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Console(width=110).print(table, f"largest memory: {memory_mb:.0f} MB")


if __name__ == "__main__":
    main()
