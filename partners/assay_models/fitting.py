"""Fit the models of all of a partner's assays, alone or on the federated trunk, and calibrate their probabilities."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.descriptors.scaling import quantile_scale, quantiles_of
from partners.assay_models.assays import Assay
from partners.assay_models.choice import Choice, choose
from partners.assay_models.fitted import AssayModel, AssayModels, KnownProcess, Mixing
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.predictor import ValuePredictor
from partners.assay_models.probability import fit_curves
from partners.assay_models.threads import open_threads
from partners.network.inference import Predictor
from partners.settings import LocalKind
from partners.training.evaluation import labelled_rows
from partners.training_data.training_set import TrainingSet

_FEWEST_TO_SCALE = 10  # measured compounds of the validation fold from which mean and deviation of scores are taken

Floats = NDArray[np.float32]
Result = TypeVar("Result")
AssayProgress = Callable[[int, int], None]  # (assays done, assays in all)


@dataclass(frozen=True, slots=True, eq=False)
class AssayData:
    """A partner's training set, its assays, and what else is known of its compounds."""

    data: TrainingSet
    assays: tuple[Assay, ...]
    descriptors: Floats | None = None  # (n_compounds, n_descriptors) as RDKit gives them; None: not used
    seed: int = 0  # of the forests
    workers: int = 1  # threads; the results do not depend on their number

    def quantiles(self) -> Floats:
        """Quantiles of the descriptors over the training folds, (n_quantiles, n_descriptors); no columns without."""
        if self.descriptors is None:
            return np.zeros((0, 0), np.float32)
        return np.nan_to_num(quantiles_of(self.descriptors[self.data.training_rows]))

    def inputs(self, rows: NDArray[np.int64], network: Predictor | None = None) -> Inputs:
        """Inputs of some compounds of the training set, with the hidden layer of the network if one is given."""
        x = self.data.x[rows]
        described = None if self.descriptors is None else quantile_scale(self.descriptors[rows], self.quantiles())
        return Inputs.of(x, None if network is None else network.hidden(x), described)

    def training_part(self, assay: Assay) -> Assay:
        """The assay's measurements in the training folds."""
        held_out = np.isin(self.data.folding[assay.rows], (self.data.test_fold, self.data.validation_fold))
        return assay.only(~held_out)

    def map(self, call: Callable[[int, Assay], Result], progress: AssayProgress | None) -> list[Result]:
        """Call for each assay's measurements in the training folds, in threads."""
        parts = [self.training_part(assay) for assay in self.assays]
        with open_threads(self.workers) as pool:
            results = []
            for result in pool.map(call, range(len(parts)), parts):
                results.append(result)
                if progress:
                    progress(len(results), len(parts))
        return results


def choose_kinds(own: AssayData, progress: AssayProgress | None = None) -> list[Choice]:
    """The strongest local kind of model of each assay, by cross-validation inside the training folds."""
    known, y = own.data.training_rows, sparse.csc_matrix(own.data.y)
    inputs = own.inputs(known)

    def chosen(number: int, assay: Assay) -> Choice:
        return choose(
            assay, inputs[np.searchsorted(known, assay.rows)], y, own.data.folding[assay.rows], own.seed + number
        )

    return own.map(chosen, progress)


def fit_assay_models(
    own: AssayData,
    kinds: Sequence[LocalKind],
    network: Predictor,
    *,
    on_trunk: bool,
    heads: Collection[int] = (),
    progress: AssayProgress | None = None,
) -> AssayModels:
    """Fit the chosen kind of model of each assay on the training folds, and calibrate on the validation fold.

    network  : trunk and heads; serves the assays of kind "network"
    on_trunk : the trunk's hidden layer is an input beside the fingerprint
    heads    : classification tasks whose network logit is averaged in
    Raises BadFolds without a labelled or measured compound in the validation fold.
    """
    validation = labelled_rows(own.data, own.data.validation_fold)
    known = own.data.training_rows
    inputs = own.inputs(known, network if on_trunk else None)

    def fitted(number: int, assay: Assay) -> AssayModel | None:
        mine = inputs[np.searchsorted(known, assay.rows)]
        return fit_assay_model(assay, kinds[number], mine, known, own.seed + number)

    models = own.map(fitted, progress)
    numbers = np.cumsum([model is not None for model in models]) - 1
    of_task = np.full(own.data.n_tasks, -1, np.int64)
    of_regression = np.full(own.data.n_regressions, -1, np.int64)
    sign = np.ones(own.data.n_tasks)
    for assay, model, number in zip(own.assays, models, numbers, strict=True):
        if model is not None:
            of_task[list(assay.tasks)] = number
            sign[list(assay.tasks)] = assay.signs
            if assay.regression is not None:
                of_regression[assay.regression] = number
    raw = AssayModels(
        uses_trunk=on_trunk,
        quantiles=own.quantiles(),
        models=tuple(model for model in models if model is not None),
        of_task=of_task,
        of_regression=of_regression,
        mixing=Mixing.of_network(own.data.n_tasks),
    )
    held_out = own.inputs(validation, network if on_trunk else None)
    values = ValuePredictor(raw.models, inputs, raw.quantiles.shape[1], own.workers)(held_out)
    return replace(raw, mixing=_mixing(own.data, raw, sign, values, network(own.data.x[validation]).logits, heads))


