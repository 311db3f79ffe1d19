"""Predictions of networks and assay models together: of single compounds, blocks and many, against plain numpy."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from threadpoolctl import threadpool_limits

from data_prep.descriptors.listed import DESCRIPTORS
from data_prep.descriptors.scaling import quantile_scale, quantiles_of
from partners.assay_models.fitted import AssayModel, AssayModels, KnownProcess, Mixing
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import GaussianProcess
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.predictor import AssayPredictor
from partners.errors import BadFeatures, CheckpointDamaged, FeatureCountMismatch
from partners.network.inference import Outputs, Predictor
from tests.support.partners.made_up_assays import (
    N_BITS,
    made_up_assays,
    own_data,
    predictor_of,
    random_inputs,
    trained,
)

PREPARED = made_up_assays(described=True)
DATA = own_data(PREPARED).data
KNOWN = DATA.x[DATA.training_rows]
MOST = 300
NEW = random_inputs(9, MOST).bits
DESCRIPTORS_OF_NEW = np.random.default_rng(9).normal(size=(MOST, len(DESCRIPTORS))).astype(np.float32)


@cache
def network() -> Predictor:
    """A trained trunk with heads."""
    return predictor_of(trained(DATA))


def process_on(compounds: np.ndarray, rng: np.random.Generator) -> KnownProcess:
    """A process with random weights of these known compounds."""
    return KnownProcess(compounds, GaussianProcess(6.1, rng.normal(size=compounds.size).astype(np.float32)))


@cache
def models(*, uses_trunk: bool, described: bool) -> AssayModels:
    """A process, a forest and both, for three of the tasks, two of which are mixed with the network's logit."""
    rng = np.random.default_rng(5)
    descriptors = PREPARED.descriptors[DATA.training_rows] if PREPARED.descriptors is not None else np.zeros((0, 0))
    quantiles = np.nan_to_num(quantiles_of(descriptors)) if described else np.zeros((0, 0), np.float32)
    scaled = quantile_scale(descriptors, quantiles) if described else None
    inputs = Inputs.of(KNOWN, network().hidden(KNOWN) if uses_trunk else None, scaled)
    n_known = KNOWN.shape[0]
    processes = [process_on(np.flatnonzero(rng.random(n_known) < 0.4), rng) for _ in range(2)]
    forests = [fit_forest(inputs, rng.normal(6, 1, n_known), seed) for seed in range(2)]
    return AssayModels(
        uses_trunk=uses_trunk,
        quantiles=quantiles,
        models=(
            AssayModel(processes[0], None),
            AssayModel(None, forests[0]),
            AssayModel(processes[1], forests[1]),
        ),
        of_task=np.array([0, 0, 2, 1, -1, -1]),
        of_regression=np.array([0, -1, 2, 1, -1]),
        mixing=Mixing(
            np.float32([1, -1.5, 2, 0.5, 0, 0]), np.float32([0, 0.5, 0, 0.3, 1, 0.7]), np.float32([0, 1, 2, -1, 0, 0.2])
        ),
    )


@cache
def predictor(*, uses_trunk: bool, described: bool) -> AssayPredictor:
    """All of it, loaded."""
    return AssayPredictor(network(), models(uses_trunk=uses_trunk, described=described), KNOWN)


def predict(rows: slice, *, uses_trunk: bool = True, described: bool = True) -> Outputs:
    """Predictions for some of the new compounds."""
    descriptors = DESCRIPTORS_OF_NEW[rows] if described else None
    return predictor(uses_trunk=uses_trunk, described=described)(NEW[rows], descriptors)


def plain(*, uses_trunk: bool, described: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits and values by the formula in double precision, all compounds at once."""
    own = models(uses_trunk=uses_trunk, described=described)
    hidden = [network().hidden(x) if uses_trunk else None for x in (NEW, KNOWN)]
    new = Inputs.of(NEW, hidden[0], quantile_scale(DESCRIPTORS_OF_NEW, own.quantiles) if described else None)
    similarity = kernel(new, Inputs.of(KNOWN, hidden[1])).astype(np.float64)
    columns = []
    for model in own.models:
        parts = []
        if model.process:
            process = model.process.process
            parts.append(process.mean + similarity[:, model.process.compounds] @ process.weight)
        if model.forest:
            parts.append(model.forest.predict(new.dense()))
        columns.append(np.mean(parts, axis=0))
    found, by_network = np.stack(columns, axis=1), network()(NEW)
    logits = by_network.logits * own.mixing.by_network + own.mixing.offset
    values = by_network.values.astype(np.float64)
    for column, number in enumerate(own.of_task):
        logits[:, column] += own.mixing.by_value[column] * found[:, number] if number >= 0 else 0
    for column, number in enumerate(own.of_regression):
        values[:, column] = found[:, number] if number >= 0 else values[:, column]
    return logits, values


@pytest.mark.parametrize("uses_trunk", [False, True])
@pytest.mark.parametrize("described", [False, True])
def test_it_is_the_formula(uses_trunk: bool, described: bool):  # noqa: FBT001 -- parameters
    """Kernel times weight, means of trees, and both mixed with the network's logits."""
    found = predict(slice(None), uses_trunk=uses_trunk, described=described)
    logits, values = plain(uses_trunk=uses_trunk, described=described)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.values, values, rtol=1e-4, atol=1e-4)


