"""Predictions from a trunk and a partner's heads: probabilities, values in original units, trunk outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.device import arithmetic, use_threads
from partners.input_layer import InputRows, input_rows
from partners.inputs import transformed
from partners.model import Network, NonLinearities
from partners.normalisation import in_original_units
from partners.settings import Training, TrunkSettings
from partners.state import CLASSIFICATION, REGRESSION, PartnerState, check_state
from partners.training import check_layers
from partners.training_set import canonical_rows, check_features
from partners.trunk import TrunkLayout, check_trunk

_BATCH = 1000  # compounds at a time: bounds memory at n_tasks + hidden floats each


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What the heads say, dropout off; no columns where there is no such task."""

    logits: NDArray[np.float32]  # (n_compounds, n_tasks)
    values: NDArray[np.float32]  # (n_compounds, n_regressions) in the units of the measured values

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of being active, (n_compounds, n_tasks)."""
        return logistic(self.logits)


def predict(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Outputs:
    """Logits, probabilities and values of every task.

    A compound's predictions do not depend on its neighbours but for rounding: one by one or in bulk agree to 1e-6.
    Raises BadFeatures, FeatureCountMismatch, TrunkMismatch, StateMismatch or DeviceMissing.
    """
    check_state(state, layout, state.sizes)
    rows = _checked(x, trunk, layout, trunk_settings)
    widths = {CLASSIFICATION: state.n_tasks, REGRESSION: state.n_regressions}
    found = {kind: np.empty((rows.shape[0], n), dtype=np.float32) for kind, n in widths.items()}
    with arithmetic(training), torch.inference_mode():
        network = Network.of(layout, trunk, state.heads, trunk_settings, training, in_place=True)
        for part, x_part in _parts(rows, training.device):
            for kind, outputs in network.outputs(x_part).items():
                found[kind][part] = outputs.cpu().numpy()
    return Outputs(found[CLASSIFICATION], in_original_units(found[REGRESSION], state.normalisation))


def predict_hidden(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    n_threads: int = 1,
) -> NDArray[np.float32]:
    """The trunk's output (n_compounds, hidden[-1]) before the heads' non-linearity, dropout off.

    Raises BadFeatures, FeatureCountMismatch or TrunkMismatch.
    """
    rows = _checked(x, trunk, layout, trunk_settings)
    found = np.empty((rows.shape[0], layout.hidden[-1]), dtype=np.float32)
    with use_threads(n_threads), torch.inference_mode():
        functions = NonLinearities(trunk=trunk_settings.non_linearity)
        network = Network(layout, trunk, {}, functions, in_place=True)
        for part, x_part in _parts(rows):
            found[part] = network.trunk_output(network.input_layer(x_part)).numpy()
    return found


def _checked(
    x: sparse.csr_matrix, trunk: NDArray[np.float32], layout: TrunkLayout, trunk_settings: TrunkSettings
) -> sparse.csr_matrix:
    rows = canonical_rows(x)
    check_features(rows, layout.n_inputs)
    check_layers(layout, trunk_settings)
    check_trunk(trunk, layout)
    return transformed(rows, trunk_settings.input_transform)


def logistic(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logit)) without overflow, float32."""
    return 0.5 * (1 + np.tanh(0.5 * logits, dtype=np.float32))  # type: ignore[no-any-return]  # numpy's stubs


def _parts(rows: sparse.csr_matrix, device: str = "cpu") -> Iterator[tuple[slice, InputRows]]:
    for start in range(0, rows.shape[0], _BATCH):
        part = slice(start, min(start + _BATCH, rows.shape[0]))
        yield part, input_rows(rows[part], for_gradient=False, device=device)
