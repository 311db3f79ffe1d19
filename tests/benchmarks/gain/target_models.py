"""Arms with target models: one ridge for each target that enough partners measure, over the compounds of all of them.

The sums are those of sealed rounds in exact fixed point, without seals. Which targets are common is taken from the
truth, as if all were declared. A ridge's prediction stands *alone*, as *mean* with the take-home model's, as *prior*
mean of a partner's own Gaussian process, which is fitted to what the ridge leaves of its training values, or as *local
mean* with the strongest local model's, without any trunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partners.assay_models.assays import Assay
from partners.assay_models.fitting import AssayData
from partners.assay_models.gaussian_process import fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.target_models.conjugate_gradients import RidgeSettings
from partners.target_models.min_hash import MinHashes
from partners.target_models.own_part import OwnPart, TargetValues, predict_targets
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.gain.assay_models import assay_data, assays_by_target, fold_scores, model_of_regression
from tests.benchmarks.gain.partners import Partner
from tests.benchmarks.gain.scores import FOLDS, LOGITS, VALUES, Scores
from tests.support.clear_targets import clear_ridges

HASHES = MinHashes(n_hashes=1024, n_buckets=32, seed=7)
USES = ("alone", "mean", "prior", "local mean")
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _OneAssay:
    """An assay of a common target at one partner."""

    number: int  # of the target
    column: int  # of the assay
    assay: Assay
    training: TargetValues


def ridge_predictions(partners: Mapping[str, Partner], min_holders: int, settings: RidgeSettings) -> Scores:
    """Predictions of the ridges for every label and measured value of both folds, NaN for targets of fewer holders.

    The scores hold nothing but predictions, of both kinds: `ridge` and `prior`.
    """
    own = {name: assay_data(partner) for name, partner in partners.items()}
    common = [held for held in assays_by_target(partners, own).values() if len(held) >= min_holders]
    parts, assays = {}, {}
    for name, data in own.items():
        inputs = data.inputs(np.arange(data.data.n_compounds))
        assays[name] = [
            _OneAssay(
                number, held[name][0], held[name][1], TargetValues.of([data.training_part(held[name][1])], inputs)
            )
            for number, held in enumerate(common)
            if name in held
        ]
        held_here = {one.number: one.training for one in assays[name] if one.training.values.size}
        parts[name] = OwnPart(HASHES, HASHES.buckets(data.data.x), held_here)

    clipped: list[float] = []
    ridges = clear_ridges(parts, len(common), settings, lambda _, share: clipped.append(share))
    print(f"{len(common)} targets, {settings.n_steps} steps, clipped at most {max(clipped):.1e}")  # noqa: T201
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        tasks |= _of_partner(name, partner, own[name], parts[name], assays[name], ridges.weights)
    return Scores(tasks)


def _of_partner(
    name: str,
    partner: Partner,
    own: AssayData,
    part: OwnPart,
    assays: list[_OneAssay],
    weights: NDArray[np.float32],
) -> dict[str, NDArray[np.floating]]:
    found: dict[str, NDArray[np.floating]] = {}
    for fold, number in FOLDS.items():
        rows = partner.training_set.rows_of(number)
        n_columns = len(own.assays) + 1  # the last: no assay
        values = {kind: np.full((rows.size, n_columns), np.nan) for kind in ("ridge", "prior")}
        for one in assays:
            here = np.flatnonzero(np.isin(rows, one.assay.rows))
            if not here.size or not one.training.values.size:
                continue
            new, sign = rows[here], one.assay.signs[0]
            above, rest = (
                predict_targets(part.hashes, part.buckets[some], weights[[one.number]])[:, 0]
                for some in (new, one.training.compounds)
            )
            left = one.training.values - rest
            inputs = own.inputs(np.concatenate([one.training.compounds, new]))
            corrected = _of_process(inputs, left, one.training.compounds.size)
            values["ridge"][here, one.column] = sign * (above + left.mean())
            values["prior"][here, one.column] = sign * (above + corrected)
        found |= _at_labels(f"{name}/{fold}", partner, own, rows, values)
    return found


def _of_process(inputs: Inputs, left: Floats, n_known: int) -> Floats:
    """Predictions of a Gaussian process fitted to what the ridge leaves; the first inputs are the known ones."""
    known, new = inputs[:n_known], inputs[n_known:]
    return fit_gaussian_process(kernel(known, known), left, 1).predict(kernel(new, known))


def _at_labels(
    where: str, partner: Partner, own: AssayData, rows: NDArray[np.int64], values: Mapping[str, Floats]
) -> dict[str, NDArray[np.floating]]:
    data = partner.training_set
    of_task, sign = np.full(data.n_tasks, -1), np.ones(data.n_tasks)
    for number, assay in enumerate(own.assays):
        of_task[list(assay.tasks)], sign[list(assay.tasks)] = number, assay.signs
    y, y_regr, column = data.y[rows].tocoo(), data.y_regr[rows].tocoo(), model_of_regression(partner, own)
    return {
        f"{where}/{kind} {part}": found
        for kind, table in values.items()
        for part, found in (
            (LOGITS, sign[y.col] * table[y.row, of_task[y.col]]),
            (VALUES, table[y_regr.row, column[y_regr.col]]),
        )
    }


def with_target_models(
    partners: Mapping[str, Partner], take_home: Scores, ridges: Scores, use: str, weight: float
) -> Scores:
    """Scores with the ridges' predictions, where there are any; elsewhere those of the take-home models.

    take_home : for "local mean" the scores of the strongest local models
    use : one of USES; weight : of the ridge in the mean
    """
    kind = "prior" if use == "prior" else "ridge"
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        for fold, number in FOLDS.items():
            where, data = f"{name}/{fold}", partner.training_set
            y, y_regr = (matrix[data.rows_of(number)].tocoo() for matrix in (data.y, data.y_regr))
            share = weight if use.endswith("mean") else 1.0
            logits = _mixed(
                _standard(take_home.tasks[f"{where}/{LOGITS}"], y.col),
                _standard(ridges.tasks[f"{where}/{kind} {LOGITS}"], y.col),
                share,
            )
            values = _mixed(take_home.tasks[f"{where}/{VALUES}"], ridges.tasks[f"{where}/{kind} {VALUES}"], share)
            found = _scored(data, data.rows_of(number), (y.row, y.col, logits), (y_regr.row, y_regr.col, values))
            tasks |= {f"{where}/{metric}": scores for metric, scores in found.items()}
    return Scores(tasks, take_home.curve, take_home.facts)


Cells = tuple[NDArray[np.int64], NDArray[np.int64], Floats]  # rows, columns, numbers


def _scored(
    data: TrainingSet, rows: NDArray[np.int64], logits: Cells, values: Cells
) -> dict[str, NDArray[np.floating]]:
    tables = []
    for (row, column, numbers), n_columns in ((logits, data.n_tasks), (values, data.n_regressions)):
        table = np.zeros((rows.size, n_columns), np.float32)
        table[row, column] = numbers
        tables.append(table)
    return fold_scores(data, rows, *tables)


def _mixed(theirs: Floats, ridge: Floats, share: float) -> Floats:
    return np.where(np.isfinite(ridge), (1 - share) * theirs + share * np.nan_to_num(ridge), theirs)


def _standard(numbers: NDArray[np.floating], task: NDArray[np.int64]) -> Floats:
    """Numbers with mean 0 and deviation 1 in each task; NaN stays."""
    count = np.maximum(np.bincount(task), 1)
    wide = numbers.astype(np.float64)
    mean = (np.bincount(task, wide) / count)[task]
    deviation = np.sqrt(np.bincount(task, (wide - mean) ** 2) / count)[task]
    standard: Floats = (wide - mean) / np.where(deviation == 0, 1, deviation)
    return standard