@settings(max_examples=25)
@given(st.integers(0, MOST - 1), st.integers(1, MOST), st.booleans())
def test_a_compound_gets_the_same_bits_alone_or_among_others(start: int, n: int, uses_trunk: bool):  # noqa: FBT001 -- drawn
    """In any part of the compounds, of 1 to 300, at any place of a block."""
    together, part = predict(slice(None), uses_trunk=uses_trunk), slice(start, start + n)
    found = predict(part, uses_trunk=uses_trunk)
    np.testing.assert_array_equal(found.logits, together.logits[part])
    np.testing.assert_array_equal(found.values, together.values[part])


@pytest.mark.parametrize("n", [1, 127, 128, 129, 256, 300])
def test_blocks_end_anywhere(n: int):
    """Around the size of a block, too."""
    np.testing.assert_array_equal(predict(slice(0, n)).logits, predict(slice(None)).logits[:n])


@pytest.mark.parametrize("n_threads", [2, 3, 4])
def test_the_number_of_threads_does_not_matter(n_threads: int):
    """A model predicts the same bits on a machine with any number of cores, also on many known compounds."""
    rng, known = np.random.default_rng(0), random_inputs(3, 5000).bits
    processes = [process_on(np.arange(number, 5000, 1 + number), rng) for number in range(3)]
    own = replace(
        models(uses_trunk=False, described=False), models=tuple(AssayModel(process, None) for process in processes)
    )
    many = AssayPredictor(network(), own, known)
    found = []
    for limit in (1, n_threads):
        with threadpool_limits(limits=limit):
            found.append(many.values(NEW))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_does_not_matter(workers: int):
    """Blocks in threads give the same bits in the same places."""
    many = AssayPredictor(network(), models(uses_trunk=True, described=True), KNOWN, workers)
    found = many.values(NEW, DESCRIPTORS_OF_NEW)
    np.testing.assert_array_equal(found, predictor(uses_trunk=True, described=True).values(NEW, DESCRIPTORS_OF_NEW))


def test_no_compounds_give_no_predictions():
    """Tables without rows."""
    found = predict(slice(0, 0))
    assert found.logits.shape == (0, 6)
    assert found.values.shape == (0, 5)


def test_without_a_model_the_networks_logit_is_calibrated():
    """Tasks and regression tasks of the network alone: its logit in a line, its value as it is."""
    found, alone, mixing = predict(slice(None)), network()(NEW), models(uses_trunk=True, described=True).mixing
    for column in (4, 5):
        expected = alone.logits[:, column] * mixing.by_network[column] + mixing.offset[column]
        np.testing.assert_array_equal(found.logits[:, column], expected)
    np.testing.assert_array_equal(found.values[:, [1, 4]], alone.values[:, [1, 4]])


def test_with_no_models_at_all_the_network_speaks():
    """Its logits and values to the bit, and no descriptors are needed."""
    none = AssayPredictor(network(), AssayModels.none(DATA.n_tasks, DATA.n_regressions), KNOWN)
    found, alone = none(NEW), network()(NEW)
    np.testing.assert_array_equal(found.logits, alone.logits)
    np.testing.assert_array_equal(found.values, alone.values)


def test_missing_descriptors_are_refused():
    """If the models use them; else none are needed, and given ones change nothing."""
    with pytest.raises(BadFeatures, match="descriptors"):
        predictor(uses_trunk=True, described=True)(NEW)
    plainly = predictor(uses_trunk=True, described=False)
    np.testing.assert_array_equal(plainly(NEW).logits, plainly(NEW, DESCRIPTORS_OF_NEW).logits)


def test_descriptors_of_other_compounds_or_columns_are_refused():
    """As many rows as compounds and as many columns as the models know."""
    full = predictor(uses_trunk=True, described=True)
    for wrong in (DESCRIPTORS_OF_NEW[:, :-1], DESCRIPTORS_OF_NEW[:-1], DESCRIPTORS_OF_NEW[0]):
        with pytest.raises(BadFeatures, match="descriptors"):
            full(NEW, wrong)


def test_other_fingerprints_are_refused():
    """Another number of bits."""
    with pytest.raises(FeatureCountMismatch):
        predictor(uses_trunk=False, described=False)(sparse.csr_matrix((2, N_BITS + 1)))


def test_a_forest_of_other_inputs_is_refused():
    """One that asks for a column that the models do not have."""
    own = models(uses_trunk=False, described=False)
    forest = own.models[1].forest
    assert forest is not None
    other = replace(forest, feature=np.where(forest.feature >= 0, N_BITS, -1).astype(np.int32))
    damaged = replace(own, models=(own.models[0], AssayModel(None, other), own.models[2]))
    with pytest.raises(CheckpointDamaged, match="inputs"):
        AssayPredictor(network(), damaged, KNOWN)


def test_counts_predict_as_bits():
    """A model of bits sees which bits are set; the network has its own way with counts."""
    counted = NEW.copy()
    counted.data[::3] = 4
    values = [predictor(uses_trunk=False, described=False).values(x) for x in (NEW, counted)]
    np.testing.assert_array_equal(*values)
