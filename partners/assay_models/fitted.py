"""The fitted models of all of a partner's assays, as arrays that a model's file keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.forest import Forest
from partners.assay_models.gaussian_process import GaussianProcess
from partners.errors import CheckpointDamaged

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KnownProcess:
    """A Gaussian process of one assay's compounds, which are some of the model's known compounds."""

    compounds: Ints  # (n,) rows of the known compounds, rising
    process: GaussianProcess  # (n,) weights


@dataclass(frozen=True, slots=True, eq=False)
class AssayModel:
    """What is kept of an assay; with both, the mean of both predictions is its value."""

    process: KnownProcess | None
    forest: Forest | None


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """How the logit of each task follows from its assay's value and the network's logit, (n_tasks,) each.

    logit = by_value * value + by_network * network's logit + offset
    """

    by_value: Floats
    by_network: Floats
    offset: Floats

    @classmethod
    def of_network(cls, n_tasks: int) -> Self:
        """Logits of the network alone."""
        return cls(np.zeros(n_tasks, np.float32), np.ones(n_tasks, np.float32), np.zeros(n_tasks, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class AssayModels:
    """Models of a partner's assays, and which of its tasks each of them predicts.

    It holds labels in all but name: it is private.
    """

    uses_trunk: bool  # the hidden layer is an input next to the fingerprint
    quantiles: Floats  # (n_quantiles, n_descriptors) that descriptors are scaled by; no columns: they are not used
    models: tuple[AssayModel, ...]
    of_task: Ints  # (n_tasks,) number of the task's model; -1: the network alone
    of_regression: Ints  # (n_regressions,) the same
    mixing: Mixing

    @classmethod
    def none(cls, n_tasks: int, n_regressions: int) -> Self:
        """No models: the network alone predicts."""
        return cls(
            uses_trunk=False,
            quantiles=np.zeros((0, 0), np.float32),
            models=(),
            of_task=np.full(n_tasks, -1, np.int64),
            of_regression=np.full(n_regressions, -1, np.int64),
            mixing=Mixing.of_network(n_tasks),
        )

    @property
    def uses_descriptors(self) -> bool:
        """Whether predictions need descriptors."""
        return bool(self.quantiles.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays, for a file without pickle."""
        processes = [(i, model.process) for i, model in enumerate(self.models) if model.process]
        forests = [(i, model.forest) for i, model in enumerate(self.models) if model.forest]
        return {
            "inputs": np.array([self.uses_trunk, len(self.models)], np.int64),
            "quantiles": self.quantiles,
            "of_task": self.of_task,
            "of_regression": self.of_regression,
            **{f"mixing.{part.name}": getattr(self.mixing, part.name) for part in fields(Mixing)},
            "process.model": np.array([i for i, _ in processes], np.int64),
            "process.mean": np.array([known.process.mean for _, known in processes], np.float64),
            "process.ends": np.cumsum([known.compounds.size for _, known in processes], dtype=np.int64),
            "process.compound": _joined([known.compounds for _, known in processes], np.int32),
            "process.weight": _joined([known.process.weight for _, known in processes], np.float32),
            "forest.model": np.array([i for i, _ in forests], np.int64),
            "forest.trees": np.cumsum([forest.roots.size for _, forest in forests], dtype=np.int64),
            "forest.ends": np.cumsum([forest.feature.size for _, forest in forests], dtype=np.int64),
            **{
                f"forest.{part.name}": _joined(
                    [getattr(forest, part.name) for _, forest in forests], _FOREST[part.name]
                )
                for part in fields(Forest)
            },
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_known: int) -> Self:
        """Inverse of `arrays`, for a model with this many known compounds; raises CheckpointDamaged."""
        try:
            return cls._from_arrays(arrays, n_known)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise CheckpointDamaged(f"assay models: found arrays that do not fit together: {error}") from None

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_known: int) -> Self:
        uses_trunk, n_models = (int(number) for number in arrays["inputs"])
        compound, weight = arrays["process.compound"].astype(np.int64), arrays["process.weight"]
        _require("a compound that is not known", bool(((compound >= 0) & (compound < n_known)).all()))
        processes: dict[int, KnownProcess] = {}
        for number, mean, part in zip(
            arrays["process.model"],
            arrays["process.mean"],
            _parts(arrays["process.ends"], compound, weight),
            strict=True,
        ):
            processes[int(number)] = KnownProcess(compound[part], GaussianProcess(float(mean), weight[part]))
        roots, *nodes = (arrays[f"forest.{part.name}"] for part in fields(Forest))
        forests: dict[int, Forest] = {}
        for number, trees, part in zip(
            arrays["forest.model"],
            _parts(arrays["forest.trees"], roots),
            _parts(arrays["forest.ends"], *nodes),
            strict=True,
        ):
            forests[int(number)] = Forest(roots[trees], *(array[part] for array in nodes))
        _require("a model twice", len(processes) + len(forests) == sum(arrays[name].size for name in _NUMBERS))
        _require("other models than expected", {*processes, *forests} == set(range(n_models)))
        models = cls(
            bool(uses_trunk),
            arrays["quantiles"],
            tuple(AssayModel(processes.get(i), forests.get(i)) for i in range(n_models)),
            arrays["of_task"],
            arrays["of_regression"],
            Mixing(*(arrays[f"mixing.{part.name}"] for part in fields(Mixing))),
        )
        models._check()
        return models

    def _check(self) -> None:
        """Raise ValueError for tasks without their model, or without numbers in the mixing."""
        of_all = np.concatenate([self.of_task, self.of_regression])
        _require("tasks of other models", bool(((of_all >= -1) & (of_all < len(self.models))).all()))
        mixing = [getattr(self.mixing, part.name).shape for part in fields(Mixing)]
        _require("a mixing of other tasks", set(mixing) == {self.of_task.shape})
        _require("quantiles that are no table", self.quantiles.ndim == 2)  # noqa: PLR2004 -- a table has two dimensions


_NUMBERS = ("process.model", "forest.model")
_FOREST: dict[str, Any] = {"roots": np.int32, "feature": np.int32, "number": np.float32, "right": np.int32}


def _joined(parts: list[Any], dtype: Any) -> NDArray[Any]:  # noqa: ANN401 -- numpy's types
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _require(found: str, holds: bool) -> None:  # noqa: FBT001 -- the condition is the subject
    if not holds:
        raise ValueError(found)


def _parts(ends: Ints, *arrays: NDArray[Any]) -> list[slice]:
    """Each model's part of arrays that hold one model's part after the other."""
    places = [0, *ends.tolist()]
    _require("ends that fall", places == sorted(places))
    _require("parts of other lengths", all(array.shape == (places[-1],) for array in arrays))
    return [slice(*pair) for pair in pairwise(places)]
