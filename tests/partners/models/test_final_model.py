"""The finished model's files come back unchanged, and damaged ones are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from data_prep.settings import Preparation
from partners.assay_models.fitted import AssayModels
from partners.assay_models.predictor import AssayPredictor
from partners.errors import BadFeatures, CheckpointDamaged
from partners.files.checkpoint import Checkpoint, save_checkpoint
from partners.models import take_home as take_home_models
from partners.models.conformal import calibrate
from partners.models.final_model import FinalModel, KnownCompounds, Weights, known_compounds, write_model_files
from partners.models.similarity import Neighbours
from partners.models.take_home import compare_models
from partners.network.inference import Outputs, predict
from partners.training.partner_data import PartnerData
from partners.training.training import train_round
from partners.training_data.prepared_data import training_set
from tests.support.partners.fitted_models import OWN, PREPARED, fit, network
from tests.support.partners.made_up_assays import FOLDS, LAYOUT, N_BITS, TRUNK, predictor_of
from tests.support.partners.made_up_assays import TRAINING as MADE_UP_TRAINING
from tests.support.partners.synthetic import N_INPUTS, TRAINING, hybrid_set, small_trunk

_DATA = hybrid_set(5, n_compounds=400)
_LAYOUT, _FIRST, _SETTINGS = small_trunk(16)
_RESULT = train_round(_DATA, _FIRST, None, _LAYOUT, _SETTINGS, TRAINING, 0, 60)
_TRUNK = _FIRST + _RESULT.trunk_change
_NONE = AssayModels.none(_DATA.n_tasks, _DATA.n_regressions)
_WEIGHTS = Weights.of(_DATA, _TRUNK, _RESULT.state, _NONE, _LAYOUT, _SETTINGS, TRAINING)
_PLACES = np.random.default_rng(0).permutation(N_INPUTS)
_KNOWN, _LEAST = known_compounds(_DATA, _PLACES)


def model(weights: Weights = _WEIGHTS, known: KnownCompounds = _KNOWN, least: float = _LEAST) -> FinalModel:
    """A finished model of the test data."""
    return FinalModel(weights, known, _LAYOUT, _SETTINGS, TRAINING, least)


def test_it_predicts_what_the_network_predicts():
    """Probabilities and values equal `predict`'s; p-values and similarities equal their modules'."""
    outputs, plain = model().predict(_DATA.x), predict(_DATA.x, _TRUNK, _RESULT.state, _LAYOUT, _SETTINGS, TRAINING)
    np.testing.assert_array_equal(outputs.probability, plain.probabilities)
    np.testing.assert_array_equal(outputs.value, plain.values)
    np.testing.assert_array_equal(outputs.p_values.active, _WEIGHTS.calibration.p_values(plain.logits).active)
    np.testing.assert_array_equal(outputs.half_width, _WEIGHTS.calibration.half_widths())
    assert np.isfinite(outputs.half_width).any()
    np.testing.assert_array_equal(outputs.similarity, Neighbours(_DATA.x[_DATA.training_rows]).nearest(_DATA.x))


def test_it_is_calibrated_on_the_validation_fold_alone():
    """The calibration has as many scores as the fold has labels and exact values."""
    rows = _DATA.rows_of(_DATA.validation_fold)
    calibration = _WEIGHTS.calibration
    assert calibration.active.numbers.size == (_DATA.y[rows].data > 0).sum() > 0
    assert calibration.inactive.numbers.size == (_DATA.y[rows].data < 0).sum() > 0
    assert calibration.residual.numbers.size == (_DATA.y_censor[rows].data == 0).sum() > 0


def test_the_domain_holds_95_percent_of_the_validation_fold():
    """About 95 % of its compounds are similar enough, and all compounds of the training folds."""
    outputs = model().predict(_DATA.x)
    assert 0.95 <= outputs.is_similar[_DATA.rows_of(_DATA.validation_fold)].mean() < 1
    assert (outputs.similarity[_DATA.training_rows] == 1).all()
    assert outputs.is_similar[_DATA.training_rows].all()


def test_a_compound_too_far_or_of_no_class_is_out_of_the_domain():
    """Either reason is enough; without p-values only similarity counts."""
    outputs = model(least=0.5).predict(_DATA.x)
    none_left = outputs.p_values.n_labels() == 0
    np.testing.assert_array_equal(outputs.in_domain, (outputs.similarity >= np.float32(0.5))[:, None] & ~none_left)
    assert not model(least=1.0).predict(sparse.csr_matrix((1, N_INPUTS))).in_domain.any()


def test_models_are_read_as_they_were_written(tmp_path: Path):
    """A model read from files predicts the same bits; the optimiser's moments are not in them."""
    _WEIGHTS.write(tmp_path / "weights.safetensors")
    _KNOWN.write(tmp_path / "compounds.safetensors")
    weights = Weights.read(tmp_path / "weights.safetensors", _LAYOUT, _KNOWN.x.shape[0])
    known = KnownCompounds.read(tmp_path / "compounds.safetensors", _LAYOUT)
    assert not weights.state.first_moment
    np.testing.assert_array_equal(known.places, _PLACES)
    assert (known.x != _KNOWN.x).nnz == 0
    before, after = model().predict(_DATA.x), model(weights, known).predict(_DATA.x)
    for name in ("probability", "value", "similarity", "in_domain"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.p_values.inactive, after.p_values.inactive)


