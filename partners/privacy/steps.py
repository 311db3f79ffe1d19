"""Noised steps: what the accounting of differential privacy needs to know of a training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NoisedSteps:
    """Steps of a training with equal sampling and noise."""

    n_steps: int
    sampling_share: float  # probability with which a compound is in a batch
    noise_multiplier: float
