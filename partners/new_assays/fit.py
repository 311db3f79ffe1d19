"""Fit the models of a new assay to all its compounds, calibrated out of fold, and measure how good they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.fitted import AssayModels, Mixing
from partners.assay_models.fitting import fit_assay_model
from partners.assay_models.inputs import Inputs
from partners.assay_models.out_of_fold import predicted_out_of_fold
from partners.assay_models.probability import fit_curves
from partners.assay_models.threads import open_threads
from partners.assay_models.yardstick import Yardstick
from partners.models.conformal import calibrate
from partners.new_assays.extension import CalibratedModel, Extension, outputs_of
from partners.new_assays.folds import cross_validation_folds
from partners.new_assays.kept_model import KeptModel, choose_new
from partners.new_assays.new_assay import NewAssay
from partners.settings import ON_TRUNK, LocalKind, ModelKind

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How well a threshold's labels are predicted out of fold."""

    threshold: float  # log units
    n_labels: int
    n_active: int
    kept: float | None  # average precision of the model that is kept
    without_trunk: float | None  # of the best one without the trunk


@dataclass(frozen=True, slots=True)
class AssayResult:
    """What was kept of a new assay, and why."""

    input_assay_id: str
    n_compounds: int
    without_trunk: LocalKind
    kept: ModelKind
    reason: str
    tasks: tuple[TaskResult, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FitJob:
    """One new assay to be fitted."""

    new: NewAssay
    inputs: Callable[[], Inputs]  # makes those of its compounds, with the trunk's hidden layer, when they are needed
    facts: Mapping[str, Any]  # JSON values to be kept with the models


def fit_extensions(
    jobs: Sequence[FitJob], seed: int = 0, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Extension]:
    """Fit new assays in threads; the results depend on neither their number nor the other assays.

    progress : called with (assays done, assays in all)
    """
    fitted: list[Extension] = []
    alone = Lock()  # making inputs sets torch's number of threads

    def fit(job: FitJob) -> Extension:
        with alone:
            inputs = job.inputs()
        return fit_extension(job.new, inputs, job.facts, seed)

    with open_threads(workers) as pool:
        for extension in pool.map(fit, jobs):
            fitted.append(extension)
            if progress:
                progress(len(fitted), len(jobs))
    return fitted


def fit_extension(new: NewAssay, inputs: Inputs, facts: Mapping[str, Any], seed: int = 0) -> Extension:
    """Compare all candidates of a new assay out of fold, and fit the best without the trunk and the one that is kept.

    inputs : of its compounds, with the trunk's hidden layer
    facts  : JSON values to be kept with the models; `result`, an AssayResult, is added
    """
    folding, folds = cross_validation_folds(new.folding, seed)
    alone = predicted_out_of_fold(new.assay, inputs.without_hidden(), folding, seed)
    on_trunk = predicted_out_of_fold(new.assay, inputs, folding, seed)
    yardstick = Yardstick.of(new.assay, new.y)
    kept = choose_new(yardstick, alone, on_trunk, folds, seed)
    first, second = alone[kept.alone], on_trunk[kept.on_trunk]
    result = _result(new, yardstick, kept, first, second if kept.keeps_trunk else first)
    return Extension(
        known=new.x,
        alone=_calibrated(new, inputs.without_hidden(), kept.alone, first, seed),
        on_trunk=_calibrated(new, inputs, kept.on_trunk, second, seed) if kept.keeps_trunk else None,
        facts={**facts, "result": asdict(result)},
    )


def _result(new: NewAssay, yardstick: Yardstick, kept: KeptModel, alone: Floats, chosen: Floats) -> AssayResult:
    everything = np.arange(new.n_compounds)[None, :]
    scores = [yardstick.average_precision(predicted, everything)[0] for predicted in (chosen, alone)]
    return AssayResult(
        new.assay.input_assay_id,
        new.n_compounds,
        kept.alone,
        ON_TRUNK[kept.on_trunk] if kept.keeps_trunk else kept.alone,
        kept.reason,
        tuple(
            TaskResult(task.threshold, task.n_active + task.n_inactive, task.n_active, *(_finite(s[i]) for s in scores))
            for i, task in enumerate(new.tasks)
        ),
    )


def _calibrated(new: NewAssay, inputs: Inputs, kind: LocalKind, predicted: Floats, seed: int) -> CalibratedModel:
    """Fit to all compounds; calibrate on predictions out of fold, (n,)."""
    assay = new.assay
    model = fit_assay_model(assay, kind, inputs, np.arange(new.n_compounds), seed)
    if model is None:
        raise AssertionError("a new assay has no head")
    raw = AssayModels(
        uses_trunk=inputs.hidden.shape[1] > 0,
        quantiles=np.zeros((0, 0), np.float32),  # descriptors are scaled as the finished model scales them
        models=(model,),
        of_task=np.zeros(len(assay.tasks), np.int64),
        of_regression=np.zeros(0 if assay.regression is None else 1, np.int64),
        mixing=_mixing(new, predicted),
    )
    outputs = outputs_of(raw, predicted.astype(np.float32))
    return CalibratedModel(raw, calibrate(outputs, new.y, new.y_regr, new.y_censor))


def _mixing(new: NewAssay, predicted: Floats) -> Mixing:
    """How each task's logit follows from the value: a curve through labels and predictions out of fold."""
    labels = new.y.tocoo()
    n_tasks, signs = len(new.tasks), np.array(new.assay.signs, np.float64)
    task, active = labels.col.astype(np.int64), labels.data > 0
    n_labels = np.bincount(task, minlength=n_tasks)
    score = signs[task] * predicted[labels.row]
    mean = np.bincount(task, weights=score, minlength=n_tasks) / n_labels
    variance = np.bincount(task, weights=(score - mean[task]) ** 2, minlength=n_tasks) / n_labels
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)
    share = (np.bincount(task, weights=active, minlength=n_tasks) + 1) / (n_labels + 2)
    if not n_tasks:
        return Mixing.of_network(0)
    curves = fit_curves(task, active, (score - mean[task]) / deviation[task], share)
    by_value, offset = curves.slope * signs / deviation, curves.middle - curves.slope * mean / deviation
    return Mixing(by_value.astype(np.float32), np.zeros(n_tasks, np.float32), offset.astype(np.float32))


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
