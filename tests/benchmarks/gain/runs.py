"""One arm at one seed, trained once and kept: scores of every task after every few rounds, in one .npz file."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partners.evaluation import evaluate
from partners.settings import ServerOptimiser, Training, TrunkSettings
from partners.trunk import trunk_layout
from secure.parameters import SealSettings, seal_parameters
from tests.benchmarks.gain import arms
from tests.benchmarks.gain.arms import Model
from tests.benchmarks.gain.partners import Partner
from tests.pipeline.clear_rounds import Agreed, Member

FOLDS = {"validation": 1, "test": 0}
_FOLLOWED = 10  # how often, at most, the validation fold is scored on the way


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything a run depends on besides the data; what an arm does not use is None, so that equal runs are one."""

    arm: str
    data: str
    bits: int
    hidden: tuple[int, ...]
    rounds: int
    steps: int  # optimiser steps of every partner in every round
    seed: int
    dropout: float = 0.6
    batch: int = 500
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    server_rate: float | None = None
    method: str | None = None
    weights: str | None = None
    seal_bits: int | None = None
    honest: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """As it stands in a table."""
        if self.server_rate is None:
            return f"{self.arm} {self.rounds * self.steps} steps"
        method = "" if self.method == "mean" else f" {self.method}"
        by = "by labels" if self.weights == "size" else "equal"
        return f"{self.arm}{method} rate {self.server_rate:g}, {by}, {self.rounds} x {self.steps}"


@dataclass
class Scores:
    """What a run gave: by partner, fold and metric (n_tasks,), NaN where a class is missing."""

    tasks: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)  # rounds done, mean validation average precision
    facts: dict[str, float] = field(default_factory=dict)

    def of(self, partner: str, fold: str, metric: str) -> NDArray[np.float64] | None:
        """Scores of a partner's tasks; None where the run did not look at this partner."""
        return self.tasks.get(f"{partner}/{fold}/{metric}")


def obtain(setting: Setting, partners: Mapping[str, Partner], folder: Path) -> Scores:
    """Read the run if it was done before, else do it and keep it."""
    told = json.dumps(asdict(setting), sort_keys=True)
    file = folder / f"{setting.arm}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
    if not file.exists():
        scores = _run(setting, partners)
        folder.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"setting": told, "curve": scores.curve, "facts": scores.facts})
        np.savez_compressed(file, about=np.array(about), **scores.tasks)
    with np.load(file, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        return Scores({name: stored[name] for name in stored if name != "about"}, about["curve"], about["facts"])


def agreed_of(setting: Setting, partners: Mapping[str, Partner]) -> Agreed:
    """The plan's part of a setting."""
    most = max(partner.training_set.n_training_labels for partner in partners.values())
    return Agreed(
        layout=trunk_layout(setting.bits, setting.hidden),
        trunk=TrunkSettings(hidden=setting.hidden, dropout=setting.dropout),
        trunk_seed=1000 + setting.seed,
        n_rounds=setting.rounds,
        local_steps=setting.steps,
        server=ServerOptimiser(method=setting.method or "mean", learning_rate=setting.server_rate or 1.0),
        seal=SealSettings(bits=setting.seal_bits or 16, weights=setting.weights or "equal", max_weight=most),
    )


def _run(setting: Setting, partners: Mapping[str, Partner]) -> Scores:
    agreed, members = agreed_of(setting, partners), {}
    for number, (name, partner) in enumerate(partners.items()):
        training = Training(
            batch_size=setting.batch,
            learning_rate=setting.learning_rate,
            weight_decay=setting.weight_decay,
            seed=100 * setting.seed + number,
        )
        members[name] = Member(partner.training_set, training)
    watch = _Watch(partners, members, agreed)
    if setting.arm == "local":
        arms.local(members, agreed, watch)
    elif setting.arm == "federated":
        arms.federated(members, agreed, watch)
    elif setting.arm == "shuffled":
        arms.shuffled(members, agreed, watch, setting.honest or tuple(members))
    else:
        keys = {name: partner.keys for name, partner in partners.items()}
        columns = arms.private_columns(members) if setting.arm == "joint" else arms.pooled_columns(keys)
        arms.together(members, columns, agreed, watch)
    return watch.scores()


class _Watch:
    """Scores the models an arm tells of: the validation fold on the way, both folds after the last round."""

    def __init__(self, partners: Mapping[str, Partner], members: Mapping[str, Member], agreed: Agreed) -> None:
        self._partners, self._members, self._agreed = partners, members, agreed
        self._every = math.ceil(agreed.n_rounds / _FOLLOWED)
        self._on_the_way: dict[int, list[NDArray[np.float64]]] = {}
        self._tasks: dict[str, NDArray[np.float64]] = {}
        self._seconds: list[float] = []
        self._seen: list[tuple[float, float]] = []

    def __call__(self, n_done: int, name: str, model: Model) -> None:
        """Look at one partner's model after some rounds."""
        self._seconds.append(model.seconds)
        self._seen.append((model.cosine, model.clipped))
        is_last = n_done == self._agreed.n_rounds
        if is_last or n_done % self._every == 0:
            scores = self._score(name, "validation", model)
            enough = np.minimum(scores["n_active"], scores["n_inactive"]) >= 1
            seen = scores["average_precision"][enough & self._partners[name].judged]
            self._on_the_way.setdefault(n_done, []).append(seen)
        if is_last:
            for fold in FOLDS:
                found = self._score(name, fold, model)
                self._tasks |= {f"{name}/{fold}/{metric}": values for metric, values in found.items()}

    def _score(self, name: str, fold: str, model: Model) -> dict[str, NDArray[np.float64]]:
        member = self._members[name]
        found = evaluate(
            self._partners[name].training_set, FOLDS[fold], model.trunk, model.state, self._agreed.layout,
            self._agreed.trunk, member.training,
        ).tasks  # fmt: skip
        fields = ("average_precision", "roc_auc", "n_active", "n_inactive")
        return {metric: np.asarray(getattr(found, metric), dtype=np.float64) for metric in fields}

    def scores(self) -> Scores:
        """What was seen."""
        curve = [(n, float(np.concatenate(parts).mean())) for n, parts in sorted(self._on_the_way.items())]
        parameters, n_params = seal_parameters(self._agreed.seal), self._agreed.layout.n_params
        n_chunks = parameters.n_chunks(n_params)
        cosines, clipped = (np.array([pair[i] for pair in self._seen]) for i in (0, 1))
        facts = {
            "seconds": float(np.median(self._seconds)),
            "bytes_up": n_chunks * parameters.update_chunk_bytes,
            "bytes_down": n_chunks * parameters.sum_chunk_bytes,
            "cosine_first": float(cosines[0]),
            "cosine_last": float(cosines[-1]),
            "clipped": float(clipped[-1]),
        }
        return Scores(self._tasks, curve, facts)
