"""Made-up assays whose values depend on the fingerprint, with the networks that a partner's models stand on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from data_prep.descriptors.listed import DESCRIPTORS, DESCRIPTORS_VERSION
from data_prep.prepared import Prepared, RegressionTask, Task
from data_prep.settings import Folds
from partners.assay_models.assays import assays_of
from partners.assay_models.fitting import AssayData
from partners.assay_models.inputs import Inputs
from partners.models.take_home import TrunkAndHeads
from partners.network.inference import Predictor
from partners.network.trunk import initial_trunk, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training.training import train_round
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from tests.support.partners.prepared_matrices import made_up_regression_task, made_up_task

N_BITS = 64
FOLDS = Folds(test=3, validation=2)
TRAINING = Training(batch_size=32, learning_rate=1e-2, regression_weight=0.5, seed=3)
LAYOUT, TRUNK = trunk_layout(N_BITS, (8,)), TrunkSettings(hidden=(8,))
_LOWEST, _HIGHEST = 5.0, 7.3  # values beyond are bounds

# assay of each classification task with its threshold, and of each regression task; AUX is auxiliary
_TASKS = (("HIGH", 6.0), ("HIGH", 7.0), ("LOW", 6.0), ("BINARY", 0.0), ("FEW", 6.0), ("AUX", 6.0))
_REGRESSIONS = ("HIGH", "LOW", "VALUES", "FEW", "AUX")
_SHARE = {"HIGH": 0.5, "LOW": 0.4, "BINARY": 0.4, "VALUES": 0.4, "FEW": 0.05, "AUX": 0.5}  # of compounds measured


def random_inputs(seed: int, n: int, n_units: int = 0, n_descriptors: int = 0, n_bits: int = N_BITS) -> Inputs:
    """Bits of uneven frequency, a hidden layer with zeros, descriptors from 0 to 1."""
    rng = np.random.default_rng(seed)
    bits = rng.random((n, n_bits)) < rng.uniform(0.05, 0.5, n_bits)
    hidden = rng.normal(size=(n, n_units)).astype(np.float32)
    described = rng.random((n, n_descriptors)).astype(np.float32)
    return Inputs.of(sparse.csr_matrix(bits.astype(np.float32)), hidden, described)


def made_up_assays(seed: int = 0, n_compounds: int = 200, *, described: bool = False) -> Prepared:
    """Assays with high and with low actives, a binary one, one with values alone, a small and an auxiliary one."""
    rng = np.random.default_rng(seed)
    x = sparse.csr_matrix((rng.random((n_compounds, N_BITS)) < 0.2).astype(np.float32))
    effect = np.asarray(x @ rng.normal(size=(N_BITS, len(_SHARE))))
    truth = 6 + (effect - effect.mean(axis=0)) / effect.std(axis=0) + rng.normal(scale=0.3, size=effect.shape)
    measured = rng.random(truth.shape) < np.array(list(_SHARE.values()))
    value = {name: np.clip(truth[:, i], _LOWEST, _HIGHEST).astype(np.float32) for i, name in enumerate(_SHARE)}
    known = {name: measured[:, i] for i, name in enumerate(_SHARE)}
    y = _columns([(known[name], _labels(name, value[name], threshold)) for name, threshold in _TASKS])
    y_regr = _columns([(known[name], value[name]) for name in _REGRESSIONS])
    y_censor = y_regr.copy()
    y_censor.data = np.sign(y_regr.data - 6) * np.isin(y_regr.data, np.float32([_LOWEST, _HIGHEST]))
    descriptors = rng.normal(size=(n_compounds, len(DESCRIPTORS))).astype(np.float32) if described else None
    if descriptors is not None:
        descriptors[rng.random(descriptors.shape) < 0.01] = np.nan
    return Prepared(
        x=x,
        y=y,
        y_regr=y_regr,
        y_censor=y_censor,
        folding=np.arange(n_compounds) % 5,
        tasks=tuple(_task(column, y) for column in range(len(_TASKS))),
        regression_tasks=tuple(_regression_task(column, y_censor) for column in range(len(_REGRESSIONS))),
        manifest={
            "settings": {"fingerprint": {}, "folds": {"n_folds": 5}},
            "digest": f"made up {seed}",
            "descriptors": DESCRIPTORS_VERSION if described else None,
        },
        descriptors=descriptors,
    )


def _labels(name: str, values: np.ndarray, threshold: float) -> np.ndarray:
    above = values > (threshold or 6)
    return np.where(above != (name == "LOW"), 1, -1).astype(np.float32)


def _columns(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> sparse.csr_matrix:
    """A matrix of these columns; only what was measured is stored."""
    rows = [np.flatnonzero(known) for known, _ in columns]
    entries = np.concatenate([values[known] for known, values in columns])
    column = np.repeat(np.arange(len(columns)), [part.size for part in rows])
    return sparse.csr_matrix((entries, (np.concatenate(rows), column)), shape=(columns[0][0].size, len(columns)))


def _task(column: int, y: sparse.csr_matrix) -> Task:
    name, threshold = _TASKS[column]
    made_up = made_up_task(column, y, is_auxiliary=name == "AUX")
    direction = {"LOW": "low", "BINARY": ""}.get(name, "high")
    return replace(made_up, input_assay_id=name, threshold=threshold, direction=direction)


def _regression_task(column: int, y_censor: sparse.csr_matrix) -> RegressionTask:
    name = _REGRESSIONS[column]
    made_up = made_up_regression_task(column, y_censor, is_auxiliary=name == "AUX")
    marks = y_censor.data[y_censor.indices == column]
    counts = {"n_below": int((marks == -1).sum()), "n_above": int((marks == 1).sum())}
    return replace(made_up, input_assay_id=name, **counts)


def own_data(prepared: Prepared, training: Training = TRAINING, workers: int = 1) -> AssayData:
    """A partner's training set and assays of these matrices."""
    data = training_set(prepared, FOLDS, training)
    return AssayData(data, assays_of(prepared, data), prepared.descriptors, training.seed, workers)


def trained(data: TrainingSet, seed: int = 1) -> TrunkAndHeads:
    """A network trained for some steps on this set, from the seed's first trunk."""
    first = initial_trunk(LAYOUT, seed)
    result = train_round(data, first, None, LAYOUT, TRUNK, TRAINING, seed, 30)
    return TrunkAndHeads(first + result.trunk_change, result.state)


def predictor_of(network: TrunkAndHeads) -> Predictor:
    """The network, loaded for predictions."""
    return network.predictor(LAYOUT, TRUNK, TRAINING)
