"""Arms of models of single assays: the strongest local ones, those to take home, and models of all partners' rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prepared import Prepared
from partners.assay_models.assays import Assay, assays_of
from partners.assay_models.choice import Choice
from partners.assay_models.fitting import AssayData, choose_kinds, fit_assay_models
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.predictor import AssayPredictor
from partners.network.inference import Predictor
from partners.scores.regression_scores import score_measurements
from partners.scores.scores import score_labels
from partners.training_data.training_set import TrainingSet
from tests.benchmarks.gain.arms import Members, Model
from tests.benchmarks.gain.partners import Partner, labels_only
from tests.benchmarks.gain.scores import FOLDS, LOGITS, VALUES, Scores, Watch
from tests.support.clear_rounds import Agreed

Floats = NDArray[np.float64]
_OF_CLASSES = ("average_precision", "roc_auc", "n_active", "n_inactive")
_OF_VALUES = ("r2", "spearman", "pearson", "n_exact")


@dataclass
class LastModels:
    """Watches an arm of networks, and keeps each partner's last one."""

    watch: Watch
    n_rounds: int
    models: dict[str, Model] = field(default_factory=dict)

    def __call__(self, n_done: int, name: str, model: Model) -> None:
        """Score a network as every arm does."""
        self.watch(n_done, name, model)
        if n_done == self.n_rounds:
            self.models[name] = replace(model, trunk=model.trunk.copy(), state=model.state.copied())


@cache
def _chosen(own: AssayData) -> list[Choice]:
    """The kinds of a partner's models: chosen once for all arms that one run of the script compares."""
    return choose_kinds(own)


@cache
def _assay_data(partner: Partner) -> AssayData:
    data, prepared = labels_only(partner.training_set), _prepared(partner)
    return AssayData(data, assays_of(prepared, data), prepared.descriptors)


def _prepared(partner: Partner) -> Prepared:
    if partner.prepared is None:
        raise ValueError("a partner without its prepared matrices")
    return partner.prepared


def scores_of_assay_models(
    partners: Mapping[str, Partner], members: Members, agreed: Agreed, last: LastModels, *, on_trunk: bool
) -> Scores:
    """Fit every partner's models beside its last network, and score them on both folds."""
    network = last.watch.scores()
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        own, member, model = _assay_data(partner), members[name], last.models[name]
        loaded = Predictor(model.trunk, model.state, agreed.layout.trunk, agreed.trunk, member.training)
        shared = set(agreed.counts.shared_rows) if on_trunk else set()
        heads = {task for row, tasks in member.held.items() if row in shared for task in tasks}
        kinds = [choice.kind for choice in _chosen(own)]
        fitted = fit_assay_models(own, kinds, loaded, on_trunk=on_trunk, heads=heads)
        predictor = AssayPredictor(loaded, fitted, own.data.x[own.data.training_rows])
        column = _model_of_regression(partner, own, fitted.of_task)
        for fold, number in FOLDS.items():
            rows = partner.training_set.rows_of(number)
            described = None if own.descriptors is None else own.descriptors[rows]
            x = partner.training_set.x[rows]
            values = np.column_stack([predictor.values(x, described), np.zeros(rows.size, np.float32)])[:, column]
            found = _fold_scores(partner.training_set, rows, predictor(x, described).logits, values)
            tasks |= {f"{name}/{fold}/{metric}": scores for metric, scores in found.items()}
    return Scores(tasks, network.curve, network.facts)


