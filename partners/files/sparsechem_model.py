"""Read and write SparseChem's models: its state_dict in a .pt file and its settings in a .json file.

Behaviour after SparseChem 258c20f (github.com/melloddy/SparseChem), none of its code. Its input weight is (inputs,
outputs), as ours; every other weight is (outputs, inputs). A head without tasks has tensors without rows. If the
settings normalise regression, mean and variance are under `stats`.
"""

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partners.errors import ForeignModel, TrainingError, TrunkMismatch
from partners.network.state import (
    CLASSIFICATION,
    DEVIATION,
    MEAN,
    REGRESSION,
    Arrays,
    HeadSizes,
    PartnerState,
    check_state,
    fresh_state,
)
from partners.network.trunk import TrunkLayout, check_layers, check_trunk, trunk_layout
from partners.settings import ClassificationHead, RegressionHead, Training, TrunkSettings
from secure.files import write_atomically

_MASKS = ("regmask", "classmask")
_HEADS = {CLASSIFICATION: "classLast.net", REGRESSION: "regrLast.0.net"}
_INFINITY = "hocket: infinity"  # placeholder, replaced in the JSON text
_FIXED = {"last_non_linearity": "relu", "enable_cat_fusion": 0, "cat_id_size": 0, "fold_inputs": None}
# what torch raises for bytes that are no state_dict; OSError too, though it reads from memory
_UNREADABLE = (UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OSError)


@dataclass(frozen=True, slots=True, eq=False)
class SparseChemModel:
    """A trunk with a partner's heads, and the settings that they were trained with."""

    layout: TrunkLayout
    trunk: NDArray[np.float32]
    state: PartnerState
    trunk_settings: TrunkSettings
    training: Training

    def __post_init__(self) -> None:
        """Raise TrunkMismatch or StateMismatch if the parts do not fit together."""
        check_layers(self.layout, self.trunk_settings)
        check_trunk(self.trunk, self.layout)
        check_state(self.state, self.layout, self.state.sizes)


def write_sparsechem(model: SparseChemModel, model_file: Path, settings_file: Path) -> None:
    """Write both files atomically, the model last; they hold everything that a prediction depends on.

    Raises ForeignModel if a head has another non-linearity than SparseChem's relu and tanh. A dropout of one head alone
    is not written: SparseChem has one for both.
    """
    kinds = model.training.classification, model.training.regression
    if (kinds[0].non_linearity, kinds[1].non_linearity) != ("relu", "tanh"):
        raise ForeignModel(
            f"heads: found non-linearities {kinds[0].non_linearity} for classification and {kinds[1].non_linearity} "
            f"for regression, expected relu and tanh, which SparseChem has"
        )
    content = io.BytesIO()
    torch.save(_state_dict(model), content)
    text = json.dumps({"conf": _settings(model)} | _stats(model.state), indent=1, allow_nan=False)
    # 1e999 is strict JSON that Python reads as infinity, with which SparseChem has no scaling layer
    write_atomically(settings_file, text.replace(json.dumps(_INFINITY), "1e999").encode() + b"\n")
    write_atomically(model_file, content.getvalue())


def read_sparsechem(model_file: Path, settings_file: Path) -> SparseChemModel:
    """Read a model of SparseChem or `write_sparsechem`, with an optimiser before its first step.

    The file is read as tensors only: no code in it runs. Raises ForeignModel for files that cannot be read, do not fit
    together, or use features that hocket does not have: a split trunk output, a scaling layer, folded inputs, catalogue
    fusion.
    """
    conf, stats = _read_settings(settings_file)
    tensors = _read_tensors(model_file)
    try:
        return _model(conf, stats, tensors, model_file)
    except KeyError as error:
        raise ForeignModel(f"{settings_file.name}: found no setting {error}, expected SparseChem's conf") from None
    except (TypeError, ValueError) as error:
        raise ForeignModel(f"{settings_file.name}: {error}") from None
    except ForeignModel:
        raise
    except TrainingError as error:
        raise ForeignModel(f"{model_file.name}: {error}") from None


def _names(n_trunk_layers: int, sizes: HeadSizes) -> Iterator[tuple[str, str]]:
    """Hocket's and SparseChem's name of every layer of the network."""
    yield "trunk.0", "net.0.net_freq"
    for i in range(1, n_trunk_layers):
        yield f"trunk.{i}", f"net.1.net.layer_{i - 1}.2"
    for kind, theirs in _HEADS.items():
        ours = [name for name, _, _ in sizes.layers(kind, 0)]
        for i, name in enumerate(ours):
            layer = "initial_layer" if i == 0 else "last_layer" if i == len(ours) - 1 else f"layer_{i - 1}"
            yield name, f"{theirs}.{layer}.2"


