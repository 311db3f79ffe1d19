"""Training steps of our network on given batches, to be compared with other implementations."""

import numpy as np

from partners.network.batches import BatchMaker
from partners.network.model import Network
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training, TrunkSettings
from partners.training.training import Stepper
from partners.training_data.training_set import TrainingSet


def our_losses(
    layout: TrunkLayout,
    trunk: np.ndarray,
    state: PartnerState,
    data: TrainingSet,
    batches: list[np.ndarray],
    trunk_settings: TrunkSettings,
    training: Training,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses and final weights of one step per batch, no dropout."""
    network = Network.of(layout, trunk, state.heads, trunk_settings, training)
    make = BatchMaker(data, trunk_settings, training, state.normalisation)
    losses = Stepper(network, state, training, 1).take(len(batches), iter(batches), make)
    return losses, {name: network.array(name) for name in network.parameters}
