"""The server step: each partner computes the next trunk from the decrypted mean change.

Elementwise float64 without reductions or BLAS, rounded once to float32: IEEE 754 fixes every operation used here
(+, *, /, sqrt), so different machines get the same bits.
"""

import numpy as np
from numpy.typing import NDArray

from partners.errors import StateMismatch, TrainingDiverged, TrunkMismatch
from partners.network.server_state import ServerState, array_names
from partners.settings import ServerOptimiser
from partners.training_data.aligned_arrays import all_finite, empty, pieces

Floats = NDArray[np.float64]


def server_step(
    trunk: NDArray[np.float32], mean_change: NDArray[np.floating], optimiser: ServerOptimiser, state: ServerState
) -> tuple[NDArray[np.float32], ServerState]:
    """Compute the next trunk and the next state; the arguments do not change.

    trunk       : (n_params,) float32
    mean_change : (n_params,) mean over the roster of trunk after minus trunk before
    mean     : trunk + rate * change
    momentum : first = momentum * first + change; trunk + rate * first
    adam     : FedAdam (Reddi et al., ICLR 2021) with Adam's bias correction:
               trunk + rate * first / (sqrt(second) + epsilon)
    Raises TrunkMismatch for wrong lengths, StateMismatch for another optimiser's state, TrainingDiverged if the result
    is not finite.
    """
    _check(trunk, mean_change, optimiser, state)
    after = ServerState(
        n_steps=state.n_steps + 1,
        beta1_power=state.beta1_power * optimiser.beta1,
        beta2_power=state.beta2_power * optimiser.beta2,
        arrays={name: array.copy() for name, array in state.arrays.items()},
    )
    new_trunk = empty(trunk.shape)
    for part in pieces(trunk.size):  # so that float64 temporaries stay in the cache
        step = _step(mean_change[part].astype(np.float64), optimiser, after, part)
        with np.errstate(over="ignore"):  # checked below
            new_trunk[part] = trunk[part].astype(np.float64) + optimiser.learning_rate * step
    if not all_finite(new_trunk):
        error = TrainingDiverged(f"server step {after.n_steps}: the new trunk is not finite")
        error.add_note(f"lower the plan's server learning rate, now {optimiser.learning_rate:g}")
        raise error
    return new_trunk, after


def _step(change: Floats, optimiser: ServerOptimiser, state: ServerState, part: slice) -> Floats:
    """Step before the learning rate is applied; updates this part of the state's arrays in place."""
    if optimiser.method == "mean":
        return change
    first = state.arrays["first"][part]
    if optimiser.method == "momentum":
        first[:] = optimiser.momentum * first + change
        return first
    second = state.arrays["second"][part]
    first[:] = optimiser.beta1 * first + (1 - optimiser.beta1) * change
    second[:] = optimiser.beta2 * second + (1 - optimiser.beta2) * (change * change)
    scale = np.sqrt(second / (1 - state.beta2_power)) + optimiser.epsilon
    return (first / (1 - state.beta1_power)) / scale


def _check(
    trunk: NDArray[np.float32], mean_change: NDArray[np.floating], optimiser: ServerOptimiser, state: ServerState
) -> None:
    if trunk.dtype != np.float32 or trunk.ndim != 1 or mean_change.shape != trunk.shape:
        raise TrunkMismatch(
            f"server step: found trunk {trunk.dtype} {trunk.shape} and change {mean_change.shape}, "
            f"expected one float32 vector and a change of its length"
        )
    if not (all_finite(trunk) and all_finite(mean_change)):
        raise TrunkMismatch("server step: trunk or mean change is not finite, expected finite numbers only")
    names = array_names(optimiser)
    if sorted(state.arrays) != sorted(names) or any(a.shape != trunk.shape for a in state.arrays.values()):
        raise StateMismatch(
            f"server state: found arrays {sorted(state.arrays)}, expected {sorted(names)} "
            f"of length {trunk.size} for method {optimiser.method}"
        )
