"""A finished model with the models of new assays: it predicts its own tasks as before, and those of the new assays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.inputs import Inputs
from partners.assay_models.predictor import ValuePredictor
from partners.models.conformal import PValues
from partners.models.final_model import FinalModel, Prediction
from partners.models.similarity import Neighbours
from partners.network.inference import Outputs
from partners.new_assays.extension import Extension


class ExtendedModel:
    """A finished model and extensions of it; its own predictions do not change by a bit."""

    def __init__(self, base: FinalModel, extensions: Sequence[Extension], *, on_trunk: bool) -> None:
        """on_trunk: use the models that stand on the trunk, where they are kept."""
        self.base = base
        self._added = [_AddedAssay(extension, base, on_trunk=on_trunk) for extension in extensions]
        self._needs_trunk = any(added.needs_trunk for added in self._added)
        calibrations = [base.calibration, *(added.side.calibration for added in self._added)]
        self.too_few = np.concatenate([calibration.too_few for calibration in calibrations])
        self.half_widths = np.concatenate([calibration.half_widths() for calibration in calibrations])

    @property
    def n_tasks(self) -> int:
        """Number of classification tasks, those of new assays last."""
        return int(self.too_few.size)

    @property
    def n_regressions(self) -> int:
        """Number of regression tasks, those of new assays last."""
        return int(self.half_widths.size)

    def predict(self, x: sparse.csr_matrix, descriptors: NDArray[np.float32] | None = None) -> Prediction:
        """Predict as `FinalModel.predict`; raises what that raises."""
        own = self.base.predict(x, descriptors)
        if not self._added:
            return own
        inputs = self.base.inputs(x, descriptors, on_trunk=self._needs_trunk)
        is_near = own.similarity >= self.base.least_similarity
        return _joined([own, *(added.predict(x, inputs, is_near) for added in self._added)])

    def outputs(self, x: sparse.csr_matrix, descriptors: NDArray[np.float32] | None = None) -> Outputs:
        """Logits and values of all tasks, without p-values and similarity; raises what `predict` raises."""
        own = self.base.outputs(x, descriptors)
        if not self._added:
            return own
        inputs = self.base.inputs(x, descriptors, on_trunk=self._needs_trunk)
        parts = [own, *(added.outputs(inputs) for added in self._added)]
        return Outputs(np.hstack([part.logits for part in parts]), np.hstack([part.values for part in parts]))


class _AddedAssay:
    def __init__(self, extension: Extension, base: FinalModel, *, on_trunk: bool) -> None:
        self.needs_trunk = on_trunk and extension.on_trunk is not None
        self.side = extension.on_trunk if on_trunk and extension.on_trunk else extension.alone
        hidden = base.hidden(extension.known) if self.needs_trunk else None
        self._values = ValuePredictor(self.side.models.models, Inputs.of(extension.known, hidden), base.n_descriptors)
        self._neighbours = Neighbours(extension.known)
        self._least, self._half_width = base.least_similarity, self.side.calibration.half_widths()

    def outputs(self, inputs: Inputs) -> Outputs:
        return self.side.outputs(self._values(inputs if self.needs_trunk else inputs.without_hidden())[:, 0])

    def predict(self, x: sparse.csr_matrix, inputs: Inputs, is_near: NDArray[np.bool_]) -> Prediction:
        """is_near: (n,) whether a compound is similar to those that the trunk was trained on."""
        outputs = self.outputs(inputs)
        similarity = self._neighbours.nearest(x)
        is_similar = similarity >= self._least
        if self.needs_trunk:
            is_similar = is_similar | is_near
        return Prediction(
            probability=outputs.probabilities,
            p_values=self.side.calibration.p_values(outputs.logits),
            value=outputs.values,
            half_width=self._half_width,
            similarity=similarity,
            is_similar=np.repeat(is_similar[:, None], outputs.logits.shape[1], axis=1),
            value_is_similar=np.repeat(is_similar[:, None], outputs.values.shape[1], axis=1),
        )


def _joined(parts: Sequence[Prediction]) -> Prediction:
    """Predictions of several models with their tasks side by side; the similarity is that of the first model."""
    return Prediction(
        probability=np.hstack([part.probability for part in parts]),
        p_values=PValues(
            np.hstack([part.p_values.active for part in parts]), np.hstack([part.p_values.inactive for part in parts])
        ),
        value=np.hstack([part.value for part in parts]),
        half_width=np.concatenate([part.half_width for part in parts]),
        similarity=parts[0].similarity,
        is_similar=np.hstack([part.is_similar for part in parts]),
        value_is_similar=np.hstack([part.value_is_similar for part in parts]),
    )
