"""What the opened sums reveal: how well each step of the trunk agrees with the update of a single compound."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from partners.audit.frozen_trunk import Heads, MeasuredTasks, fit_heads, measured_outputs
from partners.network.input_transform import transformed
from partners.network.trunk import TrunkLayout
from partners.settings import NonLinearity, Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Compounds whose membership is attacked, with their targets and the half that each is in."""

    x: sparse.csr_matrix  # (n, n_inputs)
    targets: MeasuredTasks
    halves: NDArray[np.bool_]  # (n,)

    @classmethod
    def of(cls, data: TrainingSet, rows: NDArray[np.int64], seed: int) -> "Candidates":
        """Take some rows of a training set, in halves drawn by the seed."""
        halves = np.random.default_rng(seed).permutation(rows.size) < rows.size // 2
        return cls(data.x[rows], MeasuredTasks.of(data, rows), halves)


def step_agreement(
    trunks: Iterable[NDArray[np.float32]],
    candidates: Candidates,
    layout: TrunkLayout,
    trunk_settings: TrunkSettings,
    training: Training,
) -> Floats:
    """Sum over the steps of the cosine between a step of the trunk and a compound's update, (n,).

    trunks : of successive rounds, two of which are held at a time; a step is what the opened sum of a round gave
    A compound's update is minus the gradient of its squared loss under heads that were fitted to the round's trunk on
    the other half of the candidates. The attack of an honest member that sees all sums (Nasr, Shokri and Houmansadr,
    IEEE S&P 2019; Li, Li and Ribeiro, "Effective passive membership inference attacks in federated learning", AAAI
    2023, by inner products). No gradient of a single compound is held: of a layer it is the outer product of its input
    and its error.
    """
    x = transformed(candidates.x, trunk_settings.input_transform)
    functions = trunk_settings.non_linearity, training.classification.non_linearity
    total = np.zeros(x.shape[0])
    with threadpool_limits(limits=training.n_threads):
        for before, after in pairwise(trunks):
            total += _Layers(layout.views(before), *functions).cosine(layout.views(after - before), x, candidates)
    return total


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """The trunk's layers, forwards and backwards, in numpy."""

    weights: dict[str, NDArray[np.float32]]
    inner: NonLinearity
    last: NonLinearity

    def cosine(self, step: dict[str, NDArray[np.float32]], x: sparse.csr_matrix, candidates: Candidates) -> Floats:
        """Cosine of the step with each compound's update, (n,); 0 where either is 0."""
        inputs, sums = self._forward(x)
        error = self._last_error(sums[-1], candidates)
        agreement, squares = np.zeros(x.shape[0]), np.zeros(x.shape[0])
        for layer in reversed(range(len(sums))):
            moved = inputs[layer] @ _inputs_first(step, layer) + step[f"trunk.{layer}.bias"]
            agreement -= (error * moved).sum(axis=1)
            squares += (error**2).sum(axis=1) * (_squared_lengths(inputs[layer]) + 1)
            if layer:
                error = (error @ self.weights[f"trunk.{layer}.weight"]) * _slope(sums[layer - 1], self.inner)
        length = float(np.sqrt(sum((tensor.astype(np.float64) ** 2).sum() for tensor in step.values())))
        return agreement / np.maximum(np.sqrt(squares) * length, np.finfo(np.float64).tiny)

    def _forward(self, x: sparse.csr_matrix) -> tuple[list[sparse.csr_matrix | Floats], list[Floats]]:
        """Inputs and sums, before the non-linearity, of each layer."""
        inputs: list[sparse.csr_matrix | Floats] = [x]
        sums: list[Floats] = []
        for layer in range(len(self.weights) // 2):
            if layer:
                inputs.append(_applied(sums[-1], self.inner))
            sums.append(inputs[-1] @ _inputs_first(self.weights, layer) + self.weights[f"trunk.{layer}.bias"])
        return inputs, sums

    def _last_error(self, last: Floats, candidates: Candidates) -> Floats:
        """Gradient of each compound's loss in the last sums, (n, hidden[-1])."""
        hidden, targets = _applied(last, self.last), candidates.targets
        stored = targets.values.tocoo()
        error = np.zeros(last.shape)
        for half in (candidates.halves, ~candidates.halves):
            heads = fit_heads(hidden, targets, ~half)
            miss = np.where(half[stored.row], measured_outputs(heads, hidden, targets) - stored.data, 0.0)
            error += _back(heads, sparse.csr_matrix((miss, (stored.row, stored.col)), shape=stored.shape))
        return error * _slope(last, self.last)


def _back(heads: Heads, miss: sparse.csr_matrix) -> Floats:
    back: Floats = miss @ heads.weight
    return back


def _inputs_first(tensors: dict[str, NDArray[np.float32]], layer: int) -> NDArray[np.float32]:
    """A layer's weight as (inputs, outputs): only the first is kept so."""
    weight = tensors[f"trunk.{layer}.weight"]
    return weight if layer == 0 else weight.T


def _squared_lengths(inputs: sparse.csr_matrix | Floats) -> Floats:
    squared = inputs.multiply(inputs).sum(axis=1) if sparse.issparse(inputs) else (inputs**2).sum(axis=1)
    return np.asarray(squared, dtype=np.float64).ravel()


def _applied(sums: Floats, function: NonLinearity) -> Floats:
    return np.tanh(sums) if function == "tanh" else np.maximum(sums, 0.0)


def _slope(sums: Floats, function: NonLinearity) -> Floats:
    return 1 - np.tanh(sums) ** 2 if function == "tanh" else (sums > 0).astype(np.float64)