def _model_of_regression(partner: Partner, own: AssayData, of_task: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the model of each regression task's assay; -1: it has none."""
    number = {assay.input_assay_id: int(of_task[assay.tasks[0]]) for assay in own.assays}
    names = [task.input_assay_id for task in _prepared(partner).regression_tasks]
    return np.array([number.get(name, -1) for name in names], dtype=np.int64)


def _fold_scores(
    data: TrainingSet, rows: NDArray[np.int64], logits: NDArray[np.float32], values: NDArray[np.float32]
) -> dict[str, NDArray[np.floating]]:
    """Scores of all tasks, and predictions where something was measured."""
    y, y_regr, y_censor = data.y[rows].tocoo(), data.y_regr[rows].tocoo(), data.y_censor[rows]
    logit, value = logits[y.row, y.col], values[y_regr.row, y_regr.col]
    classes = score_labels(y.col, y.data > 0, logit, data.n_tasks)
    errors = score_measurements(value, y_regr.data, y_censor.data, y_regr.col, data.n_regressions)
    exact = y_censor.data == 0
    miss = np.abs(value - y_regr.data) * exact
    with np.errstate(divide="ignore", invalid="ignore"):  # a task without an exact value has no error
        mae = np.bincount(y_regr.col, miss, data.n_regressions) / np.bincount(y_regr.col, exact, data.n_regressions)
    found: dict[str, NDArray[np.floating]] = {LOGITS: logit, VALUES: value, "mae": mae}
    found |= {metric: np.asarray(getattr(classes, metric), np.float64) for metric in _OF_CLASSES}
    return found | {metric: np.asarray(getattr(errors, metric), np.float64) for metric in _OF_VALUES}


def pooled_assay_models(partners: Mapping[str, Partner]) -> Scores:
    """One Gaussian process and forest for each target, on the training rows of all partners that measure it.

    No partner could do this. Equal targets are equal assays by the truth; above 5,000 rows the forest stands alone.
    """
    own = {name: _assay_data(partner) for name, partner in partners.items()}
    inputs = {name: data.inputs(np.arange(data.data.n_compounds)) for name, data in own.items()}
    predicted = {
        name: {
            fold: np.zeros((partner.training_set.rows_of(number).size, len(own[name].assays)), np.float32)
            for fold, number in FOLDS.items()
        }
        for name, partner in partners.items()
    }
    for parts in _by_target(partners, own).values():
        training = {name: own[name].training_part(assay) for name, (_, assay) in parts.items()}
        known = _joined([inputs[name][assay.rows] for name, assay in training.items()])
        values = np.concatenate([assay.values for assay in training.values()])
        marks = np.concatenate([assay.marks for assay in training.values()])
        if values.size < 2 or np.ptp(values) == 0:
            continue
        process = None
        if values.size <= MOST_ROWS:
            similarity = kernel(known, known)
            values = expected_values(similarity, values, marks)
            process = fit_gaussian_process(similarity, values, 1)
        forest = fit_forest(known, values, 0)
        for name, (column, assay) in parts.items():
            for fold, number in FOLDS.items():
                rows = partners[name].training_set.rows_of(number)
                measured = np.flatnonzero(np.isin(rows, assay.rows))
                if not measured.size:
                    continue
                some = inputs[name][rows[measured]]
                value = forest.values(some)
                if process:
                    value = (value + process.predict(kernel(some, known))) / 2
                predicted[name][fold][measured, column] = value
    return Scores({key: scores for name in partners for key, scores in _pooled_scores(name, partners, own, predicted)})


def _by_target(
    partners: Mapping[str, Partner], own: Mapping[str, AssayData]
) -> dict[str, dict[str, tuple[int, Assay]]]:
    """By target: the partners that measure it, with the number of the assay and the assay."""
    targets: dict[str, dict[str, tuple[int, Assay]]] = {}
    for name, data in own.items():
        for number, assay in enumerate(data.assays):
            target = partners[name].classes.targets[assay.tasks[0]]
            targets.setdefault(target, {})[name] = (number, assay)
    return targets


def _joined(parts: list[Inputs]) -> Inputs:
    return Inputs(
        sparse.csr_matrix(sparse.vstack([part.bits for part in parts])),
        np.vstack([part.hidden for part in parts]),
        np.vstack([part.descriptors for part in parts]),
    )


def _pooled_scores(
    name: str,
    partners: Mapping[str, Partner],
    own: Mapping[str, AssayData],
    predicted: Mapping[str, Mapping[str, NDArray[np.float32]]],
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    data, assays = partners[name].training_set, own[name].assays
    of_task, sign = np.full(data.n_tasks, -1), np.ones(data.n_tasks, np.float32)
    for number, assay in enumerate(assays):
        of_task[list(assay.tasks)], sign[list(assay.tasks)] = number, assay.signs
    column = _model_of_regression(partners[name], own[name], of_task)
    for fold, number in FOLDS.items():
        values = np.column_stack([predicted[name][fold], np.zeros(predicted[name][fold].shape[0], np.float32)])
        found = _fold_scores(data, data.rows_of(number), values[:, of_task] * sign, values[:, column])
        for metric, scores in found.items():
            yield f"{name}/{fold}/{metric}", scores
