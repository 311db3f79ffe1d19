"""All models of a partner: what they are fitted to, what calibrates them, and what never matters."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from threadpoolctl import threadpool_limits

from partners.assay_models import fitting
from partners.assay_models.assays import Assay
from partners.assay_models.fitted import AssayModels, Mixing
from partners.assay_models.fitting import AssayData, choose_kinds, fit_assay_models
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import expected_values, fit_gaussian_process
from partners.assay_models.inputs import kernel
from partners.assay_models.predictor import AssayPredictor
from partners.errors import BadFolds
from partners.network.inference import Predictor
from partners.settings import LocalKind
from partners.training_data.training_set import TrainingSet
from tests.support.partners.made_up_assays import FOLDS, made_up_assays, own_data, predictor_of, trained

PREPARED = made_up_assays(described=True)
OWN = own_data(PREPARED)
KINDS: list[LocalKind] = ["mean", "gaussian process", "forest", "network", "mean"]  # HIGH LOW BINARY FEW VALUES


@cache
def network() -> Predictor:
    """A trained trunk with heads."""
    return predictor_of(trained(OWN.data))


def fitted(own: AssayData = OWN, *, on_trunk: bool = True, heads: tuple[int, ...] = (0, 4)) -> AssayModels:
    """All models, with heads averaged in for a task with a model and for one without."""
    return fit_assay_models(own, KINDS, network(), on_trunk=on_trunk, heads=heads)


@cache
def plain() -> AssayModels:
    """Models of the data as it is."""
    return fitted()


def bytes_of(models: AssayModels, without: str = " ") -> dict[str, bytes]:
    """Every array's bytes but those of names that start so."""
    return {name: array.tobytes() for name, array in models.arrays().items() if not name.startswith(without)}


def with_other_labels(own: AssayData, fold: int, seed: int = 0) -> AssayData:
    """The same measurements in a fold, with other results: labels, values and marks are permuted."""
    rng, data = np.random.default_rng(seed), own.data
    y, values, marks = data.y.copy(), data.y_regr.copy(), data.y_censor.copy()
    for matrix in (y, values, marks):
        mine = np.flatnonzero(data.folding[np.repeat(np.arange(data.n_compounds), np.diff(matrix.indptr))] == fold)
        matrix.data[mine] = matrix.data[rng.permutation(mine)]
    other = replace(data, y=y, y_regr=values, y_censor=marks)
    assert (other.y != data.y).nnz > 0
    return replace(own, data=other, assays=tuple(_other_values(assay, data, fold, rng) for assay in own.assays))


def _other_values(assay: Assay, data: TrainingSet, fold: int, rng: np.random.Generator) -> Assay:
    order, mine = np.arange(assay.rows.size), np.flatnonzero(data.folding[assay.rows] == fold)
    order[mine] = rng.permutation(mine)
    return replace(assay, values=assay.values[order], marks=assay.marks[order])


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_does_not_matter(workers: int):
    """The same bytes, and the same choices."""
    many = replace(OWN, workers=workers)
    assert bytes_of(fitted(many)) == bytes_of(plain())
    assert choose_kinds(many) == choose_kinds(OWN)


def test_the_seed_decides_the_forests_alone():
    """The same seed gives the same bytes, another one other forests and no other process."""
    again, other = fitted(), fitted(replace(OWN, seed=8))
    assert bytes_of(again) == bytes_of(plain())
    arrays = bytes_of(other)
    assert arrays["forest.number"] != bytes_of(plain())["forest.number"]
    assert arrays["process.weight"] == bytes_of(plain())["process.weight"]


def test_the_test_folds_labels_do_not_matter():
    """Every array is the same."""
    assert bytes_of(fitted(with_other_labels(OWN, FOLDS.test))) == bytes_of(plain())


def test_the_validation_folds_labels_matter_for_the_mixing_alone():
    """What they calibrate changes, nothing else."""
    other = fitted(with_other_labels(OWN, FOLDS.validation))
    assert bytes_of(other, "mixing.") == bytes_of(plain(), "mixing.")
    assert other.arrays()["mixing.offset"].tobytes() != bytes_of(plain())["mixing.offset"]


def test_held_out_descriptors_do_not_scale():
    """Quantiles are those of the training folds."""
    assert PREPARED.descriptors is not None
    descriptors = PREPARED.descriptors.copy()
    descriptors[OWN.data.folding == FOLDS.test] += 5
    other = replace(OWN, descriptors=descriptors)
    np.testing.assert_array_equal(other.quantiles(), OWN.quantiles())
    assert bytes_of(fitted(other)) == bytes_of(plain())
    assert not replace(OWN, descriptors=None).quantiles().size


def test_every_kind_has_its_parts_and_its_tasks():
    """Processes and forests as chosen; tasks and regression tasks of the network and of AUX have no model."""
    parts = [(model.process is not None, model.forest is not None) for model in plain().models]
    assert parts == [(True, True), (True, False), (False, True), (True, True)]
    np.testing.assert_array_equal(plain().of_task, [0, 0, 1, 2, -1, -1])
    np.testing.assert_array_equal(plain().of_regression, [0, 1, 3, -1, -1])
    assert plain().uses_trunk
    assert not fitted(on_trunk=False).uses_trunk