def test_counts_are_kept(tmp_path: Path):
    """The known compounds of a counted fingerprint come back with their counts, on which the hidden layer depends."""
    counted = hybrid_set(5)
    counted.x.data[::3] = 4
    known = known_compounds(counted, _PLACES)[0]
    known.write(tmp_path / "compounds.safetensors")
    read = KnownCompounds.read(tmp_path / "compounds.safetensors", _LAYOUT)
    assert set(read.x.data) == {1, 4}
    assert (read.x != counted.x[counted.training_rows]).nnz == 0


@pytest.mark.parametrize(
    "change",
    [
        {"compounds.starts": np.array([0, 1, 9], np.int64)},
        {"compounds.bits": np.array([1, N_INPUTS], np.uint16)},
        {"places": np.zeros(N_INPUTS, np.int64)},
        {"places": None},
        {"compounds.counts": np.array([1], np.float32)},
        {"compounds.counts": np.array([1, np.nan], np.float32)},
        {"compounds.counts": np.array([1, np.inf], np.float32)},
        {"compounds.counts": np.array([2, 0], np.float32)},
        {"compounds.counts": np.array([2, -1], np.float32)},
        {"compounds.counts": np.array([2, 1.5], np.float32)},
        {"compounds.counts": np.array([[2, 1]], np.float32)},
    ],
)
def test_compounds_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, np.ndarray | None]):
    """Starts beyond the bits, bits beyond the fingerprint, no permutation, a missing part, and what are no counts."""
    sound = {
        "compounds.starts": np.array([0, 1, 2], np.int64),
        "compounds.bits": np.array([1, 5], np.uint16),
        "places": np.arange(N_INPUTS),
    }
    file = tmp_path / "compounds.safetensors"
    save_checkpoint(file, Checkpoint(others=sound))
    assert KnownCompounds.read(file, _LAYOUT).x.shape == (2, N_INPUTS)
    others = {name: array for name, array in (sound | change).items() if array is not None}
    save_checkpoint(file, Checkpoint(others=others))
    with pytest.raises(CheckpointDamaged):
        KnownCompounds.read(file, _LAYOUT)


def test_a_calibration_of_other_tasks_is_refused(tmp_path: Path):
    """A file whose heads do not fit to calibration or to models of assays is damaged."""
    other = Weights.of(
        hybrid_set(5, n_tasks=3),
        _TRUNK,
        train_round(hybrid_set(5, n_tasks=3), _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 1).state,
        AssayModels.none(3, _DATA.n_regressions),
        _LAYOUT,
        _SETTINGS,
        TRAINING,
    )
    file, n_known = tmp_path / "w.safetensors", _KNOWN.x.shape[0]
    Weights(_TRUNK, _WEIGHTS.state, _NONE, other.calibration).write(file)
    with pytest.raises(CheckpointDamaged, match="calibration is for other tasks"):
        Weights.read(file, _LAYOUT, n_known)
    Weights(_TRUNK, _WEIGHTS.state, other.assay_models, _WEIGHTS.calibration).write(file)
    with pytest.raises(CheckpointDamaged, match="assays are for other tasks"):
        Weights.read(file, _LAYOUT, n_known)


@pytest.fixture(scope="module")
def take_home(tmp_path_factory: pytest.TempPathFactory) -> AssayModels:
    """A made-up partner's models on the federated trunk, with descriptors."""
    return fit(tmp_path_factory.mktemp("fitted") / "models.safetensors").take_home


