"""Shadow models: the partner's network, trained without federation on random halves of its compounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from partners.audit.attacks import ShadowScores
from partners.audit.frozen_trunk import Fit, fit_of, hidden_inputs, trunk_fit
from partners.audit.trunk_steps import Candidates
from partners.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partners.network.device import device_of
from partners.network.inference import Outputs, Predictor
from partners.network.state import DEVIATION, MEAN, PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training, TrunkSettings
from partners.training.training import TrainingProgress, train_round
from partners.training_data.training_set import TrainingSet

# streams of the seed, apart from that of the halves of the candidates: on equal halves heads see no member
_HALF, _TRAINING = 1, 2
_BLOCK = 4096  # compounds at a time, so that no output of all compounds and tasks is held


@dataclass(frozen=True, slots=True, eq=False)
class ShadowTask:
    """What every shadow model of an audit has in common."""

    data: TrainingSet
    pool: NDArray[np.int64]  # (n_pool,) rows of the data, ascending: each shadow is trained on half of them
    rows: NDArray[np.int64]  # (n,) rows of the candidates, all of them in the pool
    candidates: Candidates  # of these rows
    first_trunk: NDArray[np.float32]
    layout: TrunkLayout
    trunk_settings: TrunkSettings
    training: Training
    n_steps: int  # optimiser steps, as many as in all rounds of the federation

    @property
    def runs_on_gpu(self) -> bool:
        """Whether shadows are trained on a GPU."""
        return device_of(self.training) != "cpu"

    def inside(self, shadow: int) -> NDArray[np.bool_]:
        """Which of the pool a shadow is trained on, (n_pool,): a random half, or what the shadow before it left.

        So each compound is inside half of the shadows, as in Carlini et al. (2022).
        """
        rng = np.random.default_rng((self.training.seed, _HALF, shadow // 2))
        half = rng.permutation(self.pool.size) < self.pool.size // 2
        return half if shadow % 2 == 0 else ~half

    def train(self, shadow: int, progress: TrainingProgress | None = None) -> "Shadow":
        """Train a shadow from the federation's first trunk, and score all candidates. Equal arguments, equal bits."""
        inside = self.inside(shadow)
        trained = train_round(
            part_of(self.data, self.pool[inside]),
            self.first_trunk,
            None,
            self.layout,
            self.trunk_settings,
            replace(self.training, patience=None),
            (self.training.seed, _TRAINING, shadow),
            self.n_steps,
            progress=progress,
        )
        trunk = self.first_trunk + trained.trunk_change
        is_member = inside[np.searchsorted(self.pool, self.rows)]
        return Shadow(is_member, self.fit_of_trunk(trunk), self.fit_of_model(trunk, trained.state))

    def fit_of_trunk(self, trunk: NDArray[np.float32]) -> Fit:
        """How well heads that are fitted to a trunk on one half fit the other half."""
        hidden = hidden_inputs(self.candidates.x, trunk, self.layout, self.trunk_settings, self.training)
        with threadpool_limits(limits=self.training.n_threads):
            return trunk_fit(hidden, self.candidates.targets, self.candidates.halves)

    def fit_of_model(self, trunk: NDArray[np.float32], state: PartnerState) -> Fit:
        """How well a trunk with its own heads fits each candidate."""
        predictor = Predictor(trunk, state, self.layout, self.trunk_settings, self.training)
        return fit_of(self.candidates.targets, np.concatenate(list(self._outputs(predictor, state))))

    def _outputs(self, predictor: Predictor, state: PartnerState) -> Iterator[NDArray[np.float64]]:
        """Logits and normalised values where something was measured, in the order of the targets."""
        targets = self.candidates.targets
        for start in range(0, self.rows.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            stored = targets.values[part].tocoo()
            outputs = _joined(predictor(self.candidates.x[part]), state)
            yield outputs[stored.row, stored.col]


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """A trained shadow's scores of the candidates."""

    inside: NDArray[np.bool_]  # (n,)
    trunk: Fit
    model: Fit

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The scores by name, for a file."""
        fits = {
            f"{view}_{name}": getattr(fit, name)
            for view, fit in (("trunk", self.trunk), ("model", self.model))
            for name in ("confidence", "likelihood")
        }
        return {"inside": self.inside.astype(np.int32), **fits}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Shadow":
        """The shadow of these arrays; raises KeyError if one is missing."""
        trunk, model = (Fit(arrays[f"{view}_confidence"], arrays[f"{view}_likelihood"]) for view in ("trunk", "model"))
        return cls(arrays["inside"].astype(np.bool_), trunk, model)

    def write(self, path: Path) -> None:
        """Write the scores, atomically."""
        save_checkpoint(path, Checkpoint(others=self.arrays()))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> "Shadow":
        """Read the scores; layout: of the trunk. Raises CheckpointDamaged."""
        return cls.from_arrays(load_checkpoint(path, layout, only=["others"]).others)


def joined(shadows: list[Shadow], view: str) -> ShadowScores:
    """The scores of all shadows in one view, "trunk" or "model"."""
    fits: list[Fit] = [getattr(shadow, view) for shadow in shadows]
    return ShadowScores(
        np.array([fit.confidence for fit in fits]),
        np.array([fit.likelihood for fit in fits]),
        np.array([shadow.inside for shadow in shadows]),
    )


def part_of(data: TrainingSet, rows: NDArray[np.int64]) -> TrainingSet:
    """A training set of some compounds, all of them moved to a training fold."""
    fold = max(data.test_fold, data.validation_fold) + 1
    return replace(
        data,
        x=data.x[rows],
        y=data.y[rows],
        y_regr=data.y_regr[rows],
        y_censor=data.y_censor[rows],
        folding=np.full(rows.size, fold, dtype=np.int64),
    )


def _joined(outputs: Outputs, state: PartnerState) -> NDArray[np.float64]:
    """Logits, then values as the heads were trained on them."""
    if not state.normalisation:
        return outputs.logits.astype(np.float64)
    values = (outputs.values - state.normalisation[MEAN]) / state.normalisation[DEVIATION]
    return np.concatenate([outputs.logits, values], axis=1).astype(np.float64)
