"""Arms of models of single assays: the strongest local ones, those to take home, and models of all partners' rows.

*Cross-validated* chooses among six models of each assay (Gaussian process, forest or mean, alone and on the trunk) by
cross-validation in the training folds, though the trunk has seen the labels left out there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_prep.prepared import Prepared
from partners.assay_models.assays import Assay, assays_of
from partners.assay_models.choice import FEWEST_TO_TRY, Choice
from partners.assay_models.fitting import AssayData, choose_kinds, fit_assay_models
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import MOST_ROWS, expected_values, fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.assay_models.out_of_fold import predicted_out_of_fold
from partners.assay_models.predictor import AssayPredictor
from partners.assay_models.yardstick import Yardstick
from partners.network.inference import Predictor
from partners.scores.regression_scores import score_measurements
from partners.scores.scores import score_labels
from partners.settings import LocalKind
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
def assay_data(partner: Partner) -> AssayData:
    """What models of a partner's assays are fitted to: once for all arms that one run of the script compares."""
    data, prepared = labels_only(partner.training_set), _prepared(partner)
    return AssayData(data, assays_of(prepared, data), prepared.descriptors)


def _prepared(partner: Partner) -> Prepared:
    if partner.prepared is None:
        raise ValueError("a partner without its prepared matrices")
    return partner.prepared


def scores_of_assay_models(
    partners: Mapping[str, Partner], members: Members, agreed: Agreed, last: LastModels, arm: str
) -> Scores:
    """Fit every partner's models beside its last network, and score them on both folds.

    arm : "strongest", "take-home" or "cross-validated"
    """
    network = last.watch.scores()
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        own, member, model = assay_data(partner), members[name], last.models[name]
        loaded = Predictor(model.trunk, model.state, agreed.layout.trunk, agreed.trunk, member.training)
        shared = set(agreed.counts.shared_rows) if arm != "strongest" else set()
        heads = {task for row, tasks in member.held.items() if row in shared for task in tasks}
        column = model_of_regression(partner, own)
        fitted = _fitted(own, loaded, heads, arm)
        for fold, number in FOLDS.items():
            rows = partner.training_set.rows_of(number)
            logits, values = fitted(rows)
            found = fold_scores(partner.training_set, rows, logits, values[:, column])
            tasks |= {f"{name}/{fold}/{metric}": scores for metric, scores in found.items()}
    return Scores(tasks, network.curve, network.facts)


Predicted = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits of tasks; values of assays, and a column of zeros


def _fitted(own: AssayData, loaded: Predictor, heads: set[int], arm: str) -> Callable[[NDArray[np.int64]], Predicted]:
    """Predictions of the arm's models for rows of the training set."""
    if arm != "cross-validated":
        return _fitted_as(own, loaded, [choice.kind for choice in _chosen(own)], heads, on_trunk=arm == "take-home")
    best = _best_of_six(own, loaded)
    kinds = [kind for kind, _ in best]
    alone = _fitted_as(own, loaded, kinds, heads, on_trunk=False)
    on_trunk = _fitted_as(own, loaded, kinds, heads, on_trunk=True)
    with_trunk = np.array([uses_trunk for _, uses_trunk in best])
    of_tasks = np.ones(own.data.n_tasks, dtype=bool)
    for assay, uses_trunk in zip(own.assays, with_trunk, strict=True):
        of_tasks[list(assay.tasks)] = uses_trunk
    print(f"on the trunk by cross-validation: {with_trunk.mean():.1%} of {with_trunk.size} assays")  # noqa: T201

    def predict(rows: NDArray[np.int64]) -> Predicted:
        logits, values = on_trunk(rows)
        own_logits, own_values = alone(rows)
        return np.where(of_tasks, logits, own_logits), np.where([*with_trunk, True], values, own_values)

    return predict


def _fitted_as(
    own: AssayData, loaded: Predictor, kinds: Sequence[LocalKind], heads: set[int], *, on_trunk: bool
) -> Callable[[NDArray[np.int64]], Predicted]:
    fitted = fit_assay_models(own, kinds, loaded, on_trunk=on_trunk, heads=heads)
    predictor = AssayPredictor(loaded, fitted, own.data.x[own.data.training_rows])
    model = np.array([fitted.of_task[assay.tasks[0]] for assay in own.assays], dtype=np.int64)

    def predict(rows: NDArray[np.int64]) -> Predicted:
        x, described = own.data.x[rows], None if own.descriptors is None else own.descriptors[rows]
        values = np.column_stack([predictor.values(x, described), np.zeros(rows.size, np.float32)])
        return predictor(x, described).logits, np.column_stack([values[:, model], values[:, -1]])

    return predict


def _best_of_six(own: AssayData, loaded: Predictor) -> list[tuple[LocalKind, bool]]:
    """Kind of each assay's model, and whether it uses the trunk; too few measurements: as the rule has it."""
    known, y = own.data.training_rows, sparse.csc_matrix(own.data.y)
    inputs, rule = own.inputs(known, loaded), _chosen(own)

    def best(number: int, assay: Assay) -> tuple[LocalKind, bool]:
        folding = own.data.folding[assay.rows]
        if rule[number].kind == "network" or assay.rows.size < FEWEST_TO_TRY or np.unique(folding).size < 2:
            return rule[number].kind, True
        mine, seed = inputs[np.searchsorted(known, assay.rows)], own.seed + number
        yardstick = Yardstick.of(assay, y[:, list(assay.tasks)][assay.rows])
        scores = {
            (kind, some is mine): yardstick.score_all(values)
            for some in (mine, mine.without_hidden())
            for kind, values in predicted_out_of_fold(assay, some, folding, seed).items()
        }
        return max(scores, key=lambda candidate: scores[candidate])

    return own.map(best, None)


def model_of_regression(partner: Partner, own: AssayData) -> NDArray[np.int64]:
    """Number of each regression task's assay; -1: it has none."""
    number = {assay.input_assay_id: position for position, assay in enumerate(own.assays)}
    names = [task.input_assay_id for task in _prepared(partner).regression_tasks]
    return np.array([number.get(name, -1) for name in names], dtype=np.int64)


def fold_scores(
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
    own = {name: assay_data(partner) for name, partner in partners.items()}
    inputs = {name: data.inputs(np.arange(data.data.n_compounds)) for name, data in own.items()}
    predicted = {
        name: {
            fold: np.zeros((partner.training_set.rows_of(number).size, len(own[name].assays)), np.float32)
            for fold, number in FOLDS.items()
        }
        for name, partner in partners.items()
    }
    for parts in assays_by_target(partners, own).values():
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


def assays_by_target(
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
    column = model_of_regression(partners[name], own[name])
    for fold, number in FOLDS.items():
        values = np.column_stack([predicted[name][fold], np.zeros(predicted[name][fold].shape[0], np.float32)])
        found = fold_scores(data, data.rows_of(number), values[:, of_task] * sign, values[:, column])
        for metric, scores in found.items():
            yield f"{name}/{fold}/{metric}", scores