def written(take_home: AssayModels, folder: Path, own: PartnerData = OWN) -> tuple[Path, Path, float]:
    """Files of weights and compounds of that model, and the least similarity."""
    weights_file, compounds_file, federated = folder / "weights", folder / "compounds", network(2)
    least = write_model_files(
        {weights_file: (federated.trunk, federated.state, take_home)},
        compounds_file,
        own.training_set,
        np.arange(N_BITS),
        layout=LAYOUT,
        trunk_settings=TRUNK,
        training=MADE_UP_TRAINING,
        descriptors=PREPARED.descriptors,
    )
    return weights_file, compounds_file, least


def test_a_model_with_assay_models_predicts_as_they_do(take_home: AssayModels, tmp_path: Path):
    """From its files: probabilities, values and p-values of network and assay models together."""
    *files, least = written(take_home, tmp_path)
    settings = {"n_bits": N_BITS, "trunk_settings": TRUNK, "training": MADE_UP_TRAINING, "least_similarity": least}
    read, data, descriptors = FinalModel.read(*files, **settings), OWN.training_set, PREPARED.descriptors
    predictor = AssayPredictor(predictor_of(network(2)), take_home, data.x[data.training_rows])
    found, expected = read.predict(data.x, descriptors), predictor(data.x, descriptors)
    np.testing.assert_array_equal(found.probability, expected.probabilities)
    np.testing.assert_array_equal(found.value, expected.values)
    np.testing.assert_array_equal(found.p_values.active, read.calibration.p_values(expected.logits).active)
    assert (found.probability != predictor_of(network(2))(data.x).probabilities).any()
    assert read.uses_descriptors
    with pytest.raises(BadFeatures, match="descriptors"):
        read.predict(data.x)


def test_with_counts_it_predicts_what_was_compared(tmp_path: Path):
    """On a set with counts, the model read from its files gives the logits and values that `compare_models` scored."""
    x = PREPARED.x.copy()
    x.data[::3] = 4
    settings = PREPARED.manifest["settings"] | {"fingerprint": {"counts": True}}
    prepared = replace(PREPARED, x=x, manifest=PREPARED.manifest | {"settings": settings})
    own = replace(OWN, training_set=training_set(prepared, FOLDS, MADE_UP_TRAINING))
    fitted = fit(tmp_path / "models.safetensors", prepared=prepared, own=own)
    scored: list[Outputs] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take_home_models, "evaluate_outputs", lambda _own, _settings, *outputs: scored.extend(outputs))
        compare_models(prepared, own, Preparation(folds=FOLDS), fitted, network(1), network(2), LAYOUT, TRUNK)
    *files, least = written(fitted.take_home, tmp_path, own)
    read = FinalModel.read(
        *files, n_bits=N_BITS, trunk_settings=TRUNK, training=MADE_UP_TRAINING, least_similarity=least
    )
    assert prepared.descriptors is not None
    data, (test, validation) = own.training_set, scored[2:4]  # after the strongest local models
    for fold, expected in ((data.test_fold, test), (data.validation_fold, validation)):
        rows = data.rows_of(fold)
        found = read.predict(data.x[rows], prepared.descriptors[rows])
        np.testing.assert_array_equal(found.probability, expected.probabilities)
        np.testing.assert_array_equal(found.p_values.active, read.calibration.p_values(expected.logits).active)
        np.testing.assert_array_equal(found.value, expected.values)


def test_the_calibration_is_of_the_assay_models(take_home: AssayModels, tmp_path: Path):
    """Scores of the validation fold's labels are those that the whole model gives."""
    weights_file, _, _ = written(take_home, tmp_path)
    data = OWN.training_set
    weights = Weights.read(weights_file, LAYOUT, data.training_rows.size)
    rows = data.rows_of(data.validation_fold)
    predictor = AssayPredictor(predictor_of(network(2)), take_home, data.x[data.training_rows])
    assert PREPARED.descriptors is not None
    outputs = predictor(data.x[rows], PREPARED.descriptors[rows])
    expected = calibrate(outputs, data.y[rows], data.y_regr[rows], data.y_censor[rows]).arrays()
    for name, array in weights.calibration.arrays().items():
        np.testing.assert_array_equal(array, expected[name])


def test_weights_for_other_compounds_are_refused(take_home: AssayModels, tmp_path: Path):
    """A process whose known compounds are not those of the other file."""
    weights_file, _, _ = written(take_home, tmp_path)
    with pytest.raises(CheckpointDamaged):
        Weights.read(weights_file, LAYOUT, 10)
