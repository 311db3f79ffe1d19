"""Probabilities from a trunk and a partner's heads."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from partners.device import arithmetic
from partners.input_layer import input_rows
from partners.model import Network
from partners.settings import Training, TrunkSettings
from partners.state import PartnerState, check_state
from partners.training import check_layers
from partners.training_set import canonical_rows, check_features
from partners.trunk import TrunkLayout, check_trunk

_BATCH = 1000  # compounds at a time: bounds memory at n_tasks + hidden floats each


def predict(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> NDArray[np.float32]:
    """Probability of being active, (n_compounds, n_tasks) float32, dropout off.

    A compound's probabilities do not depend on its neighbours but for rounding: one by one or in bulk agree to 1e-6.
    Raises BadFeatures, FeatureCountMismatch, TrunkMismatch or StateMismatch.
    """
    logits = predict_logits(x, trunk, state, layout, trunk_settings, training)
    return logistic(logits)


def predict_logits(
    x: sparse.csr_matrix,
    trunk: NDArray[np.float32],
    state: PartnerState,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> NDArray[np.float32]:
    """Logits (n_compounds, n_tasks) float32, as `predict` turns them into probabilities."""
    rows = canonical_rows(x)
    check_features(rows, layout.n_inputs)
    check_layers(layout, trunk_settings)
    check_trunk(trunk, layout)
    check_state(state, layout, state.n_tasks)
    logits = np.empty((rows.shape[0], state.n_tasks), dtype=np.float32)
    with arithmetic(training), torch.inference_mode():
        half = training.precision == "bfloat16"
        network = Network(layout, trunk, state.heads, device=training.device, half=half)
        for part in _parts(rows.shape[0]):
            inputs = input_rows(rows[part], for_gradient=False, device=training.device)
            logits[part] = network.logits(inputs).cpu().numpy()
    return logits


def logistic(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logit)) without overflow, float32."""
    return 0.5 * (1 + np.tanh(0.5 * logits, dtype=np.float32))  # type: ignore[no-any-return]  # numpy's stubs


def _parts(n_rows: int) -> Iterator[slice]:
    for start in range(0, n_rows, _BATCH):
        yield slice(start, min(start + _BATCH, n_rows))