def _state_dict(model: SparseChemModel) -> dict[str, torch.Tensor]:
    width = model.layout.hidden[-1]
    arrays: Mapping[str, NDArray[np.float32]] = model.layout.views(model.trunk) | dict(model.state.heads)
    tensors = {name: torch.ones(1, width) for name in _MASKS}
    for ours, theirs in _names(len(model.layout.hidden), model.state.sizes):
        for part in ("weight", "bias"):
            tensors[f"{theirs}.{part}"] = torch.tensor(arrays[f"{ours}.{part}"])
    for theirs in _without_tasks(model.state.sizes):
        tensors[f"{theirs}.initial_layer.2.weight"] = torch.zeros(0, width)
        tensors[f"{theirs}.initial_layer.2.bias"] = torch.zeros(0)
    return tensors


def _without_tasks(sizes: HeadSizes) -> tuple[str, ...]:
    return tuple(theirs for kind, theirs in _HEADS.items() if not list(sizes.layers(kind, 0)))


def _settings(model: SparseChemModel) -> dict[str, Any]:
    """Settings with which SparseChem builds the network and trains it further."""
    sizes, training, trunk = model.state.sizes, model.training, model.trunk_settings
    n_classes, n_regressions = model.state.n_tasks, model.state.n_regressions
    width = model.layout.hidden[-1]
    *between, last = trunk.dropouts
    return {
        **_FIXED,
        "input_size": model.layout.n_inputs,
        "input_size_freq": model.layout.n_inputs,
        "input_transform": trunk.input_transform,
        "output_size": n_classes + n_regressions,
        "class_output_size": n_classes,
        "regr_output_size": n_regressions,
        "class_feature_size": width,
        "regression_feature_size": width,
        "hidden_sizes": list(trunk.hidden),
        "dropouts_trunk": [*between, last if training.head_dropout is None else training.head_dropout],
        "middle_non_linearity": trunk.non_linearity,
        "last_hidden_sizes": None,
        "last_hidden_sizes_class": list(sizes.classification[:-1]) or None,
        "last_hidden_sizes_reg": list(sizes.regression[:-1]) or None,
        "dropouts_class": _dropouts(training.classification, sizes.classification),
        "dropouts_reg": _dropouts(training.regression, sizes.regression),
        "scaling_regularizer": _INFINITY,
        "regression_weight": training.regression_weight,
        "censored_loss": 1,
        "normalize_regression": int(training.normalise_regression),
        "inverse_normalization": int(training.normalise_regression),
        "normalize_regr_va": 0,
        "normalize_loss": None,
        "optimizer": training.optimiser,
        "optimizer_params": [training.momentum] if training.momentum else [],
        "lr": training.learning_rate,
        "lr_steps": list(training.lr_steps),
        "lr_alpha": training.lr_alpha,
        "weight_decay": training.weight_decay,
        "internal_batch_max": training.internal_batch_max,
        "model_type": None,
    }


def _dropouts(head: ClassificationHead, sizes: tuple[int, ...]) -> list[float]:
    """Dropout of each extra layer, as SparseChem expects them; none for a head without tasks."""
    return list(head.dropouts or (0.0,) * len(head.hidden)) if sizes else []


def _stats(state: PartnerState) -> dict[str, Any]:
    """Mean and variance of every task; the square of a float32 is exact in float64, so its root gives it back."""
    if not state.normalisation:
        return {}
    deviation = state.normalisation[DEVIATION].astype(np.float64)
    return {"stats": {"mean": state.normalisation[MEAN].astype(np.float64).tolist(), "var": (deviation**2).tolist()}}


def _read_settings(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    try:
        content = json.loads(path.read_bytes())  # SparseChem writes Infinity, which Python reads
    except (ValueError, RecursionError) as error:
        raise ForeignModel(f"{path.name}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("conf"), dict):
        raise ForeignModel(f"{path.name}: found no `conf`, expected SparseChem's settings")
    return content["conf"], content.get("stats")


def _read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    file = io.BytesIO(path.read_bytes())
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0]
        raise ForeignModel(f"{path.name}: cannot be read as a state_dict of tensors: {reason}") from None
    if not isinstance(content, dict):
        raise ForeignModel(f"{path.name}: found {type(content).__name__}, expected a state_dict")
    for name, tensor in content.items():
        sound = isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32 and tensor.layout == torch.strided
        if not (sound and bool(torch.isfinite(tensor).all())):
            raise ForeignModel(f"{path.name}: {name} is no dense float32 tensor of finite numbers")
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in content.items()}


