"""Settings of trunk, server step and local training, each checked once when made."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

# of conformal prediction: a class with a p-value of at most this is excluded, intervals have confidence 1 - EPSILON
EPSILON = 0.05

SCHEMA_CONFIG: dict[str, object] = {"extra": "forbid", "strict": True, "use_attribute_docstrings": True}
"""How pydantic reads a table of a configuration file as one of these classes; the text under a setting describes it."""

_NOISE_KEY_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

NonLinearity = Literal["relu", "tanh"]
InputTransform = Literal["none", "binarize", "log1p", "tanh"]
OptimiserName = Literal["adam", "adamw", "sgd"]
LocalKind = Literal["network", "gaussian process", "forest", "mean"]
"""Kinds of model of one task, from one partner's data alone; a mean is that of Gaussian process and forest."""

ModelKind = Literal[
    "network",
    "gaussian process",
    "forest",
    "mean",
    "gaussian process on the trunk",
    "forest on the trunk",
    "mean on the trunk",
    "gaussian process on the trunk and head",
    "forest on the trunk and head",
    "mean on the trunk and head",
]
"""The same, and those that have the federated trunk's hidden layer as input too. A network is a trunk's head;
"and head": the logit of the task's head, whose row is shared, is averaged in.
"""

ON_TRUNK: Mapping[LocalKind, ModelKind] = {
    "network": "network",
    "gaussian process": "gaussian process on the trunk",
    "forest": "forest on the trunk",
    "mean": "mean on the trunk",
}
"""What each kind is called with the trunk's outputs."""


def _require(ok: bool, key: str, found: object, expected: str) -> None:  # noqa: FBT001 -- the condition is the subject
    if not ok:
        raise ValueError(f"{key}: found {found!r}, expected {expected}")


def _require_choice(key: str, found: object, choices: object) -> None:
    _require(found in get_args(choices), key, found, " or ".join(get_args(choices)))


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _is_share(value: float) -> bool:
    return 0 <= value < 1