@pytest.mark.parametrize("on_trunk", [False, True])
def test_a_model_is_the_fit_to_its_training_measurements(on_trunk: bool):  # noqa: FBT001 -- a parameter
    """Process and forest of an assay's compounds in the training folds, its bounds replaced."""
    inputs = OWN.inputs(np.arange(OWN.data.n_compounds), network() if on_trunk else None)
    assay = OWN.training_part(OWN.assays[0])
    assert not np.isin(OWN.data.folding[assay.rows], (FOLDS.test, FOLDS.validation)).any()
    with threadpool_limits(limits=1):  # as they are fitted: other threads, other last digits
        similarity = kernel(inputs[assay.rows], inputs[assay.rows])
        values = expected_values(similarity, assay.values, assay.marks, inputs.n_kernels)
        process = fit_gaussian_process(similarity, values, inputs.n_kernels)
    found = fitted(on_trunk=on_trunk).models[0]
    assert found.process is not None
    assert found.forest is not None
    np.testing.assert_array_equal(OWN.data.training_rows[found.process.compounds], assay.rows)
    assert found.process.process.mean == process.mean
    np.testing.assert_array_equal(found.process.process.weight, process.weight)
    forest = fit_forest(inputs[assay.rows], values, OWN.seed)
    assert found.forest.number.tobytes() == forest.number.tobytes()


def test_of_a_large_assay_no_kernel_is_computed(monkeypatch: pytest.MonkeyPatch):
    """A forest takes it with its bounds as they are."""
    monkeypatch.setattr(fitting, "MOST_ROWS", 20)
    monkeypatch.setattr(fitting, "kernel", None)
    kinds: list[LocalKind] = ["forest", "network", "network", "network", "network"]
    found = fit_assay_models(OWN, kinds, network(), on_trunk=False).models[0].forest
    assay = OWN.training_part(OWN.assays[0])
    assert assay.marks.any()
    expected = fit_forest(OWN.inputs(assay.rows), assay.values, OWN.seed)
    assert found is not None
    np.testing.assert_array_equal(found.number, expected.number)


def test_only_heads_that_are_wanted_are_averaged_in():
    """A task with a model has the network's logit if it is among the heads; one without has it anyway."""
    mixing = plain().mixing
    np.testing.assert_array_equal(mixing.by_network > 0, [True, False, False, False, True, True])
    np.testing.assert_array_equal(np.sign(mixing.by_value), [1, 1, -1, 1, 0, 0])
    assert np.isfinite(np.concatenate([getattr(mixing, part.name) for part in fields(Mixing)])).all()


def test_value_and_logit_count_the_same():
    """Both are scaled to the same deviation over the validation fold's labelled compounds of the task."""
    data = OWN.data
    rows = data.rows_of(data.validation_fold)
    measured = rows[data.y[rows][:, [0]].toarray()[:, 0] != 0]
    assert PREPARED.descriptors is not None
    predictor = AssayPredictor(network(), plain(), data.x[data.training_rows])
    value = predictor.values(data.x[measured], PREPARED.descriptors[measured])[:, 0] * plain().mixing.by_value[0]
    logit = network()(data.x[measured]).logits[:, 0] * plain().mixing.by_network[0]
    assert measured.size >= fitting._FEWEST_TO_SCALE
    assert value.std() == pytest.approx(logit.std(), rel=1e-3)


def test_without_a_validation_fold_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch):
    """There is nothing to calibrate on; the error names the fold, before any assay is fitted."""
    monkeypatch.setattr(fitting, "fit_assay_model", None)
    folding = np.where(OWN.data.folding == FOLDS.validation, FOLDS.test, OWN.data.folding)
    with pytest.raises(BadFolds, match=f"fold {FOLDS.validation}"):
        fitted(replace(OWN, data=replace(OWN.data, folding=folding)))


@pytest.mark.parametrize("on_trunk", [False, True])
def test_inputs_of_some_compounds_are_those_among_all(on_trunk: bool):  # noqa: FBT001 -- a parameter
    """The same bits, hidden layer and scaled descriptors, whichever rows are asked for."""
    everything = OWN.inputs(np.arange(OWN.data.n_compounds), network() if on_trunk else None)
    rows = OWN.data.training_rows
    found = OWN.inputs(rows, network() if on_trunk else None)
    np.testing.assert_array_equal(found.dense(), everything[rows].dense())


def test_a_task_without_labels_to_calibrate_on_has_its_training_share():
    """At the middle of the scores, its probability is the share of actives in the training folds."""
    data = OWN.data
    y = data.y.tolil()
    y[data.rows_of(data.validation_fold), 2] = 0
    own = replace(OWN, data=replace(data, y=sparse.csr_matrix(y)))
    models = fitted(own)
    rows = own.data.rows_of(data.validation_fold)
    assert PREPARED.descriptors is not None
    predictor = AssayPredictor(network(), models, data.x[data.training_rows])
    logits = predictor(data.x[rows], PREPARED.descriptors[rows]).logits[:, 2]
    labels = data.y[data.training_rows].tocsc()[:, [2]].data
    share = ((labels > 0).sum() + 1) / (labels.size + 2)
    assert expit(logits.mean()) == pytest.approx(share, abs=1e-3)


def test_progress_counts_every_assay():
    """From the first to the last, in order."""
    seen: list[tuple[int, int]] = []
    fit_assay_models(OWN, KINDS, network(), on_trunk=False, progress=lambda *done: seen.append(done))
    assert seen == [(done, 5) for done in range(1, 6)]