def _model(
    conf: Mapping[str, Any], stats: Mapping[str, Any] | None, tensors: Arrays, model_file: Path
) -> SparseChemModel:
    _check_known(conf)
    trunk_settings, training, sizes = _trunk_settings(conf), _training(conf), _sizes(conf)
    layout = trunk_layout(int(conf["input_size"]), trunk_settings.hidden)
    ours = {
        f"{theirs}.{part}": f"{name}.{part}"
        for name, theirs in _names(len(layout.hidden), sizes)
        for part in ("weight", "bias")
    }
    odd = {name for name in tensors if not name.startswith(_without_tasks(sizes))} ^ {*ours, *_MASKS}
    if odd:
        raise ForeignModel(f"{model_file.name}: its tensors differ from its settings: {', '.join(sorted(odd))}")
    arrays = {name: tensors[theirs] for theirs, name in ours.items()}
    for tensor in layout.tensors:
        if arrays[tensor.name].shape != tensor.shape:
            raise TrunkMismatch(f"{tensor.name} has shape {arrays[tensor.name].shape}, expected {tensor.shape}")
    if not all(np.array_equal(tensors[name], np.ones((1, layout.hidden[-1]))) for name in _MASKS):
        raise ForeignModel(f"{model_file.name}: its heads use parts of the trunk's output, expected all of it")
    trunk = np.concatenate([arrays.pop(tensor.name).reshape(-1) for tensor in layout.tensors])
    state = fresh_state(arrays, _normalisation(conf, stats, sizes), layout, training)
    check_state(state, layout, sizes)
    return SparseChemModel(layout, trunk, state, trunk_settings, training)


def _check_known(conf: Mapping[str, Any]) -> None:
    for key in ("enable_cat_fusion", "fold_inputs"):
        if conf.get(key):
            raise ForeignModel(f"{key}: found {conf[key]}, which hocket does not support, expected a model without it")
    if not math.isinf(conf.get("scaling_regularizer", math.inf)):
        raise ForeignModel(f"scaling_regularizer: found {conf['scaling_regularizer']}, expected no scaling layer")
    if conf.get("input_size_freq") not in {None, conf["input_size"]}:
        raise ForeignModel(
            f"input_size_freq: found {conf['input_size_freq']}, expected all {conf['input_size']} inputs"
        )


def _trunk_settings(conf: Mapping[str, Any]) -> TrunkSettings:
    return TrunkSettings(
        hidden=tuple(conf["hidden_sizes"]),
        dropout=tuple(conf["dropouts_trunk"]),
        non_linearity=conf["middle_non_linearity"],
        input_transform=conf["input_transform"],
    )


def _training(conf: Mapping[str, Any]) -> Training:
    general = conf.get("last_hidden_sizes")
    parameters = conf.get("optimizer_params") or []
    optimiser = conf.get("optimizer", "adam")
    return Training(
        optimiser=optimiser,
        momentum=float(parameters[0]) if optimiser == "sgd" and parameters else 0.0,
        learning_rate=conf["lr"],
        lr_steps=tuple(conf["lr_steps"]),
        lr_alpha=conf["lr_alpha"],
        weight_decay=conf["weight_decay"],
        internal_batch_max=conf.get("internal_batch_max"),
        regression_weight=conf.get("regression_weight", 0.5),
        normalise_regression=bool(conf.get("normalize_regression")),
        classification=ClassificationHead(
            hidden=tuple(conf.get("last_hidden_sizes_class") or general or ()), dropouts=tuple(conf["dropouts_class"])
        ),
        regression=RegressionHead(
            hidden=tuple(conf.get("last_hidden_sizes_reg") or general or ()), dropouts=tuple(conf["dropouts_reg"])
        ),
    )


def _sizes(conf: Mapping[str, Any]) -> HeadSizes:
    training, n_classes, n_regressions = _training(conf), conf["class_output_size"], conf["regr_output_size"]
    return HeadSizes(
        (*training.classification.hidden, n_classes) if n_classes else (),
        (*training.regression.hidden, n_regressions) if n_regressions else (),
    )


def _normalisation(conf: Mapping[str, Any], stats: Mapping[str, Any] | None, sizes: HeadSizes) -> Arrays:
    """Mean and deviation by task: 0 and 1 if nothing was normalised, or for a task that was constant or empty."""
    if not sizes.regression:
        return {}
    n_tasks = sizes.regression[-1]
    mean, deviation = np.zeros(n_tasks), np.ones(n_tasks)
    if conf.get("normalize_regression"):
        if stats is None:
            raise ForeignModel("stats: found none, expected mean and var of the normalised regression tasks")
        mean, deviation = (np.array(stats[key], dtype=np.float64) for key in ("mean", "var"))
        mean[~np.isfinite(mean)] = 0
        with np.errstate(invalid="ignore"):
            deviation = np.sqrt(deviation)
        deviation[~(deviation > 0)] = 1
    return {MEAN: mean.astype(np.float32), DEVIATION: deviation.astype(np.float32)}
