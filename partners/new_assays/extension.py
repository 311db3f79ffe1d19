"""The models of one new assay, with their calibration and compounds, in one file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.assay_models.fitted import AssayModels
from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, load_checkpoint, read_facts, save_checkpoint
from partners.models.conformal import Calibration
from partners.network.inference import Outputs
from partners.network.trunk import TrunkLayout

KIND = "hocket new assay"
_STARTS, _BITS, _COUNTS = "compounds.starts", "compounds.bits", "compounds.counts"
_ALONE, _ON_TRUNK = "alone.", "on_trunk."


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedModel:
    """One model of the assay with the calibration of its predictions."""

    models: AssayModels  # a single model, of all tasks
    calibration: Calibration

    def outputs(self, values: NDArray[np.float32]) -> Outputs:
        """Logits (n, n_tasks) and values (n, n_regressions) from the assay's values, (n,)."""
        return outputs_of(self.models, values)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays."""
        calibration = {f"calibration.{name}": array for name, array in self.calibration.arrays().items()}
        return self.models.arrays() | calibration

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_known: int) -> Self:
        """Inverse of `arrays`; raises CheckpointDamaged."""
        models = AssayModels.from_arrays(arrays, n_known)
        calibration = Calibration.from_arrays(
            {name.removeprefix("calibration."): array for name, array in arrays.items()}
        )
        tasks = (models.of_task.size, models.of_regression.size)
        if len(models.models) != 1 or (calibration.n_labels.size, calibration.n_values.size) != tasks:
            raise CheckpointDamaged("new assay: found arrays that do not fit together, expected one model")
        return cls(models, calibration)


def outputs_of(models: AssayModels, values: NDArray[np.float32]) -> Outputs:
    """Logits (n, n_tasks) and values (n, n_regressions) of a single assay from its values, (n,)."""
    regressions = np.repeat(values[:, None], models.of_regression.size, axis=1)
    return Outputs(values[:, None] * models.mixing.by_value + models.mixing.offset, regressions)


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """The models of one new assay. It holds fingerprints and results of its compounds: it is private."""

    known: sparse.csr_matrix  # (n_known, n_bits) of all its compounds
    alone: CalibratedModel  # the best without the trunk
    on_trunk: CalibratedModel | None  # the best with it, if that is kept
    facts: Mapping[str, Any]  # JSON values: what was decided, and the caller's

    @property
    def n_tasks(self) -> int:
        """Number of classification tasks."""
        return int(self.alone.models.of_task.size)

    @property
    def n_regressions(self) -> int:
        """Number of regression tasks, 0 or 1."""
        return int(self.alone.models.of_regression.size)

    def write(self, path: Path) -> None:
        """Write atomically; the same models give the same bytes."""
        ones = bool((self.known.data == 1).all())
        others: dict[str, NDArray[Any]] = {
            _STARTS: self.known.indptr.astype(np.int64),
            _BITS: self.known.indices.astype(np.uint32),
            _COUNTS: np.zeros(0, np.uint32) if ones else self.known.data.astype(np.uint32),
        }
        for prefix, side in ((_ALONE, self.alone), (_ON_TRUNK, self.on_trunk)):
            others |= {prefix + name: array for name, array in side.arrays().items()} if side else {}
        save_checkpoint(path, Checkpoint(facts={**self.facts, "kind": KIND}, others=others))

    @classmethod
    def read(cls, path: Path, layout: TrunkLayout) -> "Extension":
        """Inverse of `write`; raises FileNotFoundError or CheckpointDamaged."""
        stored = load_checkpoint(path, layout)
        arrays = stored.others
        if stored.facts.get("kind") != KIND or not arrays.keys() >= {_STARTS, _BITS, _COUNTS}:
            raise CheckpointDamaged(f"{path.name}: found another file, expected the models of a new assay")
        starts, bits = arrays[_STARTS], arrays[_BITS].astype(np.int32)
        counts = arrays[_COUNTS].astype(np.float32) if arrays[_COUNTS].size else np.ones(bits.size, np.float32)
        whole = starts[0] == 0 and starts[-1] == bits.size == counts.size and (np.diff(starts) >= 0).all()
        if not whole or bits.max(initial=0) >= layout.n_inputs:
            raise CheckpointDamaged(f"{path.name}: compounds do not fit {layout.n_inputs} bits")
        known = sparse.csr_matrix((counts, bits, starts), shape=(starts.size - 1, layout.n_inputs))
        sides = {
            prefix: {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            for prefix in (_ALONE, _ON_TRUNK)
        }
        alone, on_trunk = (
            CalibratedModel.from_arrays(part, known.shape[0]) if part else None for part in sides.values()
        )
        if alone is None:
            raise CheckpointDamaged(f"{path.name}: found no model without the trunk")
        return cls(known, alone, on_trunk, stored.facts)


def extension_facts(path: Path) -> Mapping[str, Any]:
    """The facts of an extension's file, from its header alone; raises CheckpointDamaged for another file."""
    facts = read_facts(path)
    if facts.get("kind") != KIND:
        raise CheckpointDamaged(f"{path.name}: found another file, expected the models of a new assay")
    return facts
