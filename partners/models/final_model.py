"""A finished model as files: weights, what calibrates it, and the compounds it was trained on; and what it predicts.

Everything here is private to the partner: heads and calibration say what its assays found, the fingerprints what its
compounds are, and the order of the bits is the group's secret.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.models.conformal import Calibration, PValues, calibrate
from partners.models.similarity import Neighbours
from partners.network.predict import Predictor
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

_MOST_VALIDATED = 1000  # validation compounds looked at for the least similarity
_LEAST_SHARE = 0.05  # of them that may be less similar than it

_STARTS, _BITS, _PLACES = "compounds.starts", "compounds.bits", "places"


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """One finished model with what calibrates it."""

    trunk: NDArray[np.float32]
    state: PartnerState  # without the optimiser's moments
    calibration: Calibration

    @classmethod
    def of(
        cls,
        training_set: TrainingSet,
        trunk: NDArray[np.float32],
        state: PartnerState,
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        training: Training,
    ) -> "Weights":
        """Calibrate a trained model on the validation fold; raises what Predictor raises."""
        rows = training_set.rows_of(training_set.validation_fold)
        found = Predictor(trunk, state, layout, trunk_settings, training)(training_set.x[rows])
        labels = (training_set.y[rows], training_set.y_regr[rows], training_set.y_censor[rows])
        bare = PartnerState(state.heads, {}, {}, state.n_steps, state.normalisation)
        return cls(trunk, bare, calibrate(found, *labels))

    def write(self, path: Path) -> None:
        """Write atomically."""
        save_checkpoint(path, Checkpoint(self.trunk, self.state, others=self.calibration.arrays()))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> "Weights":
        """Inverse of `write`; raises FileNotFoundError, CheckpointDamaged or CheckpointMismatch."""
        found = load_checkpoint(path, layout)
        weights = cls(found.need_trunk(path), found.need_partner(path), Calibration.from_arrays(found.others))
        expected = (weights.state.n_tasks, weights.state.n_regressions)
        if (weights.calibration.n_labels.size, weights.calibration.n_values.size) != expected:
            raise CheckpointDamaged(f"{path.name}: the calibration is for other tasks than the heads")
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class KnownCompounds:
    """Fingerprints of the training folds, and where the group's key puts each bit."""

    x: sparse.csr_matrix  # (n_known, n_bits) ones
    places: NDArray[np.int64]  # (n_bits,) new place of every bit

    def write(self, path: Path) -> None:
        """Write atomically, bits packed as tight as their number allows."""
        n_bits = self.x.shape[1]
        bits = self.x.indices.astype(np.uint16 if n_bits <= 1 << 16 else np.uint32)
        others = {_STARTS: self.x.indptr.astype(np.int64), _BITS: bits, _PLACES: self.places.astype(np.int64)}
        save_checkpoint(path, Checkpoint(others=others))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> "KnownCompounds":
        """Inverse of `write`; raises FileNotFoundError or CheckpointDamaged."""
        found = load_checkpoint(path, layout).others
        if not found.keys() >= {_STARTS, _BITS, _PLACES}:
            raise CheckpointDamaged(f"{path.name}: found {', '.join(sorted(found))}, expected compounds and places")
        starts, bits, places = found[_STARTS], found[_BITS].astype(np.int32), found[_PLACES]
        n_bits = layout.n_inputs
        whole = starts[0] == 0 and starts[-1] == bits.size and (np.diff(starts) >= 0).all()
        if not whole or bits.max(initial=0) >= n_bits or not np.array_equal(np.sort(places), np.arange(n_bits)):
            raise CheckpointDamaged(f"{path.name}: compounds or places do not fit {n_bits} bits")
        shape = (starts.size - 1, n_bits)
        return cls(sparse.csr_matrix((np.ones(bits.size, np.float32), bits, starts), shape=shape), places)


def known_compounds(training_set: TrainingSet, places: NDArray[np.int64]) -> tuple[KnownCompounds, float]:
    """The compounds of the training folds, and the least similarity at which a new one is like those that calibrate.

    All but 5 % of the validation fold's compounds (up to 1000 of them, spread evenly) are at least so similar to the
    nearest of the training folds; 0 without any.
    """
    x = training_set.x[training_set.training_rows]
    x.data[:] = x.data > 0
    x.eliminate_zeros()
    rows = training_set.rows_of(training_set.validation_fold)
    spread = rows[np.linspace(0, rows.size - 1, min(rows.size, _MOST_VALIDATED)).astype(np.int64)]
    if not spread.size:
        return KnownCompounds(x, places), 0.0
    similarity = Neighbours(x).nearest(training_set.x[spread])
    return KnownCompounds(x, places), float(np.quantile(similarity, _LEAST_SHARE, method="lower"))


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about some compounds."""

    probability: NDArray[np.float32]  # (n, n_tasks) of being active
    p_values: PValues  # (n, n_tasks)
    value: NDArray[np.float32]  # (n, n_regressions), in the units of the measured values
    half_width: NDArray[np.float32]  # (n_regressions,) of the interval around a value; NaN where nothing can be said
    similarity: NDArray[np.float32]  # (n,) Tanimoto to the nearest compound of the training folds
    is_similar: NDArray[np.bool_]  # (n,) as similar to it as those that calibrate

    @property
    def in_domain(self) -> NDArray[np.bool_]:
        """Of a classification task: similar enough, and a class is left; (n, n_tasks).

        A compound that fits neither class is unlike the calibration's. For a regression task `is_similar` is all.
        """
        fits_none: NDArray[np.bool_] = self.p_values.n_labels() == 0
        return self.is_similar[:, None] & ~fits_none


class FinalModel:
    """Ready to predict again and again: the same bits for a compound alone and in any company."""

    def __init__(
        self,
        weights: Weights,
        known: KnownCompounds,
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        training: Training,
        least_similarity: float,
    ) -> None:
        self._predictor = Predictor(weights.trunk, weights.state, layout, trunk_settings, training)
        self._calibration = weights.calibration
        self._half_width = weights.calibration.half_widths()
        self._neighbours = Neighbours(known.x)
        self._least_similarity = np.float32(least_similarity)

    def predict(self, x: sparse.csr_matrix) -> Prediction:
        """Predict from fingerprints (n, n_bits) in the group's order; raises BadFeatures or FeatureCountMismatch."""
        found = self._predictor(x)
        similarity = self._neighbours.nearest(x)
        return Prediction(
            probability=found.probabilities,
            p_values=self._calibration.p_values(found.logits),
            value=found.values,
            half_width=self._half_width,
            similarity=similarity,
            is_similar=similarity >= self._least_similarity,
        )