def fit_assay_model(
    assay: Assay, kind: LocalKind, inputs: Inputs, known: NDArray[np.int64], seed: int
) -> AssayModel | None:
    """Fit this kind of model to all measurements of the assay; None for a network.

    inputs : of the assay's compounds
    known  : (n_known,) rows of the compounds that a model's file keeps, rising; the assay's are among them
    """
    if kind == "network":
        return None
    values, process, forest = assay.values, None, None
    if kind != "forest" or (assay.marks.any() and assay.rows.size <= MOST_ROWS):
        similarity = kernel(inputs, inputs)
        values = expected_values(similarity, assay.values, assay.marks, inputs.n_kernels)
    if kind != "forest":
        fit = fit_gaussian_process(similarity, values, inputs.n_kernels)
        process = KnownProcess(np.searchsorted(known, assay.rows), fit)
    if kind != "gaussian process":  # of an assay too large for a process, bounds count as values
        forest = fit_forest(inputs, values, seed)
    return AssayModel(process, forest)


def _mixing(
    data: TrainingSet,
    raw: AssayModels,
    sign: NDArray[np.float64],
    values: Floats,
    logits: Floats,
    heads: Collection[int],
) -> Mixing:
    """Weights of value and network logit in each task's logit, calibrated on the validation fold.

    values, logits : (n, n_models) of the assays, (n, n_tasks) of the network, for that fold's compounds
    """
    labels = data.y[data.rows_of(data.validation_fold)].tocoo()
    network_logits = logits.astype(np.float64)
    task = labels.col.astype(np.int64)
    n_labels = np.bincount(task, minlength=data.n_tasks)
    by_value, by_network, offset = (np.zeros(data.n_tasks) for _ in range(3))
    for column in range(data.n_tasks):
        measured = labels.row[task == column] if n_labels[column] >= _FEWEST_TO_SCALE else slice(None)
        model = raw.of_task[column]
        if model >= 0:
            score = sign[column] * values[measured, model].astype(np.float64)
            deviation = float(score.std()) or 1.0
            by_value[column], offset[column] = sign[column] / deviation, -float(score.mean()) / deviation
        if model < 0 or column in heads:
            logit = network_logits[measured, column]
            deviation = float(logit.std()) or 1.0
            by_network[column] = 1 / deviation
            offset[column] -= float(logit.mean()) / deviation
            if model >= 0:
                by_value[column], by_network[column], offset[column] = (
                    part[column] / 2 for part in (by_value, by_network, offset)
                )
    score = by_network[task] * network_logits[labels.row, task] + offset[task]
    with_model = raw.of_task[task] >= 0
    score[with_model] += by_value[task[with_model]] * values[labels.row[with_model], raw.of_task[task[with_model]]]
    curves = fit_curves(task, labels.data > 0, score, _training_share(data))
    return Mixing(
        (curves.slope * by_value).astype(np.float32),
        (curves.slope * by_network).astype(np.float32),
        (curves.slope * offset + curves.middle).astype(np.float32),
    )


def _training_share(data: TrainingSet) -> NDArray[np.float64]:
    """Share of actives in the training folds of each task, with one label of each class added; (n_tasks,)."""
    labels = data.y[data.training_rows].tocoo()
    n_active = np.bincount(labels.col, weights=labels.data > 0, minlength=data.n_tasks)
    n_labels = np.bincount(labels.col, minlength=data.n_tasks)
    return (n_active + 1) / (n_labels + 2)
