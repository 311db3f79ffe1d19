"""A finished model: its files (weights with calibration, fingerprints of the training compounds) and its predictions.

All of it is private to the partner: heads and calibration reveal assay results, the fingerprints reveal compounds, and
the order of the bits is a secret of the group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.fitted import AssayModels
from partners.assay_models.inputs import Inputs
from partners.assay_models.predictor import AssayPredictor
from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.models.conformal import Calibration, PValues, calibrate
from partners.models.similarity import Neighbours
from partners.network.inference import Outputs, Predictor
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout, trunk_digest, trunk_layout
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

_MOST_VALIDATED = 1000  # validation compounds from which the least similarity is computed
_LEAST_SHARE = 0.05  # share of them that is less similar

_ASSAYS = "assays."
_STARTS, _BITS, _PLACES = "compounds.starts", "compounds.bits", "places"
_COUNTS = "compounds.counts"  # absent if all are 1


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Trunk and heads of a finished model, with their calibration."""

    trunk: NDArray[np.float32]
    state: PartnerState  # without the optimiser's moments
    assay_models: AssayModels  # of single assays, which are used with or instead of the heads
    calibration: Calibration  # of the predictions of all of them

    @classmethod
    def of(  # noqa: PLR0913 -- a whole model and what it was trained on
        cls,
        training_set: TrainingSet,
        trunk: NDArray[np.float32],
        state: PartnerState,
        assay_models: AssayModels,
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        training: Training,
        descriptors: NDArray[np.float32] | None = None,
        *,
        workers: int = 1,
    ) -> "Weights":
        """Calibrate a trained model on the validation fold; raises what Predictor raises.

        descriptors : (n_compounds, n_descriptors) of the training set, needed if the assay models use them
        workers     : threads; the calibration does not depend on their number
        """
        rows = training_set.rows_of(training_set.validation_fold)
        network = Predictor(trunk, state, layout, trunk_settings, training)
        predictor = AssayPredictor(network, assay_models, training_set.x[training_set.training_rows], workers)
        outputs = predictor(training_set.x[rows], None if descriptors is None else descriptors[rows])
        labels = (training_set.y[rows], training_set.y_regr[rows], training_set.y_censor[rows])
        bare = PartnerState(state.heads, {}, {}, state.n_steps, state.normalisation)
        return cls(trunk, bare, assay_models, calibrate(outputs, *labels))

    def write(self, path: Path) -> None:
        """Write atomically."""
        assays = {_ASSAYS + name: array for name, array in self.assay_models.arrays().items()}
        save_checkpoint(path, Checkpoint(self.trunk, self.state, others=self.calibration.arrays() | assays))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout, n_known: int) -> "Weights":
        """Inverse of `write`, for a model with this many training compounds.

        Raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch.
        """
        stored = load_checkpoint(path, layout)
        assays = {n.removeprefix(_ASSAYS): array for n, array in stored.others.items() if n.startswith(_ASSAYS)}
        weights = cls(
            stored.need_trunk(path),
            stored.need_partner(path),
            AssayModels.from_arrays(assays, n_known),
            Calibration.from_arrays(stored.others),
        )
        expected = (weights.state.n_tasks, weights.state.n_regressions)
        if (weights.calibration.n_labels.size, weights.calibration.n_values.size) != expected:
            raise CheckpointDamaged(f"{path.name}: the calibration is for other tasks than the heads")
        if (weights.assay_models.of_task.size, weights.assay_models.of_regression.size) != expected:
            raise CheckpointDamaged(f"{path.name}: the models of assays are for other tasks than the heads")
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class KnownCompounds:
    """Fingerprints of the training folds' compounds, and the group's secret order of the bits."""

    x: sparse.csr_matrix  # (n_known, n_bits) ones, or counts if the plan's fingerprint has counts
    places: NDArray[np.int64]  # (n_bits,) position of every bit in that order

    def write(self, path: Path) -> None:
        """Write atomically, with bit numbers in the smallest integer type that holds them."""
        n_bits = self.x.shape[1]
        bits = self.x.indices.astype(np.uint16 if n_bits <= 1 << 16 else np.uint32)
        others = {_STARTS: self.x.indptr.astype(np.int64), _BITS: bits, _PLACES: self.places.astype(np.int64)}
        if (self.x.data != 1).any():
            others[_COUNTS] = self.x.data.astype(np.float32)
        save_checkpoint(path, Checkpoint(others=others))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> "KnownCompounds":
        """Inverse of `write`; raises FileNotFoundError or CheckpointDamaged."""
        arrays = load_checkpoint(path, layout).others
        if not arrays.keys() >= {_STARTS, _BITS, _PLACES}:
            raise CheckpointDamaged(f"{path.name}: found {', '.join(sorted(arrays))}, expected compounds and places")
        starts, bits, places = arrays[_STARTS], arrays[_BITS].astype(np.int32), arrays[_PLACES]
        counts = arrays.get(_COUNTS, np.ones(bits.size, np.float32))
        n_bits = layout.n_inputs
        whole = starts[0] == 0 and starts[-1] == bits.size and (np.diff(starts) >= 0).all()
        if counts.shape != bits.shape or not (np.isfinite(counts) & (counts >= 1) & (counts == np.floor(counts))).all():
            raise CheckpointDamaged(f"{path.name}: found other counts, expected a whole number for each of the bits")
        if not whole or bits.max(initial=0) >= n_bits or not np.array_equal(np.sort(places), np.arange(n_bits)):
            raise CheckpointDamaged(f"{path.name}: compounds or places do not fit {n_bits} bits")
        shape = (starts.size - 1, n_bits)
        return cls(sparse.csr_matrix((counts, bits, starts), shape=shape), places)


