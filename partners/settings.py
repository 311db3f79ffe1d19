"""Settings of trunk, server step and local training, each checked once when made."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal


def _require(ok: bool, key: str, found: object, expected: str) -> None:  # noqa: FBT001 -- the condition is the subject
    if not ok:
        raise ValueError(f"{key}: found {found!r}, expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSettings:
    """The shared part of the network; equal for all partners (plan)."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    hidden: tuple[int, ...] = (2000,)  # units of each trunk layer, input side first
    dropout: float = 0.6  # share of hidden activations set to zero while training, in [0, 1)

    def __post_init__(self) -> None:
        """Refuse an empty trunk and impossible numbers."""
        _require(len(self.hidden) > 0, "hidden", self.hidden, "at least one layer")
        _require(all(n > 0 for n in self.hidden), "hidden", self.hidden, "positive numbers of units")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptimiser:
    """How every partner turns the mean change into the next trunk; equal for all (plan)."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    method: Literal["mean", "momentum", "adam"] = "mean"
    # Factor on the step (adam wants about 1e-3). Partners' changes are nearly orthogonal, so their mean is far shorter
    # than each: 2 learns sooner than 1 and ended best at 3, 5 and 10 partners; 3 overshot at 3 partners, where the
    # largest weighed 62 % (tests/benchmarks/federation_gain.py). Keep rate x the largest weight's share below 1.5.
    learning_rate: float = 2.0
    momentum: float = 0.9  # share of the last step kept (momentum only), in [0, 1)
    beta1: float = 0.9  # decay of the mean change (adam only), in [0, 1)
    beta2: float = 0.99  # decay of the mean squared change (adam only), in [0, 1)
    epsilon: float = 1e-8  # added to the root of the mean squared change (adam only), above 0

    def __post_init__(self) -> None:
        """Refuse unknown methods and impossible numbers."""
        _require(self.method in {"mean", "momentum", "adam"}, "method", self.method, "mean, momentum or adam")
        _require(_positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        _require(0 <= self.beta1 < 1, "beta1", self.beta1, "a number in [0, 1)")
        _require(0 <= self.beta2 < 1, "beta2", self.beta2, "a number in [0, 1)")
        _require(_positive(self.epsilon), "epsilon", self.epsilon, "a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How one partner trains at home; its own business, never sent to anyone."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    optimiser: Literal["adam"] = "adam"
    learning_rate: float = 1e-3  # Adam's step size, above 0
    batch_size: int = 500  # compounds per optimiser step; at most all training compounds are used
    weight_decay: float = 0.0  # L2 penalty added to Adam's gradient, at least 0
    head_dropout: float | None = None  # dropout of the trunk's output before the heads; absent: the plan's dropout
    device: Literal["cpu"] = "cpu"  # where the arithmetic runs
    n_threads: int = 1  # threads of one partner's arithmetic; results are bit for bit equal at equal n_threads
    seed: int = 0  # of shuffling, dropout and head initialisation, at least 0

    def __post_init__(self) -> None:
        """Refuse unknown choices and impossible numbers."""
        _require(self.optimiser == "adam", "optimiser", self.optimiser, "adam")
        _require(_positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        _require(self.batch_size > 0, "batch_size", self.batch_size, "at least 1 compound")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "a number of at least 0")
        _require(_is_share(self.head_dropout), "head_dropout", self.head_dropout, "a share in [0, 1)")
        _require(self.device == "cpu", "device", self.device, "cpu")
        _require(self.n_threads > 0, "n_threads", self.n_threads, "at least 1 thread")
        _require(self.seed >= 0, "seed", self.seed, "a number of at least 0")


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _is_share(value: float | None) -> bool:
    return value is None or 0 <= value < 1
