"""Predictions from a trunk and a partner's heads: probabilities, values in original units, trunk outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.network.device import arithmetic, device_of, use_threads
from partners.network.input_layer import InputRows, input_rows
from partners.network.input_transform import transformed
from partners.network.model import Network, NonLinearities
from partners.network.normalisation import in_original_units
from partners.network.state import CLASSIFICATION, REGRESSION, PartnerState, check_state
from partners.network.trunk import TrunkLayout, check_layers, check_trunk
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import canonical_rows, check_features

# Compounds at a time, filled up with empty rows: products of one shape are computed in one way, so that a compound
# gets the same bits alone or among others. 128 is as fast as 1000 (measured); a single compound costs as much as 128.
_BLOCK = 128


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of the heads, without dropout; no columns for a kind of task that the partner does not have."""

    logits: NDArray[np.float32]  # (n_compounds, n_tasks)
    values: NDArray[np.float32]  # (n_compounds, n_regressions) in the units of the measured values

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of being active, (n_compounds, n_tasks)."""
        return logistic(self.logits)


class Predictor:
    """A trunk with a partner's heads, loaded once for many predictions.

    Raises TrunkMismatch, StateMismatch or DeviceMissing.
    """

    def __init__(
        self,
        trunk: NDArray[np.float32],
        state: PartnerState,
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        training: Training,
    ) -> None:
        check_state(state, layout, state.sizes)
        check_layers(layout, trunk_settings)
        check_trunk(trunk, layout)
        self._trunk, self._layout, self._trunk_settings, self._training = trunk, layout, trunk_settings, training
        self._normalisation = state.normalisation
        self._widths = {CLASSIFICATION: state.n_tasks, REGRESSION: state.n_regressions}
        with arithmetic(training):
            self._network = Network.of(layout, trunk, state.heads, trunk_settings, training, in_place=True)

    def __call__(self, x: sparse.csr_matrix) -> Outputs:
        """Predict every task for every row of x; raises BadFeatures or FeatureCountMismatch.

        A compound's predictions do not depend on the other rows: alone or among others the bits are the same.
        """
        rows = _checked(x, self._layout, self._trunk_settings)
        predicted = {kind: np.empty((rows.shape[0], n), dtype=np.float32) for kind, n in self._widths.items()}
        with arithmetic(self._training), torch.inference_mode():
            for part, n_rows, x_part in _parts(rows, device_of(self._training)):
                for kind, outputs in self._network.outputs(x_part).items():
                    predicted[kind][part] = outputs[:n_rows].cpu().numpy()
        return Outputs(predicted[CLASSIFICATION], in_original_units(predicted[REGRESSION], self._normalisation))

    def hidden(self, x: sparse.csr_matrix) -> NDArray[np.float32]:
        """The trunk's output (n, hidden[-1]), as `predict_hidden`; raises what a prediction raises."""
        return predict_hidden(x, self._trunk, self._layout, self._trunk_settings, self._training.n_threads)


def predict(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Outputs:
    """Predict once, without keeping a Predictor; raises what Predictor raises."""
    return Predictor(trunk, state, layout, trunk_settings, training)(x)


def predict_hidden(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    n_threads: int = 1,
) -> NDArray[np.float32]:
    """The trunk's output (n_compounds, hidden[-1]) before the heads' non-linearity, without dropout.

    Raises BadFeatures, FeatureCountMismatch or TrunkMismatch.
    """
    check_layers(layout, trunk_settings)
    check_trunk(trunk, layout)
    rows = _checked(x, layout, trunk_settings)
    hidden = np.empty((rows.shape[0], layout.hidden[-1]), dtype=np.float32)
    with use_threads(n_threads), torch.inference_mode():
        functions = NonLinearities(trunk=trunk_settings.non_linearity)
        network = Network(layout, trunk, {}, functions, in_place=True)
        for part, n_rows, x_part in _parts(rows):
            hidden[part] = network.trunk_output(network.input_layer(x_part))[:n_rows].numpy()
    return hidden


def _checked(x: sparse.csr_matrix, layout: TrunkLayout, trunk_settings: TrunkSettings) -> sparse.csr_matrix:
    rows = canonical_rows(x)
    check_features(rows, layout.n_inputs)
    return transformed(rows, trunk_settings.input_transform)


def logistic(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logit)) without overflow, float32."""
    return 0.5 * (1 + np.tanh(0.5 * logits, dtype=np.float32))  # type: ignore[no-any-return]  # numpy's stubs


def _parts(rows: sparse.csr_matrix, device: str = "cpu") -> Iterator[tuple[slice, int, InputRows]]:
    """Blocks of rows: which rows, how many of the block are not padding, and the block."""
    for start in range(0, rows.shape[0], _BLOCK):
        part = slice(start, min(start + _BLOCK, rows.shape[0]))
        block, n_rows = rows[part], part.stop - part.start
        if n_rows < _BLOCK:
            starts = np.concatenate([block.indptr, np.full(_BLOCK - n_rows, block.indptr[-1], block.indptr.dtype)])
            block = sparse.csr_matrix((block.data, block.indices, starts), shape=(_BLOCK, rows.shape[1]))
        yield part, n_rows, input_rows(block, for_gradient=False, device=device)
