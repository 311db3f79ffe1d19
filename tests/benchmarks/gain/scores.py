"""Results of a run: scores of every task and their predictions, so that runs can be averaged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, logit

from partners.network.inference import predict
from partners.scores.regression_scores import score_measurements
from partners.scores.scores import score_labels
from partners.training_data.training_set import TrainingSet
from secure.ciphertexts.parameters import seal_parameters
from tests.benchmarks.gain.arms import Members, Model
from tests.benchmarks.gain.partners import Partner
from tests.support.clear_rounds import Agreed

FOLDS = {"validation": 1, "test": 0}
LOGITS, VALUES = "logits", "values"  # what was predicted where a label or a measured value is, (n_stored,)
_OF_CLASSES = ("average_precision", "roc_auc", "n_active", "n_inactive")
_OF_REGRESSIONS = ("r2", "spearman", "n_exact")
_FOLLOWED = 10  # how often, at most, the validation fold is scored on the way

Floats = NDArray[np.float64]


@dataclass
class Scores:
    """Scores by partner, fold and metric (n_tasks,), NaN if a class is missing, and the run's predictions."""

    tasks: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)  # rounds done, mean validation average precision
    facts: dict[str, float] = field(default_factory=dict)

    def of(self, partner: str, fold: str, metric: str) -> NDArray[np.floating] | None:
        """Scores of a partner's tasks; None if the run has none of this partner."""
        return self.tasks.get(f"{partner}/{fold}/{metric}")

    @property
    def has_predictions(self) -> bool:
        """Whether predictions are kept; runs of earlier versions have none."""
        return any(name.endswith(f"/{LOGITS}") for name in self.tasks)


def averaged(runs: Sequence[Scores], partners: Mapping[str, Partner]) -> Scores:
    """Scores of the runs' mean probabilities and mean values, as if a partner used all these models together."""
    tasks: dict[str, NDArray[np.floating]] = {}
    for name, partner in partners.items():
        for fold in FOLDS:
            logits = [found for run in runs if (found := run.of(name, fold, LOGITS)) is not None]
            values = [found for run in runs if (found := run.of(name, fold, VALUES)) is not None]
            if not logits:
                continue
            mean_logits = logit(np.mean([expit(each.astype(np.float64)) for each in logits], axis=0))
            mean_values = np.mean(values, axis=0) if values else np.zeros(0)
            found = _fold_scores(partner.training_set, fold, mean_logits, mean_values)
            tasks |= {f"{name}/{fold}/{metric}": column for metric, column in found.items()}
    return Scores(tasks, facts=runs[0].facts)


def _fold_scores(
    training_set: TrainingSet, fold: str, logits: NDArray[np.floating], values: NDArray[np.floating]
) -> dict[str, Floats]:
    """Scores of one fold, from the predictions for its labels and measured values, in row order.

    Without predicted values, those of classification alone.
    """
    rows = training_set.rows_of(FOLDS[fold])
    y, y_regr, y_censor = training_set.y[rows], training_set.y_regr[rows], training_set.y_censor[rows]
    classes = score_labels(y.indices, y.data > 0, logits, training_set.n_tasks)
    found = {metric: getattr(classes, metric) for metric in _OF_CLASSES}
    if values.size:
        errors = score_measurements(values, y_regr.data, y_censor.data, y_regr.indices, training_set.n_regressions)
        found |= {metric: getattr(errors, metric) for metric in _OF_REGRESSIONS}
    return {metric: np.asarray(column, dtype=np.float64) for metric, column in found.items()}


class Watch:
    """Scores the models that an arm reports: on the validation fold by round, on both folds after the last."""

    def __init__(self, partners: Mapping[str, Partner], members: Members, agreed: Agreed) -> None:
        self._partners, self._members, self._agreed = partners, members, agreed
        self._every = math.ceil(agreed.n_rounds / _FOLLOWED)
        self._on_the_way: dict[int, list[Floats]] = {}
        self._tasks: dict[str, NDArray[np.floating]] = {}
        self._seconds: list[float] = []
        self._seen: list[tuple[float, float]] = []

    def __call__(self, n_done: int, name: str, model: Model) -> None:
        """Score one partner's model after some rounds."""
        self._seconds.append(model.seconds)
        self._seen.append((model.cosine, model.clipped))
        is_last = n_done == self._agreed.n_rounds
        if not is_last and n_done % self._every:
            return
        found = {fold: self._score(name, fold, model) for fold in (FOLDS if is_last else ["validation"])}
        validation = found["validation"]
        enough = np.minimum(validation["n_active"], validation["n_inactive"]) >= 1
        seen = validation["average_precision"][enough & self._partners[name].classes.is_scored]
        self._on_the_way.setdefault(n_done, []).append(seen)
        if is_last:
            for fold, columns in found.items():
                self._tasks |= {f"{name}/{fold}/{metric}": values for metric, values in columns.items()}

    def _score(self, name: str, fold: str, model: Model) -> dict[str, NDArray[np.floating]]:
        member, agreed = self._members[name], self._agreed
        training_set = member.training_set
        rows = training_set.rows_of(FOLDS[fold])
        layout = agreed.layout.trunk
        found = predict(training_set.x[rows], model.trunk, model.state, layout, agreed.trunk, member.training)
        logits = _at_stored(found.logits, training_set.y[rows])
        values = _at_stored(found.values, training_set.y_regr[rows])
        predicted = {LOGITS: logits, VALUES: values} if values.size else {LOGITS: logits}
        return {**_fold_scores(training_set, fold, logits, values), **predicted}

    def scores(self) -> Scores:
        """Scores of all models so far."""
        curve = [(n, float(np.concatenate(parts).mean())) for n, parts in sorted(self._on_the_way.items())]
        parameters, n_params = seal_parameters(self._agreed.seal), self._agreed.layout.n_params
        n_chunks = parameters.n_chunks(n_params)
        cosines, clipped = (np.array([pair[i] for pair in self._seen]) for i in (0, 1))
        facts = {
            "seconds": float(np.median(self._seconds)),
            "bytes_up": n_chunks * parameters.update_chunk_bytes,
            "bytes_down": n_chunks * parameters.sum_chunk_bytes,
            "cosine_first": float(cosines[0]),
            "cosine_last": float(cosines[-1]),
            "clipped": float(clipped[-1]),
        }
        return Scores(self._tasks, curve, facts)


def _at_stored(predicted: NDArray[np.float32], stored: sparse.csr_matrix) -> NDArray[np.float32]:
    """Predictions (n_rows, n_tasks) where the matrix has a stored value, (n_stored,) in row order."""
    row = np.repeat(np.arange(stored.shape[0]), np.diff(stored.indptr))
    return predicted[row, stored.indices]