def _counts(value: int | None) -> bool:
    return value is None or value > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSettings:
    """The shared part of the network."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    hidden: tuple[int, ...] = (2000,)
    """Units of each layer, input side first; memory and updates grow with n_bits times the first."""

    dropout: float | tuple[float, ...] = 0.6
    """Share of each layer's activations dropped in training: one number, or one per layer."""

    non_linearity: NonLinearity = "relu"
    """Function between trunk layers; each head has its own after the last."""

    input_transform: InputTransform = "none"
    """Transform of every stored value of x before the first layer, for fingerprints with counts."""

    start: str = ""
    """File of the trunk to begin from, as `hocket export trunk` writes it; the path is relative to the plan's."""

    start_digest: str = ""
    """Digest of that file's trunk, which `hocket export trunk` prints: every partner checks it."""

    def __post_init__(self) -> None:
        """Refuse an empty trunk, unknown choices and impossible numbers."""
        _require(len(self.hidden) > 0, "hidden", self.hidden, "at least one layer")
        _require(all(n > 0 for n in self.hidden), "hidden", self.hidden, "positive numbers of units")
        fits = not isinstance(self.dropout, tuple) or len(self.dropout) == len(self.hidden)
        _require(fits, "dropout", self.dropout, f"one share, or {len(self.hidden)}, one for each layer")
        _require(all(map(_is_share, self.dropouts)), "dropout", self.dropout, "a share in [0, 1)")
        _require_choice("non_linearity", self.non_linearity, NonLinearity)
        _require_choice("input_transform", self.input_transform, InputTransform)
        is_digest = _DIGEST.fullmatch(self.start_digest) is not None
        _require(is_digest or not self.start_digest, "start_digest", self.start_digest, "64 digits 0-9a-f")
        fits = bool(self.start) == bool(self.start_digest)
        _require(fits, "start_digest", self.start_digest, "the digest of the file in start, or neither of them")

    def of_network(self) -> dict[str, object]:
        """The settings without what the first trunk is."""
        return {key: value for key, value in asdict(self).items() if key not in {"start", "start_digest"}}

    @property
    def dropouts(self) -> tuple[float, ...]:
        """Share dropped of each trunk layer's activations, input side first."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(self.hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSettings:
    """Differential privacy of a round's steps: how batches are drawn, gradients clipped and noised."""

    clip_norm: float  # most that one compound's gradient, over all weights, may be long
    noise_multiplier: float  # standard deviation of the noise on the sum of a batch's gradients, in clip_norm
    sampling_share: float  # probability with which each compound is in a step's batch
    key: bytes = field(repr=False)  # 32 secret bytes, fresh in every training: noise and batches are drawn from them

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _require(_positive(self.clip_norm), "clip_norm", self.clip_norm, "a number above 0")
        _require(_positive(self.noise_multiplier), "noise_multiplier", self.noise_multiplier, "a number above 0")
        _require(0 < self.sampling_share <= 1, "sampling_share", self.sampling_share, "a number above 0, at most 1")
        _require(len(self.key) == _NOISE_KEY_BYTES, "key", f"{len(self.key)} bytes", f"{_NOISE_KEY_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptimiser:
    """How every partner turns the mean change into the next trunk."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    method: Literal["mean", "momentum", "adam"] = "mean"
    """Plain mean, or FedOpt's momentum or Adam."""

    # Partners' changes are nearly orthogonal, so their mean is far shorter than each: 2 learns sooner than 1 and ended
    # best at 3, 5 and 10 partners; 3 overshot at 3 partners, where the largest weighed 62 %
    # (tests/benchmarks/federation_gain.py).
    learning_rate: float = 2.0
    """Factor on the step; above 1 the trunk moves further than the mean change. Keep the product of this factor and the
    largest partner's share of all labels below 1.5. For adam, about 0.001 is right.
    """

    momentum: float = 0.9
    """Share of the last step that is kept (momentum only)."""

    beta1: float = 0.9
    """Decay of the mean change (adam only)."""

    beta2: float = 0.99
    """Decay of the mean squared change (adam only)."""

    epsilon: float = 1e-8
    """Added to the root of the mean squared change (adam only)."""

    def __post_init__(self) -> None:
        """Refuse unknown methods and impossible numbers."""
        _require(self.method in {"mean", "momentum", "adam"}, "method", self.method, "mean, momentum or adam")
        _require(_positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        _require(0 <= self.beta1 < 1, "beta1", self.beta1, "a number in [0, 1)")
        _require(0 <= self.beta2 < 1, "beta2", self.beta2, "a number in [0, 1)")
        _require(_positive(self.epsilon), "epsilon", self.epsilon, "a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationHead:
    """The layers after the trunk for classification.

    (Non-linearity, dropout, linear) for each extra layer and for the tasks. The defaults are SparseChem's, which fixes
    relu here and tanh for regression.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    hidden: tuple[int, ...] = ()
    """Units of each extra layer between trunk and tasks."""

    dropouts: tuple[float, ...] = ()
    """Share of each extra layer's activations dropped in training; none given: none dropped."""

    dropout: float | None = None
    """Share of the trunk's output dropped before this head; absent: training.head_dropout."""

    non_linearity: NonLinearity = "relu"
    """Function before each layer of the head."""

    def __post_init__(self) -> None:
        """Refuse unknown choices, impossible numbers and dropouts that do not go with the layers."""
        _require(all(n > 0 for n in self.hidden), "hidden", self.hidden, "positive numbers of units")
        fits = len(self.dropouts) in {0, len(self.hidden)}
        _require(fits, "dropouts", self.dropouts, f"{len(self.hidden)}, one for each extra layer")
        _require(all(map(_is_share, self.dropouts)), "dropouts", self.dropouts, "shares in [0, 1)")
        _require(self.dropout is None or _is_share(self.dropout), "dropout", self.dropout, "a share in [0, 1)")
        _require_choice("non_linearity", self.non_linearity, NonLinearity)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionHead(ClassificationHead):
    """The layers after the trunk for regression."""

    # all fields are repeated, because pydantic reads a dataclass's texts from its own source alone
    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    hidden: tuple[int, ...] = ()
    """Units of each extra layer between trunk and tasks."""

    dropouts: tuple[float, ...] = ()
    """Share of each extra layer's activations dropped in training; none given: none dropped."""

    dropout: float | None = None
    """Share of the trunk's output dropped before this head; absent: training.head_dropout."""

    non_linearity: NonLinearity = "tanh"
    """Function before each layer of the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Settings of this partner's training; they never leave the partner."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    optimiser: OptimiserName = "adam"
    """Optimiser of the local steps."""

    learning_rate: float = 1e-3
    """Step size of the optimiser."""

    lr_steps: tuple[int, ...] = ()
    """Epochs, rising, after which the learning rate is multiplied by lr_alpha."""

    lr_alpha: float = 0.3
    """Factor on the learning rate after each of lr_steps."""

    momentum: float = 0.0
    """Share of the last step that is kept (sgd only)."""

    batch_size: int = 500
    """Compounds per optimiser step."""

    # their gradients are added up: 1000 costs no time (measured); None computes the whole batch at a time
    internal_batch_max: int | None = 1000
    """Most compounds computed at a time, which bounds memory."""

    weight_decay: float = 0.0
    """L2 penalty, in the gradient; adamw applies it apart from the gradient."""

    head_dropout: float | None = None
    """Share of the trunk's output dropped before the heads; absent: the plan's dropout."""

    classification: ClassificationHead = ClassificationHead()
    regression: RegressionHead = RegressionHead()

    # in a federation 0 leaves regression out altogether: no head, and no compound that has measured values only
    regression_weight: float = 0.0
    """0: no regression; else w: the classification loss counts 2 (1 - w) times, the regression loss 2 w times."""

    normalise_regression: bool = True
    """If true, train on (value - mean) / standard deviation of each task."""

    patience: int | None = None
    """Local-only training stops after this many rounds without a better validation loss; absent: never."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where training and validation run; "auto": on a GPU that torch can use, else on the CPU."""

    # tf32 (cuda only): dense products round their factors to 10 bits. bfloat16: the trunk's layers after the first in
    # bfloat16; input layer, heads, loss and optimiser stay in float32
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Precision of the arithmetic; tf32 on cuda only, and float32 repeats best."""

    n_threads: int = 1
    """Threads of the arithmetic; only an equal number repeats equal bits. One was fastest on a shared machine."""

    seed: int = 0
    """Seed of shuffling, dropout and the first heads."""

    keyed_chance: bool = True
    """If true, the seed is mixed with this partner's private keys, so that nobody else knows it; false: whoever knows
    the seed can repeat the training, as in an experiment on public data.
    """

    def __post_init__(self) -> None:
        """Refuse unknown choices and impossible numbers."""
        self._check_optimiser()
        _require(self.batch_size > 0, "batch_size", self.batch_size, "at least 1 compound")
        _require(_counts(self.internal_batch_max), "internal_batch_max", self.internal_batch_max, "at least 1 compound")
        share = self.head_dropout is None or _is_share(self.head_dropout)
        _require(share, "head_dropout", self.head_dropout, "a share in [0, 1)")
        weight = self.regression_weight
        _require(0 <= weight <= 1, "regression_weight", weight, "a number in [0, 1]")
        _require(_counts(self.patience), "patience", self.patience, "at least 1 round")
        self._check_device()
        _require(self.seed >= 0, "seed", self.seed, "a number of at least 0")

    def on_cpu(self) -> Self:
        """These settings for the CPU, where a model predicts the same on every machine."""
        return replace(self, device="cpu", precision="float32" if self.precision == "tf32" else self.precision)

    def _check_optimiser(self) -> None:
        _require_choice("optimiser", self.optimiser, OptimiserName)
        _require(_positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        rising = list(self.lr_steps) == sorted(set(self.lr_steps)) and all(step > 0 for step in self.lr_steps)
        _require(rising, "lr_steps", self.lr_steps, "rising numbers of epochs above 0")
        _require(_positive(self.lr_alpha), "lr_alpha", self.lr_alpha, "a number above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        fits = self.momentum == 0 or self.optimiser == "sgd"
        _require(fits, "momentum", self.momentum, f"0, as {self.optimiser} has its own")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "a number of at least 0")

    def _check_device(self) -> None:
        _require(self.device in {"cpu", "cuda", "auto"}, "device", self.device, "cpu, cuda or auto")
        known = self.precision in {"float32", "bfloat16"} or (self.precision, self.device) == ("tf32", "cuda")
        _require(known, "precision", self.precision, "float32, bfloat16 or, on device cuda, tf32")
        _require(self.n_threads > 0, "n_threads", self.n_threads, "at least 1 thread")
