"""Noised steps: what the accounting of differential privacy needs to know of a training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NoisedSteps:
    """Steps of a training with equal sampling and noise."""

    n_steps: int
    sampling_share: float  # probability with which a compound is in a batch
    noise_multiplier: float


def sampling_share(n_compounds: int, batch_size: int) -> float:
    """Probability with which a compound is in a random batch of this size on average; 1 if there are not so many."""
    return min(1.0, batch_size / n_compounds)
