"""Differential privacy: how much all updates of a partner may reveal about one of its compounds."""

from typing import Self

from pydantic import Field, model_validator

from partners.settings import Training
from pipeline.errors import ConfigError
from pipeline.plan.toml_schema import Schema


class Privacy(Schema):
    """Only for differential privacy: noise on every partner's training bounds what its updates tell about one compound.

    The plan must have seal.weights "equal", columns.min_partners 0 and no catalogue. See secure/THREAT_MODEL.md.
    """

    epsilon: float = Field(gt=0, le=1000)
    """Bound over all rounds, for a compound with all its labels at one partner. Smaller protects more; above 10 the
    bound alone says little. Needs seal.weights = "equal", columns.min_partners = 0 and no catalogue.
    """

    delta: float = Field(gt=0, le=1e-3)
    """Probability that the bound does not hold; below 1 / training compounds of the largest partner."""

    clip_norm: float = Field(default=1.0, gt=0, le=1e6)
    """Longest gradient of one compound over all weights; longer ones are shortened to it."""

    noise_multiplier: float | None = Field(default=None, gt=0, le=1000)
    """Noise in a step's sum of gradients, as a multiple of clip_norm; absent: the least that keeps epsilon, at each
    partner for itself.
    """

    most_noise: float = Field(default=20.0, gt=0, le=1000)
    """A partner that needs a larger noise multiplier for this epsilon does not begin: it could learn nothing."""

    @model_validator(mode="after")
    def _within_the_most(self) -> Self:
        if self.noise_multiplier is not None and self.noise_multiplier > self.most_noise:
            raise ValueError(f"noise_multiplier: found {self.noise_multiplier:g}, above most_noise {self.most_noise:g}")
        return self

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:g} at delta {self.delta:g}"


def expect_fitting(training: Training, where: str) -> None:
    """Raise ConfigError for settings of a partner's training under which the bound of [privacy] would not hold.

    where : the partner's configuration
    """
    wrong = []
    if not training.keyed_chance:
        wrong.append("keyed_chance: found false, expected true: others could repeat rounding and dropout")
    if training.precision != "float32":
        wrong.append(f'precision: found "{training.precision}", expected "float32": norms of gradients must be exact')
    if training.regression_weight > 0 and training.normalise_regression:
        wrong.append("normalise_regression: found true, expected false: means would tell of single compounds")
    if wrong:
        error = ConfigError(f"{where}: [training] does not fit the plan's [privacy]: {'; '.join(wrong)}")
        error.add_note("change these settings, which no other member sees")
        raise error