def known_compounds(training_set: TrainingSet, places: NDArray[np.int64]) -> tuple[KnownCompounds, float]:
    """Compounds of the training folds, and the least similarity to them at which a new compound is in the domain.

    95 % of the validation fold's compounds (up to 1000 of them, spread evenly) are at least that similar to the nearest
    compound of the training folds; 0 without any.
    """
    x = training_set.x[training_set.training_rows]
    x.eliminate_zeros()
    rows = training_set.rows_of(training_set.validation_fold)
    spread = rows[np.linspace(0, rows.size - 1, min(rows.size, _MOST_VALIDATED)).astype(np.int64)]
    if not spread.size:
        return KnownCompounds(x, places), 0.0
    similarity = Neighbours(x).nearest(training_set.x[spread])
    return KnownCompounds(x, places), float(np.quantile(similarity, _LEAST_SHARE, method="lower"))


def write_model_files(  # noqa: PLR0913 -- whole models and what they were trained on
    models: Mapping[Path, tuple[NDArray[np.float32], PartnerState, AssayModels]],
    compounds_file: Path,
    training_set: TrainingSet,
    places: NDArray[np.int64],
    *,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
    descriptors: NDArray[np.float32] | None = None,
    workers: int = 1,
) -> float:
    """Calibrate finished models and write their files, and the training compounds; return the least similarity.

    models : file of the weights to trunk (n_params,), heads and models of assays, of each model
    places : (n_bits,) order of the bits
    workers : threads; the files do not depend on their number
    The least similarity is that of `known_compounds`. Raises what Predictor raises.
    """
    known, least_similarity = known_compounds(training_set, places)
    for weights_file, (trunk, state, assay_models) in models.items():
        weights = Weights.of(
            training_set, trunk, state, assay_models, layout, trunk_settings, training, descriptors, workers=workers
        )
        weights.write(weights_file)
    known.write(compounds_file)
    return least_similarity


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Predictions of a model for some compounds."""

    probability: NDArray[np.float32]  # (n, n_tasks) of being active
    p_values: PValues  # (n, n_tasks)
    value: NDArray[np.float32]  # (n, n_regressions), in the units of the measured values
    half_width: NDArray[np.float32]  # (n_regressions,) of the interval around a value; NaN with too few values
    similarity: NDArray[np.float32]  # (n,) Tanimoto to the nearest compound of the training folds
    is_similar: NDArray[np.bool_]  # (n, n_tasks) whether a compound is similar enough to those of the task's model
    value_is_similar: NDArray[np.bool_]  # (n, n_regressions) the same

    @property
    def in_domain(self) -> NDArray[np.bool_]:
        """Whether a compound is similar enough and a class is possible, by classification task; (n, n_tasks).

        A compound that fits neither class is unlike the calibration's. For a regression task use `value_is_similar`.
        """
        fits_none: NDArray[np.bool_] = self.p_values.n_labels() == 0
        return self.is_similar & ~fits_none


class FinalModel:
    """A finished model, loaded once for many predictions: a compound gets the same bits alone or among others."""

    def __init__(
        self,
        weights: Weights,
        known: KnownCompounds,
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        training: Training,
        least_similarity: float,
    ) -> None:
        network = Predictor(weights.trunk, weights.state, layout, trunk_settings, training)
        self._predictor = AssayPredictor(network, weights.assay_models, known.x)
        self.n_descriptors = weights.assay_models.quantiles.shape[1]
        self.uses_descriptors = weights.assay_models.uses_descriptors
        self.calibration = weights.calibration
        self.places = known.places
        self.n_tasks, self.n_regressions = weights.state.n_tasks, weights.state.n_regressions
        self._half_width = weights.calibration.half_widths()
        self._neighbours = Neighbours(known.x)
        self.least_similarity = np.float32(least_similarity)
        self.trunk_digest = trunk_digest(weights.trunk)

    @classmethod
    def read(
        cls,
        weights_file: Path,
        compounds_file: Path,
        *,
        n_bits: int,
        trunk_settings: TrunkSettings,
        training: Training,
        least_similarity: float,
    ) -> Self:
        """Read one of the models that `write_model_files` wrote.

        Raises FileNotFoundError, CheckpointDamaged, CheckpointMismatch, and what Predictor raises.
        """
        layout = trunk_layout(n_bits, trunk_settings.hidden)
        known = KnownCompounds.read(compounds_file, layout)
        weights = Weights.read(weights_file, layout, known.x.shape[0])
        return cls(weights, known, layout, trunk_settings, training, least_similarity)

    def predict(self, x: sparse.csr_matrix, descriptors: NDArray[np.float32] | None = None) -> Prediction:
        """Predict from fingerprints (n, n_bits) in the group's order, and descriptors if the model uses them.

        Raises BadFeatures or FeatureCountMismatch.
        """
        outputs = self.outputs(x, descriptors)
        similarity = self._neighbours.nearest(x)
        is_similar = (similarity >= self.least_similarity)[:, None]
        return Prediction(
            probability=outputs.probabilities,
            p_values=self.calibration.p_values(outputs.logits),
            value=outputs.values,
            half_width=self._half_width,
            similarity=similarity,
            is_similar=np.repeat(is_similar, self.n_tasks, axis=1),
            value_is_similar=np.repeat(is_similar, self.n_regressions, axis=1),
        )

    def outputs(self, x: sparse.csr_matrix, descriptors: NDArray[np.float32] | None = None) -> Outputs:
        """Logits and values of all tasks, without p-values and similarity; raises what `predict` raises."""
        return self._predictor(x, descriptors)

    def hidden(self, x: sparse.csr_matrix) -> NDArray[np.float32]:
        """The trunk's hidden layer after ReLU, (n, n_units); raises what a prediction raises."""
        return self._predictor.hidden(x)

    def inputs(self, x: sparse.csr_matrix, descriptors: NDArray[np.float32] | None = None, *, on_trunk: bool) -> Inputs:
        """Inputs for models of assays, with the hidden layer if they stand on the trunk: `AssayPredictor.inputs`."""
        return self._predictor.inputs(x, descriptors, on_trunk=on_trunk)
