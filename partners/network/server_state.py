"""State of the server step between rounds; every partner keeps the same state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partners.settings import ServerOptimiser

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ServerState:
    """State of the server step between rounds; without arrays for the plain mean.

    arrays : `first` (n_params,) for momentum and adam, `second` (n_params,) for adam, float64
    beta1_power, beta2_power : beta to the number of steps taken, kept as products because pow() differs by machine
    """

    n_steps: int = 0
    beta1_power: float = 1.0
    beta2_power: float = 1.0
    arrays: Mapping[str, Floats] = field(default_factory=dict)


def array_names(optimiser: ServerOptimiser) -> tuple[str, ...]:
    """Names of the arrays in the state of this method."""
    return {"mean": (), "momentum": ("first",), "adam": ("first", "second")}[optimiser.method]


def initial_server_state(optimiser: ServerOptimiser, n_params: int) -> ServerState:
    """State before the first round: all zero."""
    return ServerState(arrays={name: np.zeros(n_params) for name in array_names(optimiser)})
