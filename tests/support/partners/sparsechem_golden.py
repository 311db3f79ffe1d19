"""SparseChem's golden data set and runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from partners.training_data.sparsechem_files import MatrixFiles, read_training_set
from partners.training_data.training_set import TrainingSet


def golden_files(folder: Path) -> MatrixFiles:
    """Paths of the golden data set."""
    return MatrixFiles(
        x=folder / "x.npz",
        folding=folder / "folding.npy",
        y_class=folder / "y_class.npz",
        y_regr=folder / "y_regr.npz",
        y_censor=folder / "y_censor.npz",
        weights_class=folder / "cls_weights.csv",
        weights_regr=folder / "reg_weights.csv",
    )


def golden_set(folder: Path, *, classification: bool = True, regression: bool = True) -> TrainingSet:
    """The golden data set, whole or without one kind of task."""
    every = golden_files(folder)
    kept = {"x": every.x, "folding": every.folding}
    if classification:
        kept |= {"y_class": every.y_class, "weights_class": every.weights_class}
    if regression:
        kept |= {"y_regr": every.y_regr, "y_censor": every.y_censor, "weights_regr": every.weights_regr}
    return read_training_set(MatrixFiles(**kept), test_fold=0, validation_fold=1)


def golden_run(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and arrays of one of SparseChem's six-step runs: class, regr or hybrid."""
    with np.load(folder / f"parity_{kind}.npz") as arrays:
        return json.loads((folder / f"parity_{kind}.json").read_text()), dict(arrays)
